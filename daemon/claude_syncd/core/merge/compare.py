"""Two contents of a transcript, read side by side: where they part, and what each has beyond that."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from claude_syncd.core.merge.rows import Row, RowKind, read_row

if TYPE_CHECKING:
    from collections.abc import Iterable


class Point(NamedTuple):
    """A content row that the other side lacks at that place; `line` counts from 0, `offset` is in bytes.

    `age` orders such rows: the younger one is the greater.
    """

    line: int
    offset: int
    age: tuple[bytes, bytes]


class Compared(NamedTuple):
    """Two sides, left and right.

    `prefix`: one goes on where the other ends, line for line. `left`, `right`: the first content row of each that
    differs, None for a side that has no more. Only where both have no more, `weight` says which has the more metadata:
    positive for the left one, 0 only if they are the same.
    """

    same: bool
    prefix: bool
    left: Point | None
    right: Point | None
    weight: int

    def turned(self) -> Compared:
        """The same with left and right exchanged."""
        return Compared(self.same, self.prefix, self.right, self.left, -self.weight)


def compare(left: Iterable[bytes], right: Iterable[bytes], session_id: str) -> Compared:
    """Compare two contents of the transcript of `session_id`, line by line; both are read once, up to where they part.

    What both have alike is compared and not parsed.
    """
    a, b = _Reader(left, session_id), _Reader(right, session_id)
    while a.line is not None and a.line == b.line:
        a.advance()
        b.advance()
    if a.line is None and b.line is None:
        return Compared(same=True, prefix=False, left=None, right=None, weight=0)
    prefix = a.line is None or b.line is None
    while True:
        ours, theirs = a.content(), b.content()
        if ours is None or theirs is None or ours[0] != theirs[0]:
            break
    points = [found[1] if found is not None else None for found in (ours, theirs)]
    mine, other = a.weight(), b.weight()
    return Compared(same=False, prefix=prefix, left=points[0], right=points[1], weight=(mine > other) - (mine < other))


class _Reader:
    """One side: its current line, and what metadata was passed since the sides parted."""

    def __init__(self, lines: Iterable[bytes], session_id: str) -> None:
        self._lines = iter(lines)
        self._session = session_id
        self._number = -1
        self._offset = 0
        self._sums = [0] * 6
        self.line: bytes | None = b""
        self.advance()

    def advance(self) -> None:
        """Go to the next line; `line` is None after the last one."""
        self._offset += len(self.line or b"")
        self._number += 1
        self.line = next(self._lines, None)

    def content(self) -> tuple[bytes, Point] | None:
        """The digest and place of the next content row, which is passed; None if there is no more."""
        while self.line is not None:
            row = read_row(self.line, self._session)
            point = Point(self._number, self._offset, (row.stamp, row.digest))
            self._note(row, self.line)
            self.advance()
            if row.kind is RowKind.CONTENT:
                return row.digest, point
        return None

    def weight(self) -> list[int]:
        """What to prefer by where the content rows are the same: sums, so that what sides share never matters.

        Bytes and digests: of metadata; of all rows but marks, in their places (so far as in a fork's copy); of all.
        """
        return self._sums

    def _note(self, row: Row, line: bytes) -> None:
        body = line.removesuffix(b"\n")
        place = b"%d:" % self._number
        if row.kind is RowKind.METADATA:
            self._add(0, len(body), row.digest)
        if row.kind is not RowKind.MARK and not row.torn:
            self._add(2, len(body), hashlib.sha256(place + (row.digest or body)).digest())
        whole = hashlib.sha256(place)
        whole.update(line)
        self._add(4, len(line), whole.digest())

    def _add(self, at: int, size: int, digest: bytes) -> None:
        self._sums[at] += size
        self._sums[at + 1] += int.from_bytes(digest)
