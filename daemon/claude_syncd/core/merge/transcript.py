"""Which of several contents of a transcript keeps the session's id, and which become sessions of their own.

Content rows (those with a uuid, and complete lines that can't be read) make a transcript a path in a tree of
conversations; metadata rows are leaves at its side. The rules, each a total order over contents, so that any number
of sides merged in any order end alike:

1. One side's content rows begin with all of the other's: it goes on where the other stopped, and takes its place.
2. Both have the same: the one with more metadata.
3. They part: the side whose first own row is the younger keeps the id, the other becomes a fork. Neither changes when
   a side grows, so two machines that both go on make one fork, not one at each push.

A fork's id comes from its content rows up to the first one of its own (`fork_id`): every device finds the same one,
whatever it merged before, and a fork that grew is the same fork.

Sides are read as streams, one line in memory at a time, whatever the size of the file.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cmp_to_key, partial
from itertools import islice

import msgspec

from claude_syncd.core.merge.compare import Compared, compare
from claude_syncd.core.merge.rows import RowKind, read_row

_FORKS = uuid.UUID("6a1c3f52-2d0b-5e0e-9d3c-0f4b5a7e9c11")
"""The name space of the ids of forks; never to be changed."""


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """One of the contents to merge. `lines` gives its lines, newlines included, from the start at each call."""

    lines: Callable[[], Iterable[bytes]]
    mtime_ns: int
    device_name: str


class Mark(msgspec.Struct, frozen=True):
    """The first `size` bytes of a content and their SHA-256 in hex: the common ancestor of all sides, where known."""

    size: int
    sha256: str


class How(StrEnum):
    """Why a side is superseded."""

    SAME = "same"
    FAST_FORWARD = "fast-forward"  # the winner begins with all of its lines
    NEWER_TAIL = "newer-tail"  # the winner has all of its content rows; it has other metadata
    REWRITTEN = "rewritten"  # the winner had rows removed on purpose, and this side has none of its own


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """A side whose place is taken; it stays in the vault's history."""

    branch: Branch
    how: How


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """A side that becomes the session `session_id`. `line`: number (from 0) of the first line of its own."""

    session_id: str
    branch: Branch
    mtime_ns: int
    line: int


class Heads(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of all sides: each is the winner, in `forks`, or in `superseded`. Forks are sorted by id."""

    winner: Branch
    mtime_ns: int
    forks: tuple[Fork, ...] = ()
    superseded: tuple[Superseded, ...] = ()


def merge_heads(session_id: str, branches: Sequence[Branch], base: Mark | None = None) -> Heads:
    """Merge all of `branches` (at least one), contents of the transcript of `session_id`.

    `base` is the newest version that every side descends from. It must be the same on every device that merges the
    same sides, or None; only with it is a side that had rows removed (a message taken back, a compaction) told from
    one that never had them. Such a side wins over one that was only appended to, whose rows it would bring back.
    """
    return _Judge(session_id, branches, base).settle(range(len(branches)))


def fork_id(lines: Iterable[bytes], session_id: str, line: int) -> str:
    """The id of the fork whose first own line is number `line` of `lines`. Reads no further than that line."""
    return _named(deque(_paths(islice(lines, line + 1), session_id), maxlen=1).pop())


def extends(lines: Iterable[bytes], base: Mark) -> bool:
    """Whether a content begins with all of `base`: it was only appended to since."""
    digest = hashlib.sha256()
    left = base.size
    for line in lines:
        if left <= 0:
            break
        digest.update(line[:left])
        left -= len(line)
    return left <= 0 and digest.hexdigest() == base.sha256


class _Judge:
    """The order of the sides of one merge; sides are named by their number."""

    def __init__(self, session_id: str, branches: Sequence[Branch], base: Mark | None) -> None:
        self._session = session_id
        self._branches = branches
        self._compared: dict[tuple[int, int], Compared] = {}
        everyone = range(len(branches))
        self._owners = frozenset(i for i in everyone if self._owns(branches[i]))
        self._rows_of_base = 0
        self._cut: frozenset[int] = frozenset()
        # A side that still has all of the base tells what another one lacks of it.
        whole = next((i for i in everyone if base is not None and extends(branches[i].lines(), base)), None)
        if base is not None and whole is not None:
            self._rows_of_base = _content_rows(branches[whole].lines(), session_id, base.size)
            self._cut = frozenset(i for i in everyone if i != whole and self._lacks(i, whole, base.size))

    def settle(self, group: Sequence[int], *, nested: bool = False) -> Heads:
        """One of `group` keeps the id that they are under, each of the others gets its place.

        `nested`: that id is a fork's and theirs alone: neither the base nor the owners of this session's id matter.
        """
        winner = max(group, key=cmp_to_key(partial(self._order, nested=nested)))
        forks: dict[str, list[tuple[int, int]]] = defaultdict(list)
        superseded: list[Superseded] = []
        for side in group:
            if side == winner:
                continue
            verdict = self._verdict(winner, side, nested=nested)
            if isinstance(verdict, How):
                superseded.append(Superseded(branch=self._branches[side], how=verdict))
            else:
                forks[fork_id(self._branches[side].lines(), self._session, verdict)].append((side, verdict))
        made: list[Fork] = []
        for new, parted in forks.items():
            # They share the row that names the fork, and fork again only below it: this ends.
            heads = self.settle([side for side, _ in parted], nested=True)
            line = next(line for side, line in parted if self._branches[side] is heads.winner)
            made.append(Fork(session_id=new, branch=heads.winner, mtime_ns=heads.mtime_ns, line=line))
            made.extend(heads.forks)
            superseded.extend(heads.superseded)
        return Heads(
            winner=self._branches[winner],
            mtime_ns=max(self._branches[side].mtime_ns for side in group),
            forks=tuple(sorted(made, key=lambda fork: fork.session_id)),
            superseded=tuple(superseded),
        )

    def _order(self, a: int, b: int, *, nested: bool) -> int:
        """Positive if `a` is before `b` in the claim to the id."""
        if not nested:
            for claim in (self._owners, self._cut):
                if (a in claim) != (b in claim):
                    return 1 if a in claim else -1
        found = self._compare(a, b)
        if found.left is not None and found.right is not None:
            return 1 if found.left.age > found.right.age else -1
        if found.left is not None or found.right is not None:
            return 1 if found.left is not None else -1
        if found.same:  # the fork's title names one of them, the same one whichever came first
            ours, theirs = (self._branches[side].device_name for side in (a, b))
            return (ours > theirs) - (ours < theirs)
        return found.weight

    def _verdict(self, winner: int, side: int, *, nested: bool) -> How | int:
        """How `side` is superseded by `winner`, or the number of the line at which it forks."""
        found = self._compare(winner, side)
        if found.same:
            return How.SAME
        if found.right is None:
            return How.FAST_FORWARD if found.prefix else How.NEWER_TAIL
        if not nested and winner in self._cut and side not in self._cut and not self._grown(side):
            return How.REWRITTEN
        return found.right.line

    def _compare(self, a: int, b: int) -> Compared:
        if (a, b) not in self._compared:
            found = compare(self._branches[a].lines(), self._branches[b].lines(), self._session)
            self._compared[a, b] = found
            self._compared[b, a] = found.turned()
        return self._compared[a, b]

    def _lacks(self, side: int, whole: int, size: int) -> bool:
        missing = self._compare(whole, side).left
        return missing is not None and missing.offset < size

    def _grown(self, side: int) -> bool:
        """Whether the side has content rows beyond those of the base."""
        return _content_rows(self._branches[side].lines(), self._session) > self._rows_of_base

    def _owns(self, branch: Branch) -> bool:
        """Whether this session is a fork that was made of this very conversation.

        Another one is under its id only if somebody rewrote the file. The owner must stay: it could not be given
        another id without two forks passing it to and fro.
        """
        if not _may_be_fork(self._session):
            return False
        return any(_named(path) == self._session for path in _paths(branch.lines(), self._session))


def _content_rows(lines: Iterable[bytes], session_id: str, size: int | None = None) -> int:
    """The number of content rows among `lines`, or among those that begin within the first `size` bytes."""
    count = offset = 0
    for line in lines:
        if size is not None and offset >= size:
            break
        offset += len(line)
        count += read_row(line, session_id).kind is RowKind.CONTENT
    return count


def _paths(lines: Iterable[bytes], session_id: str) -> Iterator[bytes]:
    """For each content row the digest of all content rows up to it."""
    path = b""
    for line in lines:
        row = read_row(line, session_id)
        if row.kind is RowKind.CONTENT:
            path = hashlib.sha256(path + row.digest).digest()
            yield path


def _named(path: bytes) -> str:
    return str(uuid.uuid5(_FORKS, path.hex()))


def _may_be_fork(session_id: str) -> bool:
    try:
        return uuid.UUID(session_id).version == 5
    except ValueError:
        return False
