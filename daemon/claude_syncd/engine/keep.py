"""Puts losing sides of conflicts onto this disk, under `conflicts/`; from there they are published like any file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.core.model import Base, Kind, heads, join
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import conflict_path
from claude_syncd.engine.fetch import Fetch, discard, fetch, verify
from claude_syncd.engine.projected import content_of
from claude_syncd.errors import Changed, LocalError, SyncError
from claude_syncd.local.apply import Commit
from claude_syncd.local.state import Tracked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.core.model import Record
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site


def keep_local(site: Site, item: Item) -> None:
    """Copy a file of the tree that is about to be replaced, durably. Raises Changed, LocalError."""
    local = item.local
    if local is None:
        raise AssertionError("there is nothing to keep")
    kept = conflict_path(item.path, local.sha256)
    staged = site.appliers[Root.CONFLICTS].stage(_rel(kept))
    try:
        offset = 0
        for data in content_of(site, item.spot).read(item.spot.rel, 0, local.size, local.sha256):
            staged.write_at(offset, data)
            offset += len(data)
        _place(site, kept, Commit(staged=staged, mtime_ns=local.mtime_ns, mode=local.mode, expected=None))
    finally:
        staged.discard()


def waiting(site: Site, items: Iterable[Item]) -> list[Item]:
    """Those with a side to withdraw that this device wrote under another id, whose content is to be kept and is not
    in the vault under its new name yet.
    """
    return [
        item
        for item in items
        if (lost := item.outcome.withdraw) is not None
        and lost.device != site.me
        and item.outcome.keep_withdrawn
        and not any(h.kind is Kind.FILE for h in heads(site.state.newest(conflict_path(item.path, lost.sha256))))
    ]


async def keep_left(site: Site, items: Sequence[Item]) -> set[str]:
    """Fetch what this device wrote under another id and has lost: this id's area does not hold it. The paths of which
    that was done; they, and the kept sides, are to be planned anew. Raises StoreError.
    """
    fetches: list[Fetch] = []
    try:
        for item in items:
            one = await site.off_loop(_begin, site, item)
            if one is not None:
                fetches.append(one)
        await fetch(site, fetches)
        return await site.off_loop(_finish, site, fetches)
    finally:
        await site.off_loop(discard, fetches)


def _begin(site: Site, item: Item) -> Fetch | None:
    lost = _lost(item)
    rel = _rel(conflict_path(item.path, lost.sha256))
    if (site.places.conflicts / rel).exists():
        return None  # it is here already and was not published: another round does that
    try:
        staged = site.appliers[Root.CONFLICTS].stage(rel)
    except LocalError as error:
        site.problems[f"apply:{item.path}"] = str(error)
        return None
    return Fetch(item.path, lost, site.state.slices(lost.path, lost.device), staged)


def _finish(site: Site, fetches: list[Fetch]) -> set[str]:
    done = set()
    for one in fetches:
        verify(one)
        try:
            if one.error is not None:
                raise one.error
            commit = Commit(staged=one.staged, mtime_ns=one.record.mtime_ns, mode=one.record.mode, expected=None)
            _place(site, conflict_path(one.path, one.record.sha256), commit)
        except SyncError as error:
            site.problems[f"apply:{one.path}"] = str(error)
            continue
        site.problems.pop(f"apply:{one.path}", None)
        done.add(one.path)
    site.state.add_todo(done)
    return done


def _lost(item: Item) -> Record:
    if item.outcome.withdraw is None:
        raise AssertionError("there is nothing to withdraw")
    return item.outcome.withdraw


def _place(site: Site, kept: str, commit: Commit) -> None:
    result = site.appliers[Root.CONFLICTS].commit([commit])[0]
    if isinstance(result, SyncError) and not isinstance(result, Changed):  # Changed: it is there already
        raise result
    known = heads(site.state.newest(kept))
    if known and not any(h.kind is Kind.FILE for h in known):
        # An earlier conflict of the same contents has ended; this one has begun after that, and is no leftover of it.
        ended = Base(kind=Kind.TOMBSTONE, vector=join(*(h.vector for h in known)))
        site.state.track([(kept, Tracked(base=ended))], finished=False)
    site.state.add_todo([kept])


def _rel(kept: str) -> str:
    return kept.removeprefix("conflicts/")
