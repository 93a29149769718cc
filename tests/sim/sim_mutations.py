"""Broken engines: mistakes that tools of this kind have made, planted one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from claude_syncd.core import reconcile
from claude_syncd.core.compaction import Live
from claude_syncd.core.model import Kind
from claude_syncd.core.reconcile import Action, Outcome, Relation
from claude_syncd.engine import compact, compare, pull, push, take
from claude_syncd.engine.merging import DIVERGED, Both, Found, note
from claude_syncd.engine.plan import lookers_of
from claude_syncd.engine.projected import is_projected, put
from claude_syncd.local.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from claude_syncd.core.model import Base, FileClass, Local, Record
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site


def base_moved_too_early(patch: pytest.MonkeyPatch) -> None:
    """A file counts as received when its download begins."""
    start: Callable[..., None] = pull._start

    def begun(site: Site, batch: pull._Batch, done: pull.Pulled) -> None:
        for item in batch.items:
            identity = item.found.identity if item.found is not None else None
            winner = pull._winner(item)
            site.state.track([(item.path, pull._tracked(item, winner, identity, pull._where(site, winner)))])
        start(site, batch, done)

    patch.setattr(pull, "_start", begun)


def hashed_after_the_upload(patch: pytest.MonkeyPatch) -> None:
    """What is on the disk once the upload has ended counts as uploaded."""
    settle: Callable[..., None] = push._settle

    def settled(site: Site, items: list[Item], drafts: list[Any], *rest: Any) -> None:
        settle(site, items, drafts, *rest)
        for draft in drafts:
            spot, path = draft.item.spot, draft.item.path
            found = lookers_of(site)[spot.root].look(spot.rel)
            tracked = site.state.tracked(path)
            if draft.record is None or found is None or tracked is None or is_projected(spot):
                continue
            seen = site.contents[spot.root].observe(spot.rel, now_ns=site.now_ns()).local
            base = msgspec.structs.replace(tracked.base, sha256=seen.sha256, size=seen.size)
            after = msgspec.structs.replace(tracked, base=base, identity=found.identity)
            site.state.track([(path, after)])

    patch.setattr(push, "_settle", settled)


def tombstone_beats_edit(patch: pytest.MonkeyPatch) -> None:
    """Who deletes is right, whatever somebody else has written meanwhile."""
    changed = reconcile._local_changed

    def removed(
        base: Base | None, local: Local, winner: Record, file_class: FileClass, relation: Relation, *, published: bool
    ) -> Outcome:
        if winner.kind is Kind.TOMBSTONE:
            return Outcome(action=Action.REMOVE, vector=winner.vector, winner=winner)
        return changed(base, local, winner, file_class, relation, published=published)

    patch.setattr(reconcile, "_local_changed", removed)


def union_instead_of_fork(patch: pytest.MonkeyPatch) -> None:
    """A session that went on at both places gets the lines of both."""

    def merged(site: Site, item: Item, both: Both | None) -> Found:
        if both is None or item.local is None:
            return DIVERGED
        ours = (site.folder(item.spot.root) / item.spot.rel).read_bytes().splitlines(keepends=True)
        theirs = (site.places.conflicts / both.theirs).read_bytes().splitlines(keepends=True)
        union = sorted({*ours, *theirs}, key=(theirs + ours).index)
        if union == theirs:
            return Found(Relation.LOCAL_IS_PREFIX)
        if union == ours:
            return Found(Relation.REMOTE_IS_PREFIX)
        mtime_ns = max(item.local.mtime_ns, both.winner.mtime_ns)
        put(site, item.spot, item.found, b"".join(union), mtime_ns=mtime_ns, mode=item.local.mode)
        note(site, item, both.winner)
        return Found(Relation.UNKNOWN, wrote=True)

    patch.setattr(compare, "merge_transcripts", merged)


def losing_side_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The newer version replaces the other one, and that is all."""
    for module in (pull, take):
        patch.setattr(module, "keep_local", lambda _site, _item: None)
    decide = reconcile._with_own

    def without_copy(*args: Any, **named: Any) -> Any:
        return msgspec.structs.replace(decide(*args, **named), keep_withdrawn=False)

    patch.setattr(reconcile, "_with_own", without_copy)


def compaction_without_grace(patch: pytest.MonkeyPatch) -> None:
    """A compaction deletes at once, and what is named by older records as well."""
    patch.setattr(compact, "GRACE", 0)
    patch.setattr(compact, "_in_use", lambda _site: Live())
    patch.setattr(State, "objects_in_use", lambda _state, _device: set())


MUTATIONS = {
    mutation.__name__: mutation
    for mutation in (
        base_moved_too_early,
        hashed_after_the_upload,
        tombstone_beats_edit,
        union_instead_of_fork,
        losing_side_not_kept,
        compaction_without_grace,
    )
}
