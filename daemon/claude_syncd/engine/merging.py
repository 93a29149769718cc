"""Merges that fit into memory: text, JSON, the history of prompts. What comes out takes the local file's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.core.merge import history, settings, text
from claude_syncd.core.merge.classes import MergeClass, merge_class
from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.merge.sides import Merged, Side
from claude_syncd.core.model import base_of, join
from claude_syncd.core.reconcile import Relation
from claude_syncd.engine.projected import Version, bring, content_of, is_projected, put
from claude_syncd.local.reading import open_for_read, read_chunks
from claude_syncd.local.state import Tracked

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.core.merge.sides import Conflict
    from claude_syncd.core.model import Local, Record
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site

MOST_HISTORY = 64 * 1024 * 1024
"""A larger history of prompts is not merged."""


@dataclass(frozen=True, slots=True)
class Both:
    """What a file is merged with: `theirs` and `ancestor` are staged files below the folder of the kept sides.

    `ancestor_record` may be known where its content is not. `published`: the local content is another device's.
    """

    winner: Record
    theirs: str
    ancestor: str | None
    ancestor_record: Record | None
    published: bool


@dataclass(frozen=True, slots=True)
class Found:
    """How the local file relates to the winner; with `wrote` it is a merge of both by now."""

    of: Relation
    wrote: bool = False


DIVERGED = Found(Relation.DIVERGED)


def merge_bytes(site: Site, item: Item, both: Both | None) -> Found:
    """Merge a text, a JSON file or the history. Raises Changed, LocalError."""
    kind = merge_class(item.path)
    if item.local is None:
        return DIVERGED
    if both is None:
        # What is no version of settings is never written, so nothing but the file that is here can go on.
        unfit = kind is MergeClass.SETTINGS and item.local.size <= text.MAX_SIZE
        return Found(Relation.REMOTE_IS_PREFIX) if unfit else DIVERGED
    local = item.local
    ours = b"".join(content_of(site, item.spot).read(item.spot.rel, 0, local.size, local.sha256))
    kept = site.places.conflicts
    theirs = _bytes(kept, both.theirs, both.winner.size)
    if kind is MergeClass.SETTINGS and isinstance(settings.shared(theirs), Invalid):
        return Found(Relation.REMOTE_IS_PREFIX)
    base = both.ancestor_record
    ancestor = _bytes(kept, both.ancestor, base.size) if both.ancestor is not None and base is not None else None
    merged = _merged(
        kind,
        ancestor,
        Side(content=ours, mtime_ns=local.mtime_ns, sha256=local.sha256),
        Side(content=theirs, mtime_ns=both.winner.mtime_ns, sha256=both.winner.sha256),
    )
    if not isinstance(merged, Merged) or merged.clashes:
        return DIVERGED
    if merged.content == theirs:
        return Found(Relation.LOCAL_IS_PREFIX)  # the winner has all of it
    if merged.content == ours:
        return Found(Relation.REMOTE_IS_PREFIX)
    mode = newer_mode(local, both.winner)
    if is_projected(item.spot):
        who = both.winner
        bring(site, item.spot, item.found, Version(merged.content, merged.mtime_ns, mode, who.device, who.mtime_ns))
    else:
        put(site, item.spot, item.found, merged.content, mtime_ns=merged.mtime_ns, mode=mode)
    note(site, item, both.winner)
    return Found(Relation.UNKNOWN, wrote=True)


def _merged(kind: MergeClass, base: bytes | None, ours: Side, theirs: Side) -> Merged | Conflict | None:
    if kind is MergeClass.HISTORY:
        return history.merge(ours, theirs)
    if kind in {MergeClass.JSON, MergeClass.SETTINGS}:
        return settings.merge(base, ours, theirs, settings=kind is MergeClass.SETTINGS)
    if kind in {MergeClass.TEXT, MergeClass.MEMORY_INDEX}:
        return text.merge(base, ours, theirs, union=kind is MergeClass.MEMORY_INDEX)
    return None


def newer_mode(local: Local, winner: Record) -> int:
    """The mode of the newer side: the same on every device."""
    ours = (local.mtime_ns, local.sha256) > (winner.mtime_ns, winner.sha256)
    return local.mode if ours else winner.mode


def note(site: Site, item: Item, winner: Record) -> None:
    """What is on the disk descends from the base and from the winner: it is a local change on top of both.

    A crash before this is harmless: merging once more gives the same.
    """
    had = item.tracked.base.vector if item.tracked is not None else {}
    base = base_of(winner, join(had, winner.vector))
    slices = site.state.slices(winner.path, winner.device)
    site.state.track([(item.path, Tracked(base=base, local_mode=winner.mode, slices=slices))], finished=False)


def _bytes(root: Path, rel: str, size: int) -> bytes:
    with open_for_read(root, rel) as file_fd:
        return b"".join(read_chunks(file_fd, 0, size))
