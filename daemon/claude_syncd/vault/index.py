"""The index of an object to values and back. What types can't say is checked here and in `rows`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec

from claude_syncd.core.model import Checkpoint, LogEntry, RosterEntry
from claude_syncd.errors import FormatError
from claude_syncd.vault import frame, layout, rows, wire
from claude_syncd.vault.frame import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from claude_syncd.core.model import Published
    from claude_syncd.crypto.keys import EpochKey

_pack_decoder = msgspec.json.Decoder(wire.PackIndex)
_roster_decoder = msgspec.json.Decoder(wire.RosterIndex)
_log_decoder = msgspec.json.Decoder(wire.LogIndex)
_checkpoint_decoder = msgspec.json.Decoder(wire.CheckpointIndex)
_row_decoder = msgspec.json.Decoder(wire.Row)
_rows_decoder = msgspec.json.Decoder(list[wire.Row])

_Decoded = TypeVar("_Decoded")

PORTION = 1024
"""So many records of a checkpoint are in memory at a time."""


def write_pack(blobs: Sequence[frame.Sealed]) -> bytes:
    """The index of a pack."""
    return msgspec.json.encode(wire.PackIndex(blobs=frame.place(blobs)))


def write_roster(name: str, entry: RosterEntry) -> bytes:
    """The index of a roster entry."""
    return _encode(
        name,
        wire.RosterIndex(blobs=[], number=entry.number, device=entry.device, name=entry.name, time_ns=entry.time_ns),
    )


def write_log(name: str, entry: LogEntry, blobs: Sequence[frame.Sealed]) -> bytes:
    """The index of a log entry."""
    table = rows.ObjectTable(entry.device, name)
    records = [rows.to_row(published, table, with_seq=False) for published in entry.records]
    return _encode(
        name,
        wire.LogIndex(
            blobs=frame.place(blobs),
            device=entry.device,
            seq=entry.seq,
            prev=entry.prev,
            time_ns=entry.time_ns,
            name=entry.name,
            seen=rows.to_seen(entry.seen),
            objects=table.names(),
            records=records,
        ),
    )


def write_checkpoint(
    name: str, key: EpochKey, checkpoint: Checkpoint, records: Iterable[Published], blobs: Sequence[frame.Sealed]
) -> Iterator[bytes]:
    """The index of a checkpoint in pieces; only a few records are held at a time. What no reader would take is never
    written: FormatError.
    """
    table = rows.ObjectTable(checkpoint.device, name)
    # What a reader will have before it: records that do not read back are found out as they are written.
    opened = frame.Frame(key, frame.HEADER_BYTES + sum(len(blob.data) for blob in blobs), b"")
    placed = frame.place(blobs)
    reader = rows.RowReader(name, checkpoint.device, checkpoint.seq, [], _blobs(name, placed, opened))
    total, known, before = 0, 1, b'{"records":['
    remaining = iter(records)
    while portion := tuple(islice(remaining, PORTION)):
        encoded = _encode(name, [rows.to_row(published, table, with_seq=True) for published in portion])
        reader.add_objects(table.names(known))
        known += len(table.names(known))
        read_back = _decode(name, encoded, _rows_decoder)
        if reader.checkpoint_records(read_back) != portion:
            raise FormatError(f"{name} would not read back as what it was written from")
        yield before + encoded[1:-1]
        total, before = total + len(encoded), b","
    rest = wire.CheckpointIndex(
        blobs=placed,
        device=checkpoint.device,
        seq=checkpoint.seq,
        sha256=checkpoint.sha256,
        time_ns=checkpoint.time_ns,
        name=checkpoint.name,
        seen=rows.to_seen(checkpoint.seen),
        objects=table.names(),
    )
    encoded = _encode(name, rest)
    if read_checkpoint(name, frame.Frame(key, opened.index_offset, encoded))[0] != checkpoint:
        raise FormatError(f"{name} would not read back as what it was written from")
    if total + len(encoded) > layout.MAX_CHECKPOINT_INDEX:
        raise FormatError(f"{name} would have an index of {total + len(encoded)} bytes, more than a checkpoint may")
    yield (before if total == 0 else b"") + b"]," + encoded[1:]


def read_blobs(name: str, opened: frame.Frame) -> tuple[BlobInfo, ...]:
    """Where the blobs of any object are."""
    kind = layout.parse(name).type
    index: wire.PackIndex | wire.RosterIndex | wire.LogIndex | wire.CheckpointIndex
    if kind is layout.Type.PACK:
        index = _decode(name, opened.index, _pack_decoder)
    elif kind is layout.Type.LOG:
        index = _decode(name, opened.index, _log_decoder)
    elif kind is layout.Type.CHECKPOINT:
        index = _decode(name, opened.index, _checkpoint_decoder)
    else:
        index = _decode(name, opened.index, _roster_decoder)
    return _blobs(name, index.blobs, opened)


def read_log(name: str, opened: frame.Frame) -> tuple[LogEntry, tuple[BlobInfo, ...]]:
    """The log entry and the blobs inside it."""
    index = _decode(name, opened.index, _log_decoder)
    blobs = _blobs(name, index.blobs, opened)
    if layout.log_name(index.device, index.seq) != name:
        raise FormatError(f"{name} says that it is entry {index.seq} of device {index.device}")
    if bool(index.prev) == (index.seq == 1):
        raise FormatError(f"{name} breaks the chain: the first entry, and no other, has no previous one")
    if index.device in index.seen:
        raise FormatError(f"{name} lists its own device among the others")
    reader = rows.RowReader(name, index.device, index.seq, index.objects, blobs)
    entry = LogEntry(
        device=index.device,
        seq=index.seq,
        prev=index.prev,
        time_ns=index.time_ns,
        name=index.name,
        seen=rows.from_seen(index.seen),
        records=reader.log_records(index.records),
    )
    return entry, blobs


def read_roster(name: str, opened: frame.Frame) -> RosterEntry:
    """The roster entry."""
    index = _decode(name, opened.index, _roster_decoder)
    _blobs(name, index.blobs, opened)
    if layout.roster_name(index.number) != name:
        raise FormatError(f"{name} says that it is roster entry {index.number}")
    return RosterEntry(number=index.number, device=index.device, name=index.name, time_ns=index.time_ns)


def read_checkpoint(
    name: str, opened: frame.Frame
) -> tuple[Checkpoint, tuple[BlobInfo, ...], Iterator[tuple[Published, ...]]]:
    """The checkpoint, the blobs inside it, and its records, a few at a time; those are checked as they are taken."""
    index = _decode(name, opened.index, _checkpoint_decoder)
    blobs = _blobs(name, index.blobs, opened)
    if layout.checkpoint_name(index.device, index.seq) != name:
        raise FormatError(f"{name} says that it is checkpoint {index.seq} of device {index.device}")
    if index.device in index.seen:
        raise FormatError(f"{name} lists its own device among the others")
    reader = rows.RowReader(name, index.device, index.seq, index.objects, blobs)
    checkpoint = Checkpoint(
        device=index.device,
        seq=index.seq,
        sha256=index.sha256,
        time_ns=index.time_ns,
        name=index.name,
        seen=rows.from_seen(index.seen),
    )
    return checkpoint, blobs, _portions(name, reader, index.records)


def _portions(name: str, reader: rows.RowReader, records: Sequence[msgspec.Raw]) -> Iterator[tuple[Published, ...]]:
    for start in range(0, len(records), PORTION):
        yield reader.checkpoint_records(_decode(name, raw, _row_decoder) for raw in records[start : start + PORTION])


def _blobs(name: str, placed: Sequence[wire.BlobRow], opened: frame.Frame) -> tuple[BlobInfo, ...]:
    """The rows as values, which must lie back to back from the header to the index."""
    blobs = tuple(BlobInfo(*row, opened.key.epoch) for row in placed)
    offset = frame.HEADER_BYTES
    for blob in blobs:
        if blob.offset != offset:
            break
        offset += blob.length
    else:
        if offset == opened.index_offset:
            return blobs
    raise FormatError(f"{name} has blobs that do not lie back to back up to its index")


def _decode(name: str, data: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[_Decoded]) -> _Decoded:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # msgspec's message names the field and what it should be, never the content.
        raise FormatError(f"{name} has a malformed index: {error}") from None


def _encode(name: str, index: object) -> bytes:
    try:
        return msgspec.json.encode(index)
    except (msgspec.MsgspecError, UnicodeError, TypeError, OverflowError) as error:
        raise FormatError(f"{name} can't be written: {type(error).__name__}") from error
