"""A store in a git repository, through the git command line.

An object is a file of the tree that a branch of its own points to. Every push is a commit on that branch, made without
a work tree in a private bare mirror; changes that wait at the same moment share one. A push is accepted only while the
branch is where this device last saw it; else what came meanwhile is fetched and the changes are made on top of that.

Reads go to the tree of a commit. To see what others pushed, the host is asked for the branch's commit; only when that
is another one, anything is fetched. One answer serves many reads.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.base import ObjectInfo
from claude_syncd.store.git_branch import Branch, Tip
from claude_syncd.store.git_change import Change, plan
from claude_syncd.store.git_errors import MirrorBroken
from claude_syncd.store.git_mirror import Mirror
from claude_syncd.store.git_remote import Host
from claude_syncd.store.git_run import PATIENCE
from claude_syncd.store.git_url import parse_remote, shown
from claude_syncd.store.names import check_size, is_part, name_parts, prefix_parts
from claude_syncd.store.report import OnRequest, RequestKind, unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from claude_syncd.store.base import Span
    from claude_syncd.store.options import GitOptions

NEVER_CHANGE = ("roster/", "devices/")
"""How the names of objects begin that are written once: what is here of them needs no asking."""
BATCH = 48 * 1024 * 1024
"""Bytes after which a push takes no more objects; the last may go beyond."""
MANY = 2000
"""Changes that a push takes."""
ATTEMPTS = 20
PAUSE, LONGEST_PAUSE = 0.05, 1.0

_BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)|[./]$))[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


class GitStore:
    """Objects are files below `prefix` on a branch. Nothing runs between calls."""

    def __init__(
        self, options: GitOptions, *, patience: float = PATIENCE, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`patience` is how long git may be silent, in seconds; `now` a clock that only runs forward."""
        self._options = options
        self._patience = patience
        self._now = now
        self._prefix = f"{options.prefix.strip('/')}/".lstrip("/")
        self._mirror = Mirror(options.mirror)
        self._starting = asyncio.Lock()
        self._started: Branch | None = None
        self._waiting: list[Change] = []
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        """The repository's URL without credentials, branch and prefix."""
        return f"{shown(self._options.url)}#{self._options.branch}/{self._prefix}".rstrip("/")

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        name_parts(name)
        check_size(name, len(data))
        await self._change(name, bytes(data), if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store. What never changes and is here is not asked for, even if somebody has deleted it meanwhile."""
        name_parts(name)
        branch = await self._branch()
        never_changes = name.startswith(NEVER_CHANGE)
        tip = branch.tip
        if not never_changes or tip is None or name not in tip.tree.blobs:
            tip = await branch.current(poll=never_changes)
        return await branch.read(tip, name, span)

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        prefix_parts(prefix)
        branch = await self._branch()
        tree = (await branch.current(poll=False)).tree
        return [ObjectInfo(name, tree.blobs[name].size) for name in tree.beginning(prefix)]

    async def delete(self, name: str) -> None:
        """See Store."""
        name_parts(name)
        await self._change(name, None)

    async def squash(self) -> None:
        """Forget the history: replace the branch by one commit of what it holds now, and tidy up the mirror.

        Other devices may push meanwhile, and go on from the new commit. How soon a host frees the space is up to it.
        Raises StoreError, StoreRefused if the host takes no forced push; then nothing has changed.
        """
        branch = await self._branch()
        async with branch.busy:
            for attempt in range(ATTEMPTS):
                await _pause(attempt)
                tip = await branch.look()
                if tip.commit is None:
                    return
                try:
                    commit = await self._mirror.parentless(tip.commit)
                except MirrorBroken as broken:
                    await branch.remake(broken)
                    continue
                if await branch.push(Tip(commit, tip.tree), 0):
                    with suppress(StoreError):  # what is wrong with the mirror is met again where it matters
                        await self._mirror.tidy(commit)
                    return
        raise self._outrun()

    async def drop_history(self) -> None:
        """See Store. A host that takes no forced push keeps the history."""
        with suppress(StoreRefused):
            await self.squash()

    async def close(self) -> None:
        """Nothing is held open between calls."""

    async def _branch(self) -> Branch:
        """The branch, checked and with its mirror made at the first call. Raises StoreError."""
        async with self._starting:
            if self._started is None:
                remote = parse_remote(self._options.url)
                if not _BRANCH.fullmatch(self._options.branch):
                    raise StoreRefused(f"no branch can be called {self._options.branch!r}", hint="correct branch")
                if self._prefix and not all(map(is_part, self._prefix[:-1].split("/"))):
                    raise StoreRefused(f"not a prefix of names: {self._prefix!r}", hint="correct prefix")
                await self._mirror.make()
                host = Host(
                    self._options,
                    remote,
                    self._mirror,
                    self.address,
                    self._report,
                    patience=self._patience,
                    now=self._now,
                )
                self._started = Branch(host, self._mirror, self._prefix, self.address, self._report, self._now)
            return self._started

    def _report(self, kind: RequestKind, up: int, down: int) -> None:
        self.on_request(kind, up, down)

    async def _change(self, name: str, data: bytes | None, if_absent: bool = False) -> None:
        """Wait for a turn to push; whoever has it pushes for all that wait."""
        branch = await self._branch()
        change = Change(name, data, if_absent, branch.asked)
        self._waiting.append(change)
        try:
            while not change.done:
                async with branch.busy:
                    if not change.done:
                        await asyncio.sleep(0)  # whoever writes in the same breath shares the push
                        await self._carry_out(branch)
                        await branch.tidy()
        finally:
            if change in self._waiting:
                self._waiting.remove(change)
        if change.error is not None:
            raise change.error

    # What follows is called with `busy` of the branch held.

    async def _carry_out(self, branch: Branch) -> None:
        batch = self._take()
        try:
            try:
                errors = await self._land(branch, batch)
            except MirrorBroken as broken:
                await branch.remake(broken)
                for change in batch:
                    change.blob = None
                errors = await self._land(branch, batch)
        except StoreError as error:
            errors = dict.fromkeys(batch, error)
        except BaseException:  # this caller is gone; another one does it for those that wait
            for change in batch:
                change.blob = None
            self._waiting[:0] = batch
            raise
        for change in batch:
            change.done, change.error = True, errors.get(change)

    def _take(self) -> Sequence[Change]:
        size, count = 0, 0
        while count < min(MANY, len(self._waiting)) and size < BATCH:
            size += self._waiting[count].size
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _land(self, branch: Branch, batch: Sequence[Change]) -> dict[Change, StoreError]:
        """Make the changes at the host; which of them it does not take, and why. Raises StoreError if it takes none."""
        tip = branch.tip
        if tip is None or any(change.asked >= branch.told and change.needs_no_push(tip.tree) for change in batch):
            tip = await branch.look()
        for attempt in range(ATTEMPTS):
            if attempt:
                await _pause(attempt)
                tip = await branch.fetch()
            planned = plan(batch, tip.tree)
            if not planned.last:
                return planned.errors
            files = {f"{self._prefix}{name}": change.blob or change.data for name, change in planned.last.items()}
            commit, blobs = await self._mirror.commit(tip.commit, files)
            for name, change in planned.last.items():
                change.blob = blobs.get(f"{self._prefix}{name}")
                if change.blob is not None:
                    planned.tree.put(name, change.blob)
            size = sum(change.size for change in planned.last.values())
            if await branch.push(Tip(commit, planned.tree), size):
                return planned.errors
        raise self._outrun()

    def _outrun(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.address}: {ATTEMPTS} pushes lost the race",
            hint="other devices push all the time, or a lock is left on the branch at the host; it is tried again",
        )


async def _pause(attempt: int) -> None:
    """Wait before another attempt, longer each time and never as long as others do."""
    if attempt:
        await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE, PAUSE * 2**attempt)))  # noqa: S311 - no secret
