"""When syncing stops to ask, and how the answer is remembered: also for whoever asks while no daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.model import FileClass, Kind
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import Action
from claude_syncd.core.safety import (
    HEAD,
    MASS_DELETION,
    MASS_REWRITE,
    Hold,
    HoldReason,
    RootIdentity,
    deletion_hold,
    rewrite_hold,
    root_hold,
    unreadable,
)
from claude_syncd.errors import Held, LocalError
from claude_syncd.local.reading import open_for_read, read_chunks
from claude_syncd.local.scan import root_identity

if TYPE_CHECKING:
    from claude_syncd.engine.plan import Item, Plan
    from claude_syncd.engine.site import Site
    from claude_syncd.local.state import State

_HOLD = "hold"
_ACCEPTED = {HoldReason.MASS_DELETION: "deletions_accepted", HoldReason.MASS_REWRITE: "rewrites_accepted"}
_ASKED_ANEW = frozenset(_ACCEPTED)
"""Found out anew in each round: the user may have put things right."""
_READABLE = frozenset({FileClass.TRANSCRIPT, FileClass.SIDE, FileClass.HISTORY, FileClass.SETTINGS, FileClass.TEXT})
_LATELY_NS = 3600 * 1_000_000_000
_root_decoder = msgspec.json.Decoder(RootIdentity)
_hold_decoder = msgspec.json.Decoder(Hold)


class Holds:
    """The hold of one device, if there is one, and what leads to one. Every check raises Held."""

    def __init__(self, site: Site) -> None:
        self.hold = remembered_hold(site.state)
        self._site = site
        self._spoilt: dict[str, int] = {}  # files that were published as no text any more, and when

    async def begin(self) -> None:
        """Before a round: raise Held while only the user can end it."""
        if self.hold is not None and self.hold.reason not in _ASKED_ANEW:
            raise Held(self.hold.message, hint=self.hold.hint)
        await self._set(None)

    async def check(self, plan: Plan) -> None:
        """Stop to ask about what a round is about to do."""
        site = self._site
        vanished = sum(i.spot.root is Root.TREE and not i.forgotten for i in plan.of(Action.DELETE, Action.EVICT))
        if vanished > MASS_DELETION:
            await self._ask(deletion_hold(vanished, await site.off_loop(site.state.count)))
        rewritten = [i for i in plan.of(Action.UPLOAD) if _rewritten(i)]
        if len(rewritten) + len(self._spoilt) > MASS_REWRITE:
            spoilt = await site.off_loop(_spoilt, site, rewritten)
            if spoilt:
                known = await site.off_loop(site.state.count)
                await self._ask(rewrite_hold(len(spoilt.union(self._lately())), known))

    async def passed(self, plan: Plan) -> None:
        """After a push: an answer holds for one, and what went by without one is counted for an hour, for who spoils
        files does so in many small steps.
        """
        site = self._site
        accepted = await site.off_loop(site.state.meta, _ACCEPTED[HoldReason.MASS_REWRITE]) is not None
        for key in _ACCEPTED.values():
            await site.off_loop(site.state.set_meta, key, None)
        uploads = plan.of(Action.UPLOAD)
        for item in uploads:
            self._spoilt.pop(item.path, None)
        now_ns = site.now_ns()
        rewritten = [i for i in uploads if _rewritten(i)]
        if rewritten and not accepted:
            self._spoilt |= dict.fromkeys(await site.off_loop(_spoilt, site, rewritten), now_ns)

    async def check_root(self) -> None:
        """Hold when the tree is gone or is another folder than it was."""
        before, now = await self._site.off_loop(_roots, self._site)
        if self.hold is None or self.hold.reason not in _ASKED_ANEW:
            await self._set(root_hold(before, now))
        if self.hold is not None and self.hold.reason not in _ASKED_ANEW:
            raise Held(self.hold.message, hint=self.hold.hint)
        if before is None:
            await self._site.off_loop(first_root, self._site)

    async def accept(self) -> None:
        """The user's word that what is held is right: it is done in the next round."""
        if self.hold is not None:
            await self._site.off_loop(_accept, self._site, self.hold)
            self._spoilt.clear()
        await self._set(None)

    def _lately(self) -> set[str]:
        since = self._site.now_ns() - _LATELY_NS
        self._spoilt = {path: at for path, at in self._spoilt.items() if at >= since}
        return set(self._spoilt)

    async def _ask(self, hold: Hold | None) -> None:
        site = self._site
        if hold is not None and await site.off_loop(site.state.meta, _ACCEPTED[hold.reason]) is None:
            await self._set(hold)
            raise Held(hold.message, hint=hold.hint)

    async def _set(self, hold: Hold | None) -> None:
        if hold != self.hold or hold is not None:
            await self._site.off_loop(remember_hold, self._site, hold)
        self.hold = hold


def _rewritten(item: Item) -> bool:
    """Whether a file that should be text has another beginning than the version that was in sync."""
    seen, tracked = item.observation, item.tracked
    return (
        item.spot.root is Root.TREE
        and item.spot.file_class in _READABLE
        and seen is not None
        and seen.append_from is None
        and tracked is not None
        and tracked.base.kind is Kind.FILE
        and tracked.base.sha256 != seen.local.sha256
    )


def _spoilt(site: Site, items: list[Item]) -> set[str]:
    """Those whose file is no text any more."""
    found = set()
    for item in items:
        try:
            with open_for_read(site.places.tree, item.spot.rel, site.follow) as file_fd:
                head = next(
                    iter(read_chunks(file_fd, 0, min(HEAD, item.found.identity.size if item.found else 0))), b""
                )
        except LocalError:
            continue
        if unreadable(head):
            found.add(item.path)
    return found


def _roots(site: Site) -> tuple[RootIdentity | None, RootIdentity | None]:
    known = site.state.meta("root")
    before = _root_decoder.decode(known) if known is not None else None
    tree = site.places.tree
    try:
        device, inode = root_identity(tree)
    except LocalError:
        return before, None
    return before, RootIdentity(path=str(tree.resolve()), device=device, inode=inode)


def remembered_hold(state: State) -> Hold | None:
    """The hold that the last round ended with, if it did."""
    known = state.meta(_HOLD)
    return _hold_decoder.decode(known) if known is not None else None


def remember_hold(site: Site, hold: Hold | None) -> None:
    """Keep it in the state."""
    site.state.set_meta(_HOLD, msgspec.json.encode(hold).decode() if hold is not None else None)


def _remember_root(site: Site, root: RootIdentity) -> None:
    site.state.set_meta("root", msgspec.json.encode(root).decode())


def first_root(site: Site) -> None:
    """The tree of a device that has never synced; made where Claude Code has not been started yet."""
    try:
        site.places.tree.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"can't make the folder {site.places.tree}: {error.strerror}") from error
    _, now = _roots(site)
    if now is not None:
        _remember_root(site, now)


def _accept(site: Site, hold: Hold) -> None:
    if hold.reason in _ASKED_ANEW:
        site.state.set_meta(_ACCEPTED[hold.reason], "yes")
        return
    first_root(site)
    # What this folder lacks was not deleted from it: it is compared with the vault afresh, and filled from it.
    site.state.forget_bases()
