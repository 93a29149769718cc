"""The words of the design as values: records, versions, log entries. Frozen, compared by value."""

from __future__ import annotations

from enum import StrEnum

import msgspec

DEVICE_ID_LENGTH = 32
"""A device's id is 128 random bits in lower-case hex."""

Vector = dict[str, int]
"""A version vector: device id -> seq of that device's newest write among the ancestors (itself included).
Never changed in place."""


class Kind(StrEnum):
    """What a record says about its path."""

    FILE = "file"
    TOMBSTONE = "tombstone"
    # The device takes back its own losing side of a conflict; the content lives on under `conflicts/`.
    # It supersedes what that device wrote there and offers no content of its own.
    WITHDRAWN = "withdrawn"


class FileClass(StrEnum):
    """How a path merges (DESIGN section 5)."""

    TRANSCRIPT = "transcript"  # projects/*/<uuid>.jsonl and subagent transcripts in the side folder
    SIDE = "side"  # other files of a session's side folder; evicted like the transcript
    HISTORY = "history"
    SETTINGS = "settings"
    TEXT = "text"
    CONFLICT = "conflict"  # anything under conflicts/
    OTHER = "other"


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """`length` bytes of the plaintext of blob number `blob` of `object`, from `start` on."""

    object: str
    blob: int
    start: int
    length: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one path. `(device, seq)` is its dot: the log entry that carried it."""

    path: str
    kind: Kind
    device: str
    seq: int
    vector: Vector
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    sha256: str = ""


class Extends(msgspec.Struct, frozen=True, kw_only=True):
    """Begins with the first `keep` slices of this device's newest record of `path`, which must have seq `seq`."""

    path: str
    seq: int
    keep: int


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A record as a log entry carries it: what it keeps of an earlier record of its device, then its own slices."""

    record: Record
    extends: Extends | None = None
    slices: tuple[Slice, ...] = ()


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """The highest log entry of another device that was integrated, and the SHA-256 of that object in hex."""

    seq: int
    sha256: str


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One push of one device. `prev` is the SHA-256 (hex) of the device's previous log entry, "" for the first."""

    device: str
    seq: int
    prev: str
    time_ns: int
    name: str
    seen: dict[str, Seen]
    records: tuple[Published, ...]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says beside its records: it stands for the device's log up to entry `seq`, whose SHA-256 (hex)
    is `sha256`.
    """

    device: str
    seq: int
    sha256: str
    time_ns: int
    name: str
    seen: dict[str, Seen]


class RosterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A device that joined: number in the roster, id, human name, time of joining."""

    number: int
    device: str
    name: str
    time_ns: int


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """What `stat` says of a local file: enough to see that it has not been touched since."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """A local file's content as it was read. For JSONL `size` and `sha256` cover its complete lines only."""

    size: int
    sha256: str
    mtime_ns: int
    mode: int


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The version that this device's file was last equal to.

    `kind` FILE or TOMBSTONE. `evicted`: gone from this disk, kept in the vault.
    """

    kind: Kind
    vector: Vector
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    sha256: str = ""
    evicted: bool = False


def base_of(record: Record, vector: Vector, *, evicted: bool = False) -> Base:
    """The base of a file that is equal to a published version, with `vector` as what it descends from."""
    return Base(
        kind=record.kind,
        vector=vector,
        size=record.size,
        mtime_ns=record.mtime_ns,
        mode=record.mode,
        sha256=record.sha256,
        evicted=evicted,
    )


def covers(vector: Vector, record: Record) -> bool:
    """Whether a version with `vector` has `record` among its ancestors or is it."""
    return vector.get(record.device, 0) >= record.seq


def covers_all(vector: Vector, other: Vector) -> bool:
    """Whether a version with `vector` has all that one with `other` has among its ancestors, or is it."""
    return all(vector.get(device, 0) >= seq for device, seq in other.items())


def join(*vectors: Vector) -> Vector:
    """The least vector that covers all that any of `vectors` covers."""
    joined: Vector = {}
    for vector in vectors:
        for device, seq in vector.items():
            if seq > joined.get(device, 0):
                joined[device] = seq
    return joined


def heads(newest: list[Record]) -> list[Record]:
    """Of every device's newest record of one path, those that no other supersedes; sorted by device."""
    return sorted(
        (r for r in newest if not any(o is not r and covers(o.vector, r) for o in newest)),
        key=lambda r: r.device,
    )
