"""The index of an object to values and back. What types can't say is checked here and in `rows`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from claude_syncd.core.model import LogEntry, Published, RosterEntry, Seen
from claude_syncd.errors import FormatError
from claude_syncd.vault import frame, layout, rows, wire
from claude_syncd.vault.frame import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

_Index = TypeVar("_Index", wire.PackIndex, wire.RosterIndex, wire.LogIndex, wire.CheckpointIndex)

_pack_decoder = msgspec.json.Decoder(wire.PackIndex)
_roster_decoder = msgspec.json.Decoder(wire.RosterIndex)
_log_decoder = msgspec.json.Decoder(wire.LogIndex)
_checkpoint_decoder = msgspec.json.Decoder(wire.CheckpointIndex)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A device's whole log up to entry `seq` (whose SHA-256 is `sha256`), folded: no record extends another."""

    device: str
    seq: int
    sha256: str
    time_ns: int
    name: str
    seen: dict[str, Seen]
    records: tuple[Published, ...]


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


def write_checkpoint(name: str, checkpoint: Checkpoint, blobs: Sequence[frame.Sealed]) -> bytes:
    """The index of a checkpoint."""
    table = rows.ObjectTable(checkpoint.device, name)
    records = [rows.to_row(published, table, with_seq=True) for published in checkpoint.records]
    return _encode(
        name,
        wire.CheckpointIndex(
            blobs=frame.place(blobs),
            device=checkpoint.device,
            seq=checkpoint.seq,
            sha256=checkpoint.sha256,
            time_ns=checkpoint.time_ns,
            name=checkpoint.name,
            seen=rows.to_seen(checkpoint.seen),
            objects=table.names(),
            records=records,
        ),
    )


def read_blobs(name: str, opened: frame.Frame) -> tuple[BlobInfo, ...]:
    """Where the blobs of any object are."""
    kind = layout.parse(name).type
    index: wire.PackIndex | wire.RosterIndex | wire.LogIndex | wire.CheckpointIndex
    if kind is layout.Type.PACK:
        index = _decode(name, opened, _pack_decoder)
    elif kind is layout.Type.LOG:
        index = _decode(name, opened, _log_decoder)
    elif kind is layout.Type.CHECKPOINT:
        index = _decode(name, opened, _checkpoint_decoder)
    else:
        index = _decode(name, opened, _roster_decoder)
    return _blobs(name, index.blobs, opened)


def read_log(name: str, opened: frame.Frame) -> tuple[LogEntry, tuple[BlobInfo, ...]]:
    """The log entry and the blobs inside it."""
    index = _decode(name, opened, _log_decoder)
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
    index = _decode(name, opened, _roster_decoder)
    _blobs(name, index.blobs, opened)
    if layout.roster_name(index.number) != name:
        raise FormatError(f"{name} says that it is roster entry {index.number}")
    return RosterEntry(number=index.number, device=index.device, name=index.name, time_ns=index.time_ns)


def read_checkpoint(name: str, opened: frame.Frame) -> tuple[Checkpoint, tuple[BlobInfo, ...]]:
    """The checkpoint and the blobs inside it."""
    index = _decode(name, opened, _checkpoint_decoder)
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
        records=reader.checkpoint_records(index.records),
    )
    return checkpoint, blobs


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


def _decode(name: str, opened: frame.Frame, decoder: msgspec.json.Decoder[_Index]) -> _Index:
    try:
        return decoder.decode(opened.index)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # msgspec's message names the field and what it should be, never the content.
        raise FormatError(f"{name} has a malformed index: {error}") from None


def _encode(name: str, index: _Index) -> bytes:
    try:
        return msgspec.json.encode(index)
    except (msgspec.MsgspecError, UnicodeError, TypeError, OverflowError) as error:
        raise FormatError(f"{name} can't be written: {type(error).__name__}") from error
