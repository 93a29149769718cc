"""Merges that fit into memory: text, JSON, the history of prompts. What comes out takes the local file's place."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.core.merge import history, settings, text
from claude_syncd.core.merge.classes import MergeClass, merge_class
from claude_syncd.core.merge.sides import Merged, Side
from claude_syncd.core.model import Base, Kind, join
from claude_syncd.core.reconcile import Relation
from claude_syncd.errors import Changed, SyncError
from claude_syncd.local.apply import Commit
from claude_syncd.local.reading import open_for_read, read_chunks
from claude_syncd.local.refusal import refused
from claude_syncd.local.state import Tracked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claude_syncd.core.merge.sides import Conflict
    from claude_syncd.core.model import Local, Record
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site

MOST_HISTORY = 64 * 1024 * 1024
"""A larger history of prompts is not merged."""
_STALE = 10.0  # seconds; a lock folder that was not touched for so long was left behind by a crash


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
    if both is None or item.local is None:
        return DIVERGED
    local = item.local
    ours = _bytes(site.folder(item.spot.root), item.spot.rel, local.size, site.follow)
    if hashlib.sha256(ours).hexdigest() != local.sha256:
        raise Changed(f"{item.path} changed while it was read")
    kept = site.places.conflicts
    theirs = _bytes(kept, both.theirs, both.winner.size)
    base = both.ancestor_record
    ancestor = _bytes(kept, both.ancestor, base.size) if both.ancestor is not None and base is not None else None
    merged = _merged(
        item.path,
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
    with _lock(site.folder(item.spot.root) / item.spot.rel, wanted=merge_class(item.path) is MergeClass.HISTORY):
        put(site, item, merged.content, merged.mtime_ns, newer_mode(local, both.winner))
    note(site, item, both.winner)
    return Found(Relation.UNKNOWN, wrote=True)


def _merged(path: str, base: bytes | None, ours: Side, theirs: Side) -> Merged | Conflict | None:
    kind = merge_class(path)
    if kind is MergeClass.HISTORY:
        return history.merge(ours, theirs)
    if kind in {MergeClass.JSON, MergeClass.SETTINGS}:
        return settings.merge(base, ours, theirs, settings=False)
    if kind in {MergeClass.TEXT, MergeClass.MEMORY_INDEX}:
        return text.merge(base, ours, theirs, union=kind is MergeClass.MEMORY_INDEX)
    return None


def newer_mode(local: Local, winner: Record) -> int:
    """The mode of the newer side: the same on every device."""
    ours = (local.mtime_ns, local.sha256) > (winner.mtime_ns, winner.sha256)
    return local.mode if ours else winner.mode


def put(site: Site, item: Item, content: bytes, mtime_ns: int, mode: int) -> None:
    """Replace the local file, which goes to the trash. Raises Changed, LocalError."""
    applier = site.appliers[item.spot.root]
    staged = applier.stage(item.spot.rel)
    try:
        staged.write_at(0, content)
        expected = item.found.identity if item.found is not None else None
        (result,) = applier.commit([Commit(staged=staged, mtime_ns=mtime_ns, mode=mode, expected=expected)])
        if isinstance(result, SyncError):
            raise result
    finally:
        staged.discard()


def note(site: Site, item: Item, winner: Record) -> None:
    """What is on the disk descends from the base and from the winner: it is a local change on top of both.

    A crash before this is harmless: merging once more gives the same.
    """
    had = item.tracked.base.vector if item.tracked is not None else {}
    own = (r.vector for r in site.state.newest(item.path) if r.device == site.me)
    base = Base(
        kind=Kind.FILE,
        vector=join(had, winner.vector, *own),
        size=winner.size,
        mtime_ns=winner.mtime_ns,
        mode=winner.mode,
        sha256=winner.sha256,
    )
    slices = site.state.slices(winner.path, winner.device)
    site.state.track([(item.path, Tracked(base=base, local_mode=winner.mode, slices=slices))], finished=False)


def _bytes(root: Path, rel: str, size: int, follow: tuple[Path, ...] = ()) -> bytes:
    with open_for_read(root, rel, follow) as file_fd:
        return b"".join(read_chunks(file_fd, 0, size))


@contextmanager
def _lock(file: Path, *, wanted: bool) -> Iterator[None]:
    """Claude Code's own lock of the history: a folder beside it. Raises Changed while somebody has it."""
    if not wanted:
        yield
        return
    lock = file.with_name(f"{file.name}.lock")
    with refused("lock", file):
        if not _made(lock):
            with suppress(OSError):
                if time.time() - lock.stat().st_mtime > _STALE:
                    lock.rmdir()
            if not _made(lock):
                raise Changed(f"{file} is locked")
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
