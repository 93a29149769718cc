"""Bytes to values and back for every object of a vault. Pure; CPU-bound, so callers choose the thread.

Readers raise IntegrityError (not what the name promises), FormatError (malformed or beyond bounds) and WrongKey (of
an epoch that these keys lack), naming the object. Writers raise FormatError for values that no reader would accept:
what would not read back must never be written, since it could not be repaired once its name is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from claude_syncd.crypto import seal
from claude_syncd.errors import FormatError, IntegrityError
from claude_syncd.store.base import MAX_OBJECT
from claude_syncd.vault import frame, index, layout
from claude_syncd.vault.frame import BlobInfo, Sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from claude_syncd.core.model import Checkpoint, LogEntry, Published, RosterEntry
    from claude_syncd.crypto.keys import VaultKeys

__all__ = [
    "BlobInfo",
    "OpenedCheckpoint",
    "OpenedLog",
    "Sealed",
    "encode_checkpoint",
    "encode_log",
    "encode_pack",
    "encode_roster",
    "index_size",
    "open_blob",
    "open_blobs",
    "open_checkpoint",
    "open_index",
    "open_log",
    "open_roster",
    "seal_chunk",
]


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """A verified log entry, the blobs inside it, and the SHA-256 (hex) of the whole object."""

    entry: LogEntry
    blobs: tuple[BlobInfo, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A verified checkpoint, the blobs inside it, the SHA-256 (hex) of the whole object, and its records: a few at a
    time, once, decoded and checked as they are taken (FormatError).
    """

    checkpoint: Checkpoint
    blobs: tuple[BlobInfo, ...]
    sha256: str
    records: Iterator[tuple[Published, ...]]


def seal_chunk(keys: VaultKeys, plain: bytes) -> Sealed:
    """Seal 1 byte to 1 MiB of plaintext as a blob."""
    if not 1 <= len(plain) <= layout.MAX_BLOB_PLAIN:
        raise FormatError("a blob holds 1 byte to 1 MiB")
    data = seal.seal(keys.current, plain)
    return Sealed(data, sha256(data).hexdigest(), len(plain))


def encode_pack(keys: VaultKeys, device: str, blobs: Sequence[Sealed]) -> tuple[str, bytes]:
    """The name and the bytes of a pack of `blobs`, which keep their order."""
    return frame.assemble_pack(keys, device, blobs, index.write_pack(blobs))


def encode_roster(keys: VaultKeys, entry: RosterEntry) -> bytes:
    """The bytes of `roster/<entry.number>`."""
    name = layout.roster_name(entry.number)
    encoded = index.write_roster(name, entry)
    _require(name, index.read_roster(name, _unsealed(keys, [], encoded)) == entry)
    return frame.assemble(keys, name, [], encoded)


def encode_log(keys: VaultKeys, entry: LogEntry, blobs: Sequence[Sealed]) -> bytes:
    """The bytes of the log entry. Slices that name the entry's own object refer to `blobs`, by position."""
    name = layout.log_name(entry.device, entry.seq)
    encoded = index.write_log(name, entry, blobs)
    _require(name, index.read_log(name, _unsealed(keys, blobs, encoded))[0] == entry)
    return frame.assemble(keys, name, blobs, encoded)


def encode_checkpoint(
    keys: VaultKeys, checkpoint: Checkpoint, records: Iterable[Published], blobs: Sequence[Sealed] = ()
) -> bytes:
    """The bytes of the checkpoint; as `encode_log`. Takes the records one after another and holds few of them."""
    name = layout.checkpoint_name(checkpoint.device, checkpoint.seq)
    pieces = index.write_checkpoint(name, keys.current, checkpoint, records, blobs)
    return frame.assemble_stream(keys, name, blobs, pieces)


def open_log(keys: VaultKeys, name: str, data: bytes) -> OpenedLog:
    """Verify and decode the log entry `name`, its blobs' ciphertext as well: the hash of all of it is what the next
    entry is held against.
    """
    entry, blobs = index.read_log(name, _open(keys, name, data, layout.Type.LOG))
    for number, info in enumerate(blobs):
        _verify(f"blob {number} of {name}", info, data[info.offset : info.offset + info.length])
    return OpenedLog(entry, blobs, sha256(data).hexdigest())


def open_roster(keys: VaultKeys, name: str, data: bytes) -> RosterEntry:
    """Verify and decode the roster entry `name`."""
    return index.read_roster(name, _open(keys, name, data, layout.Type.ROSTER))


def open_checkpoint(keys: VaultKeys, name: str, data: bytes) -> OpenedCheckpoint:
    """Verify and decode the checkpoint `name`."""
    checkpoint, blobs, records = index.read_checkpoint(name, _open(keys, name, data, layout.Type.CHECKPOINT))
    return OpenedCheckpoint(checkpoint, blobs, sha256(data).hexdigest(), records)


def open_blobs(keys: VaultKeys, name: str, data: bytes) -> tuple[BlobInfo, ...]:
    """Verify any whole object and decode it as far as where its blobs are."""
    return index.read_blobs(name, _open(keys, name, data, layout.parse(name).type))


def index_size(name: str, tail: bytes) -> int:
    """How many of the object's last bytes `open_index` needs, read from its last 44 bytes or more.

    The figure is bounded but not verified yet. Raises IntegrityError.
    """
    return frame.tail_size(name, tail)


def open_index(keys: VaultKeys, name: str, tail: bytes) -> tuple[BlobInfo, ...]:
    """As `open_blobs`, from the object's last bytes only: `index_size` of them or more."""
    return index.read_blobs(name, frame.open_tail(keys, name, tail))


def open_blob(keys: VaultKeys, name: str, number: int, info: BlobInfo, sealed: bytes) -> bytes:
    """Verify a blob's ciphertext against its index row and return its plaintext."""
    what = f"blob {number} of {name}"
    _verify(what, info, sealed)
    plain = seal.unseal(keys.at(info.epoch), sealed, info.plain, what)
    if len(plain) != info.plain:
        raise FormatError(f"{what} holds {len(plain)} bytes where its index says {info.plain}")
    return plain


def _verify(what: str, info: BlobInfo, sealed: bytes) -> None:
    if len(sealed) != info.length:
        raise IntegrityError(f"{what} is truncated: {len(sealed)} of {info.length} bytes")
    if sha256(sealed).hexdigest() != info.sha256:
        raise IntegrityError(f"{what} was altered: its SHA-256 is not the one in the index")


def _open(keys: VaultKeys, name: str, data: bytes, kind: layout.Type) -> frame.Frame:
    if layout.parse(name).type is not kind:
        raise FormatError(f"{name} is not the name of a {kind.name.lower()} object")
    if len(data) > MAX_OBJECT:
        raise IntegrityError(f"{name} has {len(data)} bytes, more than an object may")
    return frame.open_frame(keys, name, data)


def _unsealed(keys: VaultKeys, blobs: Sequence[Sealed], encoded: bytes) -> frame.Frame:
    """What a reader will have before it once the object is sealed and opened again."""
    return frame.Frame(keys.current, frame.HEADER_BYTES + sum(len(blob.data) for blob in blobs), encoded)


def _require(name: str, reads_back: bool) -> None:
    if not reads_back:
        raise FormatError(f"{name} would not read back as what it was written from")
