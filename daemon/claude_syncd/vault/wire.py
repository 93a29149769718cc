"""The JSON of an index, as typed and bounded structs. Field by field it is described in docs/format.md."""

from __future__ import annotations

from typing import Annotated

import msgspec

from claude_syncd.core.model import Kind
from claude_syncd.vault import layout

DeviceId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
DigestOrEmpty = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z")]
Seq = Annotated[int, msgspec.Meta(ge=1, le=layout.MAX_SEQ)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
HumanName = Annotated[str, msgspec.Meta(max_length=layout.MAX_NAME_CHARS)]
Path = Annotated[str, msgspec.Meta(max_length=layout.MAX_PATH_BYTES)]
BlobLength = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
PlainLength = Annotated[int, msgspec.Meta(ge=1, le=layout.MAX_BLOB_PLAIN)]
Vector = Annotated[dict[DeviceId, Seq], msgspec.Meta(max_length=layout.MAX_DEVICES)]
SeenOf = Annotated[dict[DeviceId, tuple[Seq, Digest]], msgspec.Meta(max_length=layout.MAX_DEVICES)]
RelativeName = Annotated[str, msgspec.Meta(max_length=80)]

BlobRow = tuple[Count, BlobLength, Digest, PlainLength]
"""Offset, length, SHA-256 of the ciphertext, length of the plaintext."""

SliceRow = tuple[Count, Count, Count, Annotated[int, msgspec.Meta(ge=1, le=layout.MAX_BLOB_PLAIN)]]
"""Number of the object (0: this one; n: the n-th of `objects`), number of the blob in it, start, length."""

Blobs = Annotated[list[BlobRow], msgspec.Meta(max_length=layout.MAX_BLOBS)]
Objects = Annotated[list[RelativeName], msgspec.Meta(max_length=layout.MAX_OBJECTS)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A field that a reader does not know means a newer version, which the header says too."""


class Keep(_Strict, frozen=True):
    """Extends. `path` is left out where it is the record's own."""

    seq: Seq
    keep: Annotated[int, msgspec.Meta(ge=0, le=layout.MAX_SLICES)]
    path: Path = ""


class Row(_Strict, frozen=True):
    """A record. `seq` is left out in a log entry, and `vector` leaves out the record's own dot."""

    path: Path
    kind: Kind = Kind.FILE
    seq: Annotated[int, msgspec.Meta(ge=0, le=layout.MAX_SEQ)] = 0
    vector: Vector = {}
    size: Count = 0
    mtime_ns: Nanoseconds = 0
    mode: Mode = 0
    sha256: DigestOrEmpty = ""
    extends: Keep | None = None
    slices: Annotated[list[SliceRow], msgspec.Meta(max_length=layout.MAX_SLICES)] = []


class PackIndex(_Strict, frozen=True):
    """The index of a pack."""

    blobs: Blobs


class RosterIndex(_Strict, frozen=True):
    """The index of a roster entry; `blobs` is empty."""

    blobs: Annotated[list[BlobRow], msgspec.Meta(max_length=0)]
    number: Annotated[int, msgspec.Meta(ge=1, le=layout.MAX_ROSTER)]
    device: DeviceId
    name: HumanName
    time_ns: Nanoseconds


class LogIndex(_Strict, frozen=True):
    """The index of a log entry."""

    blobs: Blobs
    device: DeviceId
    seq: Seq
    prev: DigestOrEmpty
    time_ns: Nanoseconds
    name: HumanName
    seen: SeenOf = {}
    objects: Objects = []
    records: Annotated[list[Row], msgspec.Meta(max_length=layout.MAX_RECORDS)] = []


class CheckpointIndex(_Strict, frozen=True):
    """The index of a checkpoint; `sha256` is that of log entry `seq`. Its records are Rows, decoded a few at a time:
    there may be many.
    """

    blobs: Blobs
    device: DeviceId
    seq: Seq
    sha256: Digest
    time_ns: Nanoseconds
    name: HumanName
    seen: SeenOf = {}
    objects: Objects = []
    records: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=layout.MAX_CHECKPOINT_RECORDS)] = []
