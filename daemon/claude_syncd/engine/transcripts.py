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
    from claude_syncd.core.model import Identity
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
        for fork in heads.forks:
            _fork(site, item.path, item.spot, session, fork)
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


def _fork(site: Site, path: str, spot: Spot, session: str, fork: Fork) -> None:
    """Write a fork of the transcript `path` at `spot`, and its side folder; what is there already and as good stays.

    Where another content under the fork's name has something of its own, one of the two is forked further.
    """
    under = fork_path(path, session, fork.session_id)
    place = site.paths.spot(under) if under is not None else None
    if under is None or place is None or place.root is not Root.TREE or place.file_class is not FileClass.TRANSCRIPT:
        raise Changed(f"{path} can't be forked here")

    def lines() -> Iterable[bytes]:
        branch = fork.branch
        return fork_lines(branch.lines(), session, fork.session_id, fork.line, branch.device_name)

    _place(site, under, place, fork, lines)
    site.state.add_todo([under, *_copy_side_folder(site, spot, session, fork.session_id)])


def _place(site: Site, path: str, spot: Spot, fork: Fork, lines: Callable[[], Iterable[bytes]]) -> None:
    found = lookers_of(site)[spot.root].look(spot.rel)
    if found is None:
        _write(site, spot, fork, lines, None)
        return
    live = is_live(site, path, spot)
    with open_for_read(site.folder(spot.root), spot.rel, site.follow) as file_fd:
        there = Branch(
            lines=partial(_lines, file_fd, found.identity.size),
            mtime_ns=found.identity.mtime_ns,
            device_name=_name_of(site, _author(site, path, found.identity)),
        )
        new = Branch(lines=lines, mtime_ns=fork.mtime_ns, device_name=fork.branch.device_name)
        heads = merge_heads(fork.session_id, [there, new])
        if live and heads.winner is new:
            raise Changed(f"the session {fork.session_id} is live")
        for further in heads.forks:
            _fork(site, path, spot, fork.session_id, further)
        if heads.winner is new:
            _write(site, spot, fork, lines, found.identity)


def _write(site: Site, spot: Spot, fork: Fork, lines: Callable[[], Iterable[bytes]], expected: Identity | None) -> None:
    with _staged(site, spot, lines()) as staged:
        commit = Commit(staged=staged, mtime_ns=fork.mtime_ns, mode=0o600, expected=expected)
        (result,) = site.appliers[spot.root].commit([commit])
        if isinstance(result, SyncError):
            raise result


def _author(site: Site, path: str, identity: Identity) -> str:
    """Who wrote what lies at `path`: another device, if it is still as that one wrote it."""
    written = (r for r in site.state.newest(path) if (r.size, r.mtime_ns) == (identity.size, identity.mtime_ns))
    return next((r.device for r in written), site.me)


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


def _copy_side_folder(site: Site, session: Spot, old: str, new: str) -> list[str]:
    """Copy what lies in the session's side folder to the fork's, where it is not there yet; gives the new paths."""
    folder = f"{session.rel.rpartition('/')[0]}/{old}"
    applier = site.appliers[session.root]
    made = []
    found = scan(
        site.folder(session.root),
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
