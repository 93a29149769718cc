"""Records to rows of an index and back, with everything checked that types can't say."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from claude_syncd.core.model import Extends, Kind, Published, Record, Seen, Slice
from claude_syncd.errors import FormatError
from claude_syncd.vault import layout, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from claude_syncd.vault.frame import BlobInfo


class ObjectTable:
    """Numbers the objects that slices name: 0 is the object itself, others are relative to the device's area."""

    def __init__(self, device: str, own: str) -> None:
        self._area = layout.area(device)
        self._numbers = {own: 0}

    def number(self, name: str) -> int:
        """The number of the object `name`; FormatError if it lies in another device's area."""
        if not name.startswith(self._area):
            raise FormatError(f"a record may not refer to {name}, which lies outside of its device's area")
        return self._numbers.setdefault(name, len(self._numbers))

    def names(self, start: int = 1) -> list[str]:
        """The names behind the numbers from `start` on, relative to the area."""
        return [name.removeprefix(self._area) for name in islice(self._numbers, start, None)]


def to_row(published: Published, table: ObjectTable, *, with_seq: bool) -> wire.Row:
    """The row of one record."""
    record = published.record
    extends = published.extends
    keep = None
    if extends is not None:
        other = "" if extends.path == record.path else extends.path
        keep = wire.Keep(seq=extends.seq, keep=extends.keep, path=other)
    return wire.Row(
        path=record.path,
        kind=record.kind,
        seq=record.seq if with_seq else 0,
        vector={device: seq for device, seq in record.vector.items() if device != record.device},
        size=record.size,
        mtime_ns=record.mtime_ns,
        mode=record.mode,
        sha256=record.sha256,
        extends=keep,
        slices=[(table.number(s.object), s.blob, s.start, s.length) for s in published.slices],
    )


class RowReader:
    """Reads the rows of one index. Every error is a FormatError that names the object."""

    def __init__(self, name: str, device: str, seq: int, objects: Sequence[str], blobs: Sequence[BlobInfo]) -> None:
        """`objects` is the table as the index has it; `blobs` are those of the object itself."""
        self._name = name
        self._device = device
        self._seq = seq
        self._blobs = blobs
        self._slices_left = layout.MAX_SLICES
        self._records_left = layout.MAX_CHECKPOINT_RECORDS
        self._dots: set[tuple[str, int]] = set()
        self._objects = [name]
        self.add_objects(objects)
        if len(set(self._objects)) != len(self._objects):
            raise self._error("lists an object twice")

    def add_objects(self, objects: Iterable[str]) -> None:
        """Let records refer to these, too: the next of the table."""
        area = layout.area(self._device)
        newest = self._seq if layout.parse(self._name).type is layout.Type.CHECKPOINT else self._seq - 1
        for relative in objects:
            other = area + relative
            parsed = layout.try_parse(other)
            if parsed is None or parsed.type is layout.Type.ROSTER:
                raise self._error(f"lists {other!r}, which can hold no blobs")
            if parsed.number > newest:
                raise self._error(f"lists {other}, which is newer than itself")
            self._objects.append(other)

    def log_records(self, rows: Iterable[wire.Row]) -> tuple[Published, ...]:
        """The records of a log entry: one per path, of the entry's own seq."""
        published = []
        paths: set[str] = set()
        for row in rows:
            if row.seq:
                raise self._error("has a record with a seq of its own")
            if row.path in paths:
                raise self._error(f"has two records of {row.path!r}")
            paths.add(row.path)
            published.append(self._read(row, self._seq))
        return tuple(published)

    def checkpoint_records(self, rows: Iterable[wire.Row]) -> tuple[Published, ...]:
        """The next records of a checkpoint: one per path and seq, none extending another."""
        published = []
        for row in rows:
            self._records_left -= 1
            if self._records_left < 0:
                raise self._error("has more records than a checkpoint may")
            if not 1 <= row.seq <= self._seq or (row.path, row.seq) in self._dots:
                raise self._error(f"has a record of {row.path!r} with an impossible seq")
            if row.extends is not None:
                raise self._error(f"has a record of {row.path!r} that extends another")
            self._dots.add((row.path, row.seq))
            published.append(self._read(row, row.seq))
        return tuple(published)

    def _read(self, row: wire.Row, seq: int) -> Published:
        if not layout.is_portable_shape(row.path):
            raise self._error(f"has a record of {row.path!r}, which is no portable path")
        if self._device in row.vector:
            raise self._error(f"repeats the record's own dot in the vector of {row.path!r}")
        slices = tuple(self._slice(row.path, *numbers) for numbers in row.slices)
        self._slices_left -= len(slices)
        if self._slices_left < 0:
            raise self._error("has more slices than an object may")
        own = sum(s.length for s in slices)
        if row.kind is Kind.FILE:
            if not row.sha256 or own > row.size or (row.extends is None and own != row.size):
                raise self._error(f"has slices that do not make up {row.path!r}")
        elif slices or row.extends or row.size or row.sha256:
            raise self._error(f"gives content to {row.path!r}, which is a {row.kind}")
        return Published(
            record=Record(
                path=row.path,
                kind=row.kind,
                device=self._device,
                seq=seq,
                vector={**row.vector, self._device: seq},
                size=row.size,
                mtime_ns=row.mtime_ns,
                mode=row.mode,
                sha256=row.sha256,
            ),
            extends=self._extends(row),
            slices=slices,
        )

    def _extends(self, row: wire.Row) -> Extends | None:
        keep = row.extends
        if keep is None:
            return None
        path = keep.path or row.path
        if keep.seq >= self._seq or not layout.is_portable_shape(path):
            raise self._error(f"has a record of {row.path!r} that extends what can't be")
        return Extends(path=path, seq=keep.seq, keep=keep.keep)

    def _slice(self, path: str, number: int, blob: int, start: int, length: int) -> Slice:
        if number >= len(self._objects):
            raise self._error(f"has a slice of {path!r} in an object that it does not list")
        if start + length > layout.MAX_BLOB_PLAIN or blob >= layout.MAX_BLOBS:
            raise self._error(f"has a slice of {path!r} beyond any blob")
        if number == 0 and (blob >= len(self._blobs) or start + length > self._blobs[blob].plain):
            raise self._error(f"has a slice of {path!r} beyond its blobs")
        return Slice(self._objects[number], blob, start, length)

    def _error(self, what: str) -> FormatError:
        return FormatError(f"{self._name} {what}")


def to_seen(seen: Mapping[str, Seen]) -> dict[str, tuple[int, str]]:
    """`seen` as an index has it."""
    return {device: (value.seq, value.sha256) for device, value in seen.items()}


def from_seen(seen: Mapping[str, tuple[int, str]]) -> dict[str, Seen]:
    """`seen` as the model has it."""
    return {device: Seen(seq, digest) for device, (seq, digest) in seen.items()}
