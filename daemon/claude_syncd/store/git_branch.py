"""The branch as this device knows it: asked for, fetched, moved, and read from the mirror.

Of the mirror's writers (fetch, commit, push, tidy, remake) one runs at a time: whoever holds `busy`. Reads wait for
nobody. Who asks the host so as to read holds `_asking`; who needs both takes that one first.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.errors import ObjectMissing, StoreError, StoreRefused
from claude_syncd.store.git_errors import MirrorBroken
from claude_syncd.store.git_tree import Tree
from claude_syncd.store.names import check_size, span_bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.store.base import Span
    from claude_syncd.store.git_mirror import Mirror
    from claude_syncd.store.git_remote import Host
    from claude_syncd.store.report import OnRequest

WINDOW = 0.2
"""Seconds for which an answer of the host still serves a poll."""
REMAKE_AGAIN = 3600.0
"""Seconds within which a mirror is not made anew a second time: it would fetch everything again, and not help."""
TIDY_AFTER = 64
"""Pushes and fetches until it is looked whether the mirror wants tidying."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The commit that the branch is at (None: there is no branch), and its objects."""

    commit: str | None
    tree: Tree


class Branch:
    """Objects of one branch below `prefix` (empty, or ending in a slash)."""

    def __init__(
        self, host: Host, mirror: Mirror, prefix: str, address: str, report: OnRequest, now: Callable[[], float]
    ) -> None:
        """`now` is a clock that only runs forward."""
        self._host = host
        self._mirror = mirror
        self._prefix = prefix
        self._address = address
        self._report = report
        self._now = now
        self.tip: Tip | None = None
        self.busy, self._asking = asyncio.Lock(), asyncio.Lock()
        # Questions to the host have numbers: of the newest that was asked, of the newest that has ended, and of the
        # newest that told where the branch is, with the time of that. And of one that failed, with its error.
        self.asked = self._ended = self.told = 0
        self._told_at = -math.inf
        self._failed: tuple[int, StoreError] | None = None
        self._remade, self._remade_at = 0, -math.inf
        self._moves = TIDY_AFTER

    async def current(self, *, poll: bool) -> Tip:
        """The branch as it was at some time since this was called, or for a `poll` a moment before.

        For a poll an answer will do that was under way when this was called, or that ended less than WINDOW ago: it
        might have asked that much earlier. So all reads of a poll that run together, or follow each other closely,
        cost one request; and since they go to whole commits, which only follow each other, a poll never sees an entry
        without what its author had seen. WINDOW is long against the steps of a poll and short against its interval.
        """
        asked, ended = self.asked, self._ended
        async with self._asking:
            if self._failed is not None and self._failed[0] > ended:
                raise self._failed[1]
            recent = poll and (self.told > ended or self._now() - self._told_at <= WINDOW)
            if self.tip is None or not (recent or self.told > asked):
                await asyncio.sleep(0)  # whoever reads in the same breath shares the answer
                return await self._ask()
            return self.tip

    async def read(self, tip: Tip, name: str, span: Span | None) -> bytes:
        """An object of `tip`, or part of it. Raises ObjectMissing, StoreError."""
        remade = self._remade
        try:
            return await self._read(tip, name, span)
        except MirrorBroken as broken:
            async with self.busy:
                now = self.tip
                same = now is not None and now.tree.blobs.get(name) == tip.tree.blobs.get(name)
                if same and self._remade == remade:
                    await self.remake(broken)
                now = self.tip or await self.look()
            return await self._read(now, name, span)

    async def _read(self, tip: Tip, name: str, span: Span | None) -> bytes:
        blob = tip.tree.blobs.get(name)
        if blob is None:
            raise ObjectMissing(f"there is no {name} in {self._address}")
        start, length = span_bounds(span, blob.size)
        check_size(name, length)
        return await self._mirror.blob(blob.oid, start, length) if length else b""

    async def _ask(self) -> Tip:
        """Ask the host, and fetch if the branch has moved."""
        self.asked += 1
        number = self.asked
        try:
            commit = await self._host.tip()
            tip = self.tip
            if tip is None or tip.commit != commit:
                async with self.busy:
                    tip = await self._go_to(commit)
                    await self.tidy()
        except StoreError as error:
            self._failed = number, error
            raise
        finally:
            self._ended = max(self._ended, number)
        self._tell(number)
        return tip

    # What follows is called with `busy` held.

    async def look(self) -> Tip:
        """Ask the host where the branch is now, and go there."""
        self.asked += 1
        number = self.asked
        tip = await self._go_to(await self._host.tip())
        self._tell(number)
        return tip

    async def fetch(self) -> Tip:
        """Go to where the branch is now; it has moved."""
        self.asked += 1
        number, received = self.asked, 0
        commit = await self._host.fetch()
        try:
            tree = Tree() if commit is None else await self._mirror.tree(commit, self._prefix)
            here = {blob.oid for blob in self.tip.tree.blobs.values()} if self.tip else set[str]()
            received = sum(blob.size for blob in tree.blobs.values() if blob.oid not in here)
        finally:
            if commit is not None:
                self._report("get", 0, received)
        return self._moved(number, Tip(commit, tree))

    async def push(self, new: Tip, size: int) -> bool:
        """Move the branch from the tip to `new`, for which `size` bytes of objects go. False: it has moved already."""
        if self.tip is None or new.commit is None:
            return False
        self.asked += 1
        number = self.asked
        if not await self._host.push(self.tip.commit, new.commit, size):
            return False
        self._moved(number, new)
        return True

    async def remake(self, broken: MirrorBroken) -> None:
        """Make the mirror anew; nothing is known of the branch then. Raises StoreError where that has not helped."""
        if broken.hashes is None:
            if self._now() - self._remade_at < REMAKE_AGAIN:
                raise StoreRefused(
                    f"{self._address}: {broken}, although it was made anew",
                    hint="run `git fsck` in the repository, and check this device's disk",
                ) from broken
            self._remade_at = self._now()
        self._remade += 1
        self.tip = None
        await self._mirror.remake(broken.hashes)

    async def tidy(self) -> None:
        """Tidy up the mirror once in a while."""
        if self._moves >= TIDY_AFTER and self.tip is not None and self.tip.commit is not None:
            self._moves = 0
            with suppress(StoreError):  # what is wrong is met again where it matters
                if await self._mirror.untidy():
                    await self._mirror.tidy(self.tip.commit)

    async def _go_to(self, commit: str | None) -> Tip:
        """Go to where the branch is: at `commit`, or beyond it by now."""
        tip = self.tip
        if tip is not None and tip.commit == commit:
            return tip
        if tip is None and commit is None:
            self.tip = Tip(None, Tree())
            return self.tip
        if tip is None and commit is not None:
            with suppress(MirrorBroken):  # it has the commit only if this device was there before
                self.tip = Tip(commit, await self._mirror.tree(commit, self._prefix))
                return self.tip
        try:
            return await self.fetch()
        except MirrorBroken as broken:
            await self.remake(broken)
            return await self.fetch()

    def _moved(self, number: int, tip: Tip) -> Tip:
        self.tip = tip
        self._moves += 1
        self._tell(number)
        return tip

    def _tell(self, number: int) -> None:
        self._ended, self.told = max(self._ended, number), max(self.told, number)
        self._told_at = self._now()
