"""Both sides of a path changed: fetches the other one, merges what can be merged, and decides again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.core.merge.classes import MergeClass, merge_class
from claude_syncd.core.merge.text import MAX_SIZE
from claude_syncd.core.model import Kind, Record, covers_all
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import conflict_path
from claude_syncd.core.versions import common_ancestor
from claude_syncd.engine.fetch import Fetch, discard, fetch, verify
from claude_syncd.engine.merging import MOST_HISTORY, Both, merge_bytes
from claude_syncd.engine.plan import decide_one
from claude_syncd.engine.sources import in_vault
from claude_syncd.engine.transcripts import merge_transcripts
from claude_syncd.errors import Changed, LocalError, ObjectMissing, VaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.core.model import Slice
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site

_LARGEST = {MergeClass.HISTORY: MOST_HISTORY}


async def compare(site: Site, items: Sequence[Item]) -> list[Item]:
    """The COMPARE items decided, after what was merged of them took its place on this disk. One that can't be decided
    now is left out. Raises StoreError.
    """
    decided = []
    for item in items:
        fetches: list[Fetch] = []
        problem = f"apply:{item.path}"
        try:
            await site.off_loop(_stage, site, item, fetches)
            await fetch(site, fetches)
            decided.append(await site.off_loop(_decide_again, site, item, fetches))
        except Changed:
            continue  # the next round sees it again
        except (LocalError, VaultError, ObjectMissing) as error:
            site.problems[problem] = str(error)
        else:
            site.problems.pop(problem, None)
        finally:
            await site.off_loop(discard, fetches)
    return decided


def _stage(site: Site, item: Item, fetches: list[Fetch]) -> None:
    """Begin to fetch the winner and, where it is of use, the version that both sides come from."""
    winner = item.outcome.winner
    if winner is None:
        raise AssertionError("nothing to compare with")
    if not _small_enough(item, winner):
        return
    fetches.append(aside(site, item.path, winner, site.state.slices(winner.path, winner.device)))
    if merge_class(item.path) in {MergeClass.TRANSCRIPT, MergeClass.HISTORY} or item.tracked is None:
        return
    ancestor = _ancestor(item, winner)
    if ancestor is not None:
        fetches.append(aside(site, item.path, ancestor, item.tracked.slices))
        return
    ancestor = _published_ancestor(site, item, winner)
    places = in_vault(site, ancestor) if ancestor is not None else []
    if ancestor is not None and places and ancestor.size <= MAX_SIZE:
        fetches.append(aside(site, item.path, ancestor, places[0]))


def _small_enough(item: Item, winner: Record) -> bool:
    """Sessions are compared as streams, everything else in memory."""
    kind = merge_class(item.path)
    largest = max(winner.size, item.local.size if item.local is not None else 0)
    return kind is MergeClass.TRANSCRIPT or largest <= _LARGEST.get(kind, MAX_SIZE)


def _ancestor(item: Item, winner: Record) -> Record | None:
    """The base, where both sides come from it and its content is still known."""
    tracked, local = item.tracked, item.local
    if tracked is None or local is None or tracked.base.kind is not Kind.FILE:
        return None
    base = tracked.base
    unchanged = base.evicted or (base.sha256, base.mode) == (local.sha256, local.mode)
    known = sum(part.length for part in tracked.slices) == base.size
    if unchanged or not known or not covers_all(winner.vector, base.vector):
        return None
    return Record(
        path=item.path,
        kind=Kind.FILE,
        device="",
        seq=0,
        vector=base.vector,
        size=base.size,
        mtime_ns=base.mtime_ns,
        mode=base.mode,
        sha256=base.sha256,
    )


def _published_ancestor(site: Site, item: Item, winner: Record) -> Record | None:
    """Where this device's version is published too: what both were made from. Only the author of the losing side
    merges published ones, so no other device has to find the same.
    """
    if item.tracked is None or item.tracked.base.kind is not Kind.FILE or item.tracked.base.evicted:
        return None
    known = [v.record for v in site.state.versions(item.path)]
    return common_ancestor(known, item.tracked.base.vector, winner.vector)


def aside(site: Site, path: str, record: Record, slices: tuple[Slice, ...]) -> Fetch:
    """The fetch of a version into a staged file below the folder of the kept sides."""
    rel = conflict_path(path, record.sha256).removeprefix("conflicts/")
    return Fetch(path=path, record=record, slices=slices, staged=site.appliers[Root.CONFLICTS].stage(rel))


def _decide_again(site: Site, item: Item, fetches: list[Fetch]) -> Item:
    both = _both(site, item, fetches)
    if merge_class(item.path) is MergeClass.TRANSCRIPT:
        relation = merge_transcripts(site, item, both)
    else:
        relation = merge_bytes(site, item, both)
    again = decide_one(site, item.path, item.spot, relation.of)
    if not relation.wrote and (
        again.found is None or item.found is None or again.found.identity != item.found.identity
    ):
        raise Changed(f"{item.path} changed while it was compared")
    return again


def _both(site: Site, item: Item, fetches: list[Fetch]) -> Both | None:
    """What was fetched; None for what is too large to compare."""
    if not fetches:
        return None
    theirs, *ancestor = fetches
    verify(theirs)
    if theirs.error is not None:
        raise theirs.error
    for one in ancestor:
        verify(one)  # an old content that is gone from the vault is no error: there is no ancestor then
    known = [one for one in ancestor if one.error is None]
    return Both(
        winner=theirs.record,
        theirs=_place(theirs),
        ancestor=_place(known[0]) if known else None,
        ancestor_record=known[0].record if known else _ancestor(item, theirs.record),
        published=_published_elsewhere(site, item),
    )


def _place(one: Fetch) -> str:
    """Where the staged file lies, below the folder of the kept sides."""
    return f"{one.staged.path.rpartition('/')[0]}/{one.staged.name}"


def _published_elsewhere(site: Site, item: Item) -> bool:
    """Whether this disk only holds what another device has published: merging that is for its author to do."""
    sha256 = item.local.sha256 if item.local is not None else ""
    same = [r for r in site.state.newest(item.path) if r.kind is Kind.FILE and r.sha256 == sha256]
    return bool(same) and all(r.device != site.me for r in same)
