"""What the daemon says of itself: the JSON of `status`, of a finished run, of `diff`, of `conflicts`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class State(StrEnum):
    """The one word for how things are."""

    IDLE = "idle"
    SYNCING = "syncing"
    PAUSED = "paused"
    OFFLINE = "offline"
    HELD = "held"
    ERROR = "error"


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the vault. `last_seen`: ISO 8601 UTC of its newest log entry, None if it never pushed."""

    id: str
    name: str
    last_seen: str | None = None
    this: bool = False


class VaultInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The vault's id and the store's address, free of secrets."""

    id: str
    store: str


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One of the stores that the vault is in. `behind`: objects that it lacks."""

    url: str
    state: Literal["ok", "behind", "unreachable", "disagrees"]
    behind: int = 0


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Files that wait."""

    upload: int = 0
    download: int = 0
    parked: int = 0


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the user should know or do."""

    message: str
    hint: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `status`. Times are ISO 8601 in UTC."""

    state: State
    version: str
    device: DeviceInfo
    vault: VaultInfo
    pending: Pending = Pending()
    conflicts: int = 0
    approvals: int = 0
    last_push: str | None = None
    last_pull: str | None = None
    last_error: str | None = None
    devices: list[DeviceInfo] = []
    stores: list[StoreInfo] = []
    problems: list[Problem] = []
    paused_until: str | None = None
    daemon: bool = True


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that left for the store, by kind."""

    put: int = 0
    get: int = 0
    list: int = 0
    delete: int = 0
    head: int = 0


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a push, pull or sync did: files, and bytes and requests counted where they leave for the store."""

    uploaded: int = 0
    downloaded: int = 0
    deleted: int = 0
    conflicts: int = 0
    parked: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    requests: Requests = Requests()


class Change(StrEnum):
    """What a sync would do to one file."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    DELETE_REMOTE = "delete-remote"
    DELETE_LOCAL = "delete-local"
    CONFLICT = "conflict"
    EVICT = "evict"
    PARK = "park"


class DiffLine(msgspec.Struct, frozen=True, kw_only=True):
    """One file that differs. `path` is relative to the tree, as on this device."""

    path: str
    change: Change
    local_size: int | None = None
    remote_size: int | None = None
    device: str = ""


class ConflictInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A kept side: `id` names it in commands, `path` is where the other side lies in the tree,
    `file` is the kept copy, absolute, on this device; `device` is who wrote it, by name.
    """

    id: str
    path: str
    file: str
    size: int
    mtime: str
    device: str


class VersionKind(StrEnum):
    """What a version is."""

    FILE = "file"
    DELETED = "deleted"
    EVICTED = "evicted"  # the newest content, kept in the vault, gone from this disk
    KEPT = "kept"  # the side of a conflict that is not in the tree


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One version. `number` counts from the oldest that is known, None for a kept side; `id` names it for good.
    `time`: when it was published, `mtime`: of the file; both ISO 8601 in UTC. `device`: who wrote it, by name.
    """

    number: int | None
    id: str
    time: str
    device: str
    kind: VersionKind
    mtime: str | None = None
    size: int | None = None
    here: bool = False


class FileVersions(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of a file, the newest first. `changed_here`: what is on this disk was not pushed yet."""

    path: str
    portable: str
    versions: list[VersionInfo]
    changed_here: bool = False


class ApprovalInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a setting by another device that waits for this user: `id` names it, with exactly its new value.

    `path`: the settings file, relative to the tree. `old`, `new`: JSON texts, None for a setting that is not there.
    `device`: by name, whose version brought it; `time`: of that version. `dangerous`: it may delete sessions or take a
    guard away; any other may run code.
    """

    id: str
    path: str
    setting: str
    old: str | None
    new: str | None
    device: str
    time: str
    dangerous: bool = False


class Match(StrEnum):
    """How a project of the vault is matched on this device."""

    HOME_RELATIVE = "home-relative"  # it lies below the home folder, wherever that is
    SAME_PATH = "same-path"  # it has the same absolute path on every device
    NOWHERE = "nowhere"  # its folder here is another project's


class ProjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A project of the vault by its `name` there. `key`: its folder below `projects/` here; `folder`: the absolute
    folder on this device that it belongs to, as far as its sessions tell; `exists`: whether that is there.
    `sessions`: in the vault, by any device; `here`: so many of them on this disk.
    """

    name: str
    match: Match
    key: str | None
    folder: str | None
    exists: bool
    sessions: int
    here: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a run under way. `total` is 0 while it is not known. Bytes are plaintext bytes."""

    phase: str
    done: int
    total: int
    bytes_done: int = 0
    bytes_total: int = 0


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is wrong with an object of the vault, or a version of a path in it. `store`: the one that has it
    wrong, where the vault is in several and that can be told.
    """

    object: str
    problem: str
    store: str = ""


class StoreCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found in one of the stores of a vault. `objects`: that were looked at there, `damaged` ones among
    them. `behind`: objects to come, which another store has. `problem`: that it was not checked, or not to the end, and
    why; `hint`: what to do. Both are empty where it was.
    """

    url: str
    objects: int = 0
    damaged: int = 0
    behind: int = 0
    problem: str = ""
    hint: str = ""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the vault looked at and found. `files` versions of files were read whole and had the right hash;
    0 where only the objects were looked at. Nothing names the `spare` objects: they are left from work that was cut
    off, or wait to be deleted. `more`: findings beyond those listed. `stores`: each of them, where there are several.
    """

    objects: int
    files: int = 0
    bytes_read: int = 0
    spare_objects: int = 0
    spare_bytes: int = 0
    findings: list[Finding] = []
    more: int = 0
    stores: list[StoreCheck] | msgspec.UnsetType = msgspec.UNSET
