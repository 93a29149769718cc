"""What travels over the control socket besides the words of core/status.py. All JSON, all bounded."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from claude_syncd.core.status import ApprovalInfo, ConflictInfo, DeviceInfo, DiffLine, FileVersions, ProjectInfo

MAX_BODY = 64 * 1024
"""Bytes of a request's body."""

Kind = Literal["push", "pull", "sync"]
"""What a run does: upload, download, or both."""

Keep = Literal["local", "remote", "both"]
"""How a conflict ends: with this tree's side, with the kept side, or with both as files."""

PathText = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
NameText = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
IdText = Annotated[str, msgspec.Meta(min_length=4, max_length=64, pattern=r"^[0-9a-f]*$")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 24 * 3600)]


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run now. `project`: only files of the project in this absolute folder. `from_device`: only what that device
    (name or id) wrote; for a pull.
    """

    dry_run: bool = False
    project: PathText | None = None
    from_device: NameText | None = None


class PauseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stop syncing, for `seconds` or until resumed."""

    seconds: Seconds | None = None


class ResumeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a pause; with `accept` also a hold, saying yes to what it asked about."""

    accept: bool = False


class ResolveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a conflict."""

    keep: Keep


class ApproveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answer settings that wait: those with these ids (or beginnings of them), without any all. With `reject` they are
    left out until they change.
    """

    ids: Annotated[list[IdText], msgspec.Meta(min_length=1, max_length=1000)] | None = None
    reject: bool = False


class MergedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a conflict with the content of the absolute `file`. `sha256`: of the tree's side that it was made from."""

    file: PathText
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class LogRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions of a file. `path`: absolute, relative to the folder `cwd` or to the tree, or portable."""

    path: PathText
    cwd: PathText = "/"


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bring back a file, what is known below a folder, or with `every` the whole tree. `path`, `cwd`: as for `log`.

    `version`: a number or id of the log; `at`: as of that time; neither: the newest content. `to`: an absolute path to
    write to instead of the file's place.
    """

    path: PathText | None = None
    every: bool = False
    cwd: PathText = "/"
    version: NameText | None = None
    at: Moment | None = None
    to: PathText | None = None


class ForgetRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete files for good, on every device. `paths`, `cwd`: as for `log`; `dry_run`: only say which."""

    paths: Annotated[list[PathText], msgspec.Meta(min_length=1, max_length=1000)]
    cwd: PathText = "/"
    dry_run: bool = False


class RenameRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new name for this device."""

    name: NameText


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request failed: one line, what to do now, and the exit code of a command that fails with it."""

    error: str
    hint: str
    exit_code: int


class DiffAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The files that differ; also what a dry run answers."""

    diff: list[DiffLine]


class ConflictsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The conflicts that are kept."""

    conflicts: list[ConflictInfo]


class ConflictDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One conflict and the unified diff from the tree's side to the kept side.

    `diff` is bounded by the service and empty for what is no text; `truncated` says that there was more.
    """

    conflict: ConflictInfo
    diff: str = ""
    truncated: bool = False


class ConflictDraft(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of a conflict as text, the tree's and the kept one; `sha256` is that of the tree's."""

    conflict: ConflictInfo
    local: str
    remote: str
    sha256: str


class ResolvedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many conflicts were ended."""

    resolved: int


class ApprovalsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of other devices that wait for an answer."""

    approvals: list[ApprovalInfo]


class ApprovedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many were answered."""

    answered: int


class LogAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A file's versions, or those of the files below a folder; `truncated` says that there are more files."""

    files: list[FileVersions]
    truncated: bool = False


class RestoreFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A file that could not be brought back, and why."""

    path: str
    error: str


class RestoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many files were written, how many were there already as they should be; the first 1,000 that were written,
    relative to the tree or to the folder `to`, and the first 1,000 that failed.
    """

    restored: int
    unchanged: int
    files: list[str]
    failed: list[RestoreFailure] = []
    to: str | None = None


class ForgetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many files are deleted for good, and the first 1,000 of them as the vault calls them. `pending`: the other
    devices hear of it once the store can be reached again.
    """

    forgotten: int
    files: list[str]
    pending: bool = False


class RemoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a device (name or id) out of the vault."""

    device: NameText


class RemoveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The device that was removed, how many versions this one has published in its place, and the devices that are
    left.
    """

    removed: str
    published: int
    devices: list[DeviceInfo]


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verify the vault; with `read_data` every byte of it."""

    read_data: bool = False


class DevicesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of the vault."""

    devices: list[DeviceInfo]


class ProjectsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The projects of the vault."""

    projects: list[ProjectInfo]
