"""The container that every object shares: header, blobs, sealed index, trailer with the MAC (docs/format.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from claude_syncd.crypto import seal
from claude_syncd.errors import FormatError, IntegrityError
from claude_syncd.store.base import MAX_OBJECT
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.crypto.keys import EpochKey, VaultKeys

MAGIC: Final = b"CSYN"
VERSION: Final = 1

_HEADER: Final = struct.Struct(">4sBBH")
_PLACE: Final = struct.Struct(">QI")
HEADER_BYTES: Final = _HEADER.size
TRAILER_BYTES: Final = _PLACE.size + seal.MAC_BYTES


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """Where a blob lies in its object, SHA-256 (hex) of its ciphertext, length of its plaintext, key epoch."""

    offset: int
    length: int
    sha256: str
    plain: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A blob's ciphertext, its SHA-256 (hex) and the length of its plaintext."""

    data: bytes
    sha256: str
    plain: int


@dataclass(frozen=True, slots=True)
class Frame:
    """An authenticated object: its key, where its blobs end, and the JSON of its index."""

    key: EpochKey
    index_offset: int
    index: bytes


def place(blobs: Sequence[Sealed]) -> list[tuple[int, int, str, int]]:
    """The index rows of `blobs` laid back to back behind the header."""
    rows = []
    offset = HEADER_BYTES
    for blob in blobs:
        rows.append((offset, len(blob.data), blob.sha256, blob.plain))
        offset += len(blob.data)
    return rows


def assemble(keys: VaultKeys, name: str, blobs: Sequence[Sealed], index: bytes) -> bytes:
    """The bytes of the object `name`. Raises FormatError if it would be larger than an object may be."""
    parts = _parts(keys.current, layout.parse(name).type, blobs, seal.seal(keys.current, index))
    return _finish(keys, name, parts)


def assemble_stream(keys: VaultKeys, name: str, blobs: Sequence[Sealed], index: Iterable[bytes]) -> bytes:
    """As `assemble`, with an index too long to be held in one piece."""
    parts = _parts(keys.current, layout.parse(name).type, blobs, seal.seal_stream(keys.current, index))
    return _finish(keys, name, parts)


def assemble_pack(keys: VaultKeys, device: str, blobs: Sequence[Sealed], index: bytes) -> tuple[str, bytes]:
    """The name and the bytes of a pack; the name is the SHA-256 of all that the MAC stands behind."""
    parts = _parts(keys.current, layout.Type.PACK, blobs, seal.seal(keys.current, index))
    digest = sha256()
    for part in parts:
        digest.update(part)
    name = layout.pack_name(device, digest.hexdigest())
    return name, _finish(keys, name, parts)


def open_frame(keys: VaultKeys, name: str, data: bytes) -> Frame:
    """Authenticate a whole object and decrypt its index; see `open_tail` for the errors."""
    kind = layout.parse(name).type
    if len(data) < HEADER_BYTES + TRAILER_BYTES:
        raise IntegrityError(f"{name} is truncated to {len(data)} bytes")
    epoch = read_head(name, data)
    offset, length = _PLACE.unpack_from(data, len(data) - TRAILER_BYTES)
    if offset + length + TRAILER_BYTES != len(data):
        raise IntegrityError(f"{name} is truncated or has bytes added to it")
    frame = _authenticate(keys.at(epoch), keys.vault_id, name, kind, data)
    if frame is None:
        raise IntegrityError(f"{name} was altered, or is not the object of that name in this vault")
    return frame


def read_head(name: str, head: bytes) -> int:
    """The key epoch in an object's first `HEADER_BYTES` bytes, which is not verified yet; see `open_tail` for the
    errors.
    """
    if len(head) < HEADER_BYTES:
        raise IntegrityError(f"{name} is truncated to {len(head)} bytes")
    magic, version, type_byte, epoch = _HEADER.unpack_from(head)
    if magic != MAGIC:
        raise IntegrityError(f"{name} is not an object of a vault")
    if version != VERSION:
        raise FormatError(
            f"{name} is of format version {version}; this program reads version {VERSION}",
            hint="update claude-syncd on this device",
        )
    if type_byte != layout.parse(name).type:
        raise IntegrityError(f"{name} holds an object of another type ({type_byte})")
    return int(epoch)


def tail_size(name: str, tail: bytes) -> int:
    """How many of the object's last bytes its index and trailer are, as its (not yet verified) trailer says."""
    if len(tail) < TRAILER_BYTES:
        raise IntegrityError(f"{name} is truncated to {len(tail)} bytes")
    offset, length = _PLACE.unpack_from(tail, len(tail) - TRAILER_BYTES)
    if offset < HEADER_BYTES or offset + length + TRAILER_BYTES > MAX_OBJECT:
        raise IntegrityError(f"{name} has a trailer that can't be right")
    return int(length) + TRAILER_BYTES


def open_tail(keys: VaultKeys, name: str, tail: bytes) -> Frame:
    """Authenticate and decrypt the index from the object's last bytes (at least `tail_size` of them).

    The header is not among them: it is worked out from the name and each epoch, and the MAC says which is right.
    Raises IntegrityError (altered, truncated, another object), FormatError (beyond bounds).
    """
    if tail_size(name, tail) > len(tail):
        raise IntegrityError(f"{name} is truncated: its end holds only part of its index")
    kind = layout.parse(name).type
    for key in reversed(keys.ring):
        frame = _authenticate(key, keys.vault_id, name, kind, tail)
        if frame is not None:
            return frame
    raise IntegrityError(f"{name} was altered, or is not the object of that name in this vault")


def _parts(key: EpochKey, kind: layout.Type, blobs: Sequence[Sealed], sealed: bytes) -> list[bytes]:
    """Everything but the MAC, in order; the last two are the index ciphertext `sealed` and its place."""
    offset = HEADER_BYTES + sum(len(blob.data) for blob in blobs)
    header = _HEADER.pack(MAGIC, VERSION, kind, key.epoch)
    return [header, *(blob.data for blob in blobs), sealed, _PLACE.pack(offset, len(sealed))]


def _finish(keys: VaultKeys, name: str, parts: list[bytes]) -> bytes:
    mac = _mac(keys.current, keys.vault_id, name, parts[0], parts[-1], parts[-2])
    data = b"".join([*parts, mac])
    if len(data) > MAX_OBJECT:
        raise FormatError(f"{name} would have {len(data)} bytes, more than an object may")
    return data


def _authenticate(key: EpochKey, vault_id: str, name: str, kind: layout.Type, data: bytes) -> Frame | None:
    """None if the MAC is not that of the object `name` under `key`. `data` ends where the object ends."""
    size = tail_size(name, data)
    view = memoryview(data)
    place_at = len(data) - TRAILER_BYTES
    header = _HEADER.pack(MAGIC, VERSION, kind, key.epoch)
    trailer = view[place_at : place_at + _PLACE.size]
    index = view[len(data) - size : place_at]
    expected = _mac(key, vault_id, name, header, trailer, index)
    if not seal.same(expected, data[-seal.MAC_BYTES :]):
        return None
    offset, _ = _PLACE.unpack(trailer)
    limit = layout.MAX_CHECKPOINT_INDEX if kind is layout.Type.CHECKPOINT else layout.MAX_INDEX
    return Frame(key, offset, seal.unseal(key, bytes(index), limit, f"the index of {name}"))


def _mac(
    key: EpochKey, vault_id: str, name: str, header: bytes, trailer: bytes | memoryview, index: bytes | memoryview
) -> bytes:
    encoded = name.encode("ascii")
    return seal.mac(key, (vault_id.encode("ascii"), struct.pack(">H", len(encoded)), encoded, header, trailer, index))
