"""Sessions that went on here and elsewhere: one side takes the other's place, or becomes a session of its own."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from claude_syncd.core.merge.fork import fork_lines, fork_path
from claude_syncd.core.merge.transcript import Branch, Mark, merge_heads
from claude_syncd.core.model import FileClass
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import Relation
from claude_syncd.engine.merging import DIVERGED, Both, Found
from claude_syncd.engine.parking import is_live
from claude_syncd.engine.plan import lookers_of
from claude_syncd.errors import Changed, SyncError
from claude_syncd.local.apply import Commit
from claude_syncd.local.reading import open_for_read, read_chunks
from claude_syncd.local.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from claude_syncd.core.merge.transcript import Fork
    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site
    from claude_syncd.local.stage import Staged

_BUFFER = 256 * 1024


def merge_transcripts(site: Site, item: Item, both: Both | None) -> Found:
    """Decide between two contents of a transcript. A fork is on this disk, durably, when this returns.

    Raises Changed, LocalError.
    """
    if both is None or item.local is None:
        return DIVERGED
    with (
        open_for_read(site.folder(item.spot.root), item.spot.rel, site.follow) as our_fd,
        open_for_read(site.places.conflicts, both.theirs) as their_fd,
    ):
        ours = Branch(
            lines=partial(_lines, our_fd, item.local.size), mtime_ns=item.local.mtime_ns, device_name=site.name
        )
        theirs = Branch(
            lines=partial(_lines, their_fd, both.winner.size),
            mtime_ns=both.winner.mtime_ns,
            device_name=_name_of(site, both.winner.device),
        )
        base = both.ancestor_record
        mark = Mark(base.size, base.sha256) if base is not None else None
        session = item.path.split("/")[3].removesuffix(".jsonl")
        heads = merge_heads(session, [ours, theirs], mark)
        relation = Relation.REMOTE_IS_PREFIX if heads.winner is ours else Relation.LOCAL_IS_PREFIX
        if not heads.forks:
            return Found(relation)
        if both.published or not _is_session(item):
            return DIVERGED
        if heads.winner is theirs:
            _require(ours, item.local.sha256)
        if not all(_fork(site, item, session, fork) for fork in heads.forks):
            return DIVERGED
        return Found(relation)


def _is_session(item: Item) -> bool:
    """Whether it is a session's own transcript, not one of a subagent."""
    return item.path.count("/") == 3


def _name_of(site: Site, device: str) -> str:
    position = site.state.positions().get(device)
    return position.name if position is not None else ""


def _lines(file_fd: int, size: int) -> Iterator[bytes]:
    """The lines of the first `size` bytes, each with its newline; the last one may have none."""
    begun: list[bytes] = []  # a line may be longer than many pieces
    for data in read_chunks(file_fd, 0, size):
        start = 0
        while end := data.find(b"\n", start) + 1:
            yield b"".join((*begun, data[start:end]))
            begun.clear()
            start = end
        if start < len(data):
            begun.append(data[start:])
    if begun:
        yield b"".join(begun)


def _require(branch: Branch, sha256: str) -> None:
    """Raise Changed unless the content is the one that was decided about: it is about to be replaced."""
    digest = hashlib.sha256()
    for line in branch.lines():
        digest.update(line)
    if digest.hexdigest() != sha256:
        raise Changed("a session changed while it was compared")


def _fork(site: Site, item: Item, session: str, fork: Fork) -> bool:
    """Write a fork's transcript and side folder; what is there already and as good stays. False where another
    content under the fork's name has something of its own: that can't be settled by writing here.
    """
    path = fork_path(item.path, session, fork.session_id)
    spot = site.paths.spot(path) if path is not None else None
    if path is None or spot is None or spot.root is not Root.TREE or spot.file_class is not FileClass.TRANSCRIPT:
        raise Changed(f"{item.path} can't be forked here")

    def lines() -> Iterable[bytes]:
        branch = fork.branch
        return fork_lines(branch.lines(), session, fork.session_id, fork.line, branch.device_name)

    if not _place(site, path, spot, fork, lines):
        return False
    made = [path]
    made += _copy_side_folder(site, item, session, fork.session_id)
    site.state.add_todo(made)
    return True


def _place(site: Site, path: str, spot: Spot, fork: Fork, lines: Callable[[], Iterable[bytes]]) -> bool:
    found = lookers_of(site)[spot.root].look(spot.rel)
    better = _better(site, spot, fork, found.identity.size, lines) if found is not None else True
    if not better:
        return better is not None  # as good is there
    with _staged(site, spot, lines()) as staged:
        if found is not None and is_live(site, path, spot):
            raise Changed(f"the session {fork.session_id} is live")
        commit = Commit(
            staged=staged,
            mtime_ns=fork.mtime_ns,
            mode=0o600,
            expected=found.identity if found is not None else None,
        )
        (result,) = site.appliers[spot.root].commit([commit])
        if isinstance(result, SyncError):
            raise result
    return True


def _better(site: Site, spot: Spot, fork: Fork, size: int, lines: Callable[[], Iterable[bytes]]) -> bool | None:
    """Whether the fork as it comes out now has more than the one that is there, since its side went on; None where
    each has something of its own.
    """
    with open_for_read(site.folder(spot.root), spot.rel, site.follow) as file_fd:
        there = Branch(lines=partial(_lines, file_fd, size), mtime_ns=0, device_name="")
        new = Branch(lines=lines, mtime_ns=fork.mtime_ns, device_name=fork.branch.device_name)
        heads = merge_heads(fork.session_id, [there, new])
        return None if heads.forks else heads.winner is new


@contextmanager
def _staged(site: Site, spot: Spot, lines: Iterable[bytes]) -> Iterator[Staged]:
    staged = site.appliers[spot.root].stage(spot.rel)
    try:
        buffer = bytearray()
        offset = 0
        for line in lines:
            buffer += line
            if len(buffer) >= _BUFFER:
                staged.write_at(offset, bytes(buffer))
                offset += len(buffer)
                buffer.clear()
        staged.write_at(offset, bytes(buffer))
        yield staged
    finally:
        staged.discard()


def _copy_side_folder(site: Site, item: Item, old: str, new: str) -> list[str]:
    """Copy what lies in the session's side folder to the fork's, where it is not there yet; gives the new paths."""
    folder = f"{item.spot.rel.rpartition('/')[0]}/{old}"
    applier = site.appliers[item.spot.root]
    made = []
    found = scan(
        site.folder(item.spot.root),
        wanted=site.rules.selects,
        descends=site.rules.descends,
        follow=site.follow,
        under=folder,
        problems=[],
    )
    for file in found:
        portable = site.paths.portable(file.path)
        target = fork_path(portable, old, new) if portable is not None else None
        spot = site.paths.spot(target) if target is not None else None
        if target is None or spot is None or lookers_of(site)[spot.root].look(spot.rel) is not None:
            continue
        staged = applier.stage(spot.rel)
        try:
            staged.copy_prefix(file.path, file.identity.size)
            commit = Commit(staged=staged, mtime_ns=file.identity.mtime_ns, mode=file.mode & 0o777, expected=None)
            (result,) = applier.commit([commit])
            if isinstance(result, SyncError) and not isinstance(result, Changed):
                raise result
        finally:
            staged.discard()
        made.append(target)
    return made
