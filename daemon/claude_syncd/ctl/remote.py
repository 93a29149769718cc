"""The daemon where one runs, else the same engine once in this process: both answer in the same words."""

# Imports cost start-up time: without a daemon much is needed, with one nearly nothing.
# ruff: noqa: PLC0415
from __future__ import annotations

from claude_syncd.control.client import Client
from claude_syncd.ctl import where
from claude_syncd.ctl.view import view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from claude_syncd.control.messages import (
        ApprovalsAnswer,
        ApprovedAnswer,
        ConflictDetail,
        ConflictDraft,
        ConflictsAnswer,
        DevicesAnswer,
        DiffAnswer,
        ForgetAnswer,
        Keep,
        Kind,
        LogAnswer,
        ProjectsAnswer,
        RemoveAnswer,
        ResolvedAnswer,
        RestoreAnswer,
    )
    from claude_syncd.control.service import OneShot
    from claude_syncd.core.status import CheckReport, Progress, RunResult, Status

    _Request = TypeVar("_Request")


class Daemon:
    """A running daemon. Every answer is a View, which stands for the struct."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def status(self) -> Status:
        """How things are."""
        answer: Status = self._ask("GET", "/v1/status")
        return answer

    def plan(self, kind: Kind, request: dict[str, object]) -> DiffAnswer:
        """Say what a run would do; `request` as for `run`."""
        answer: DiffAnswer = self._run(kind, {**request, "dry_run": True}, _ignore)
        return answer

    def run(self, kind: Kind, request: dict[str, object], progress: Callable[[Progress], None]) -> RunResult:
        """Push, pull or sync and wait. `request` has fields of RunRequest."""
        answer: RunResult = self._run(kind, request, progress)
        return answer

    def _run(self, kind: Kind, request: dict[str, object], progress: Callable[[Progress], None]) -> Any:
        for name, data in self._client.stream("POST", f"/v1/{kind}", request):
            if name == "progress":
                progress(view(data))
            elif name == "result":
                return view(data)
        from claude_syncd.errors import SyncError

        raise SyncError(f"the daemon ended before it had answered to {kind}")

    def pause(self, seconds: int | None) -> Status:
        """Stop syncing."""
        answer: Status = self._ask("POST", "/v1/pause", {"seconds": seconds})
        return answer

    def resume(self, *, accept: bool) -> Status:
        """Sync again."""
        answer: Status = self._ask("POST", "/v1/resume", {"accept": accept})
        return answer

    def diff(self) -> DiffAnswer:
        """Local against vault."""
        answer: DiffAnswer = self._ask("GET", "/v1/diff")
        return answer

    def conflicts(self) -> ConflictsAnswer:
        """The conflicts that are kept."""
        answer: ConflictsAnswer = self._ask("GET", "/v1/conflicts")
        return answer

    def conflict(self, conflict: str) -> ConflictDetail:
        """One conflict."""
        answer: ConflictDetail = self._ask("GET", f"/v1/conflicts/{_quoted(conflict)}")
        return answer

    def resolve(self, conflict: str | None, keep: Keep) -> ResolvedAnswer:
        """End one conflict, or all."""
        which = "" if conflict is None else f"/{_quoted(conflict)}"
        answer: ResolvedAnswer = self._ask("POST", f"/v1/conflicts{which}/resolve", {"keep": keep})
        return answer

    def approvals(self) -> ApprovalsAnswer:
        """The settings that wait for an answer."""
        answer: ApprovalsAnswer = self._ask("GET", "/v1/approvals")
        return answer

    def approve(self, ids: list[str] | None, *, reject: bool) -> ApprovedAnswer:
        """Answer some of them, or all with None."""
        answer: ApprovedAnswer = self._ask("POST", "/v1/approvals", {"ids": ids, "reject": reject})
        return answer

    def log(self, path: str, cwd: str) -> LogAnswer:
        """The versions of a file."""
        answer: LogAnswer = self._ask("POST", "/v1/log", {"path": path, "cwd": cwd})
        return answer

    def restore(self, request: dict[str, object]) -> RestoreAnswer:
        """Bring back a version. `request` has fields of RestoreRequest."""
        answer: RestoreAnswer = self._ask("POST", "/v1/restore", request, timeout=None)
        return answer

    def forget(self, request: dict[str, object]) -> ForgetAnswer:
        """Delete files for good. `request` has fields of ForgetRequest."""
        answer: ForgetAnswer = self._ask("POST", "/v1/forget", request, timeout=None)
        return answer

    def draft(self, conflict: str) -> ConflictDraft:
        """Both sides of one conflict as text."""
        answer: ConflictDraft = self._ask("GET", f"/v1/conflicts/{_quoted(conflict)}/draft")
        return answer

    def merged(self, conflict: str, file: str, sha256: str) -> ResolvedAnswer:
        """End one conflict with the content of a file."""
        body: dict[str, object] = {"file": file, "sha256": sha256}
        answer: ResolvedAnswer = self._ask("POST", f"/v1/conflicts/{_quoted(conflict)}/merged", body)
        return answer

    def devices(self) -> DevicesAnswer:
        """The devices of the vault."""
        answer: DevicesAnswer = self._ask("GET", "/v1/devices")
        return answer

    def rename_device(self, name: str) -> DevicesAnswer:
        """Name this device anew."""
        answer: DevicesAnswer = self._ask("POST", "/v1/devices/rename", {"name": name})
        return answer

    def remove_device(self, device: str) -> RemoveAnswer:
        """Take another device out of the vault."""
        answer: RemoveAnswer = self._ask("POST", "/v1/devices/remove", {"device": device}, timeout=None)
        return answer

    def projects(self) -> ProjectsAnswer:
        """The projects of the vault."""
        answer: ProjectsAnswer = self._ask("GET", "/v1/projects")
        return answer

    def check(self, *, read_data: bool) -> CheckReport:
        """Verify the vault."""
        answer: CheckReport = self._ask("POST", "/v1/check", {"read_data": read_data}, timeout=None)
        return answer

    def poke(self) -> None:
        """Push without waiting for quiet."""
        self._ask("POST", "/v1/poke")

    def metrics(self) -> str:
        """Prometheus text."""
        return str(self._ask("GET", "/v1/metrics"))

    def events(self) -> Iterator[tuple[str, Any]]:
        """What happens, as it happens: ("status", Status), ("progress", Progress), ("", None) in between."""
        return ((name, view(data)) for name, data in self._client.stream("GET", "/v1/events"))

    def _ask(
        self, method: str, path: str, body: dict[str, object] | None = None, *, timeout: float | None = 300.0
    ) -> Any:
        # Conflicts and differences may take a while to compute; a daemon that is gone is noticed at once anyway.
        return view(self._client.request(method, path, body, timeout=timeout))


class InProcess:
    """The engine, once, in this process; what the daemon decodes from JSON is checked by the same structs here."""

    def __init__(self) -> None:
        from claude_syncd import app

        self._context: AbstractContextManager[OneShot] = app.one_shot()

    def __enter__(self) -> Self:
        self._service = self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def status(self) -> Status:
        """How things are."""
        return self._service.status()

    def plan(self, kind: Kind, request: dict[str, object]) -> DiffAnswer:
        """Say what a run would do; `request` as for `run`."""
        from claude_syncd.control.messages import DiffAnswer, RunRequest

        plan = self._service.run(kind, _checked({**request, "dry_run": True}, RunRequest), _ignore)
        assert isinstance(plan, list)  # noqa: S101 - so says the port, for a dry run
        return DiffAnswer(diff=plan)

    def run(self, kind: Kind, request: dict[str, object], progress: Callable[[Progress], None]) -> RunResult:
        """Push, pull or sync and wait. `request` has fields of RunRequest."""
        from claude_syncd.control.messages import RunRequest

        result = self._service.run(kind, _checked(request, RunRequest), progress)
        assert not isinstance(result, list)  # noqa: S101 - so says the port, unless it is a dry run
        return result

    def pause(self, seconds: int | None) -> Status:
        """Stop syncing."""
        self._service.pause(seconds)
        return self._service.status()

    def resume(self, *, accept: bool) -> Status:
        """Sync again."""
        self._service.resume(accept=accept)
        return self._service.status()

    def diff(self) -> DiffAnswer:
        """Local against vault."""
        from claude_syncd.control.messages import DiffAnswer

        return DiffAnswer(diff=self._service.diff())

    def conflicts(self) -> ConflictsAnswer:
        """The conflicts that are kept."""
        from claude_syncd.control.messages import ConflictsAnswer

        return ConflictsAnswer(conflicts=self._service.conflicts())

    def conflict(self, conflict: str) -> ConflictDetail:
        """One conflict."""
        return self._service.conflict(conflict)

    def resolve(self, conflict: str | None, keep: Keep) -> ResolvedAnswer:
        """End one conflict, or all."""
        from claude_syncd.control.messages import ResolvedAnswer

        return ResolvedAnswer(resolved=self._service.resolve(conflict, keep))

    def approvals(self) -> ApprovalsAnswer:
        """The settings that wait for an answer."""
        from claude_syncd.control.messages import ApprovalsAnswer

        return ApprovalsAnswer(approvals=self._service.approvals())

    def approve(self, ids: list[str] | None, *, reject: bool) -> ApprovedAnswer:
        """Answer some of them, or all with None."""
        from claude_syncd.control.messages import ApprovedAnswer, ApproveRequest

        return ApprovedAnswer(answered=self._service.approve(_checked({"ids": ids, "reject": reject}, ApproveRequest)))

    def log(self, path: str, cwd: str) -> LogAnswer:
        """The versions of a file."""
        from claude_syncd.control.messages import LogRequest

        return self._service.log(_checked({"path": path, "cwd": cwd}, LogRequest))

    def restore(self, request: dict[str, object]) -> RestoreAnswer:
        """Bring back a version. `request` has fields of RestoreRequest."""
        from claude_syncd.control.messages import RestoreRequest

        return self._service.restore(_checked(request, RestoreRequest))

    def forget(self, request: dict[str, object]) -> ForgetAnswer:
        """Delete files for good. `request` has fields of ForgetRequest."""
        from claude_syncd.control.messages import ForgetRequest

        return self._service.forget(_checked(request, ForgetRequest))

    def draft(self, conflict: str) -> ConflictDraft:
        """Both sides of one conflict as text."""
        return self._service.draft(conflict)

    def merged(self, conflict: str, file: str, sha256: str) -> ResolvedAnswer:
        """End one conflict with the content of a file."""
        from claude_syncd.control.messages import MergedRequest, ResolvedAnswer

        self._service.merged(conflict, _checked({"file": file, "sha256": sha256}, MergedRequest))
        return ResolvedAnswer(resolved=1)

    def devices(self) -> DevicesAnswer:
        """The devices of the vault."""
        from claude_syncd.control.messages import DevicesAnswer

        return DevicesAnswer(devices=self._service.devices())

    def rename_device(self, name: str) -> DevicesAnswer:
        """Name this device anew."""
        from claude_syncd.control.messages import RenameRequest

        self._service.rename_device(_checked({"name": name}, RenameRequest).name)
        return self.devices()

    def remove_device(self, device: str) -> RemoveAnswer:
        """Take another device out of the vault."""
        from claude_syncd.control.messages import RemoveRequest

        return self._service.remove_device(_checked({"device": device}, RemoveRequest))

    def projects(self) -> ProjectsAnswer:
        """The projects of the vault."""
        from claude_syncd.control.messages import ProjectsAnswer

        return ProjectsAnswer(projects=self._service.projects())

    def check(self, *, read_data: bool) -> CheckReport:
        """Verify the vault."""
        from claude_syncd.control.messages import CheckRequest

        return self._service.check(CheckRequest(read_data=read_data))


def daemon() -> Daemon:
    """Give the running daemon. Raises NoDaemon."""
    client = Client(where.control_socket())
    client.connect()
    return Daemon(client)


def anyone() -> Daemon | InProcess:
    """Give the running daemon, else the engine in this process."""
    client = Client(where.control_socket())
    if client.try_connect():
        return Daemon(client)
    return InProcess()


def _ignore(_progress: Progress) -> None:
    """For who doesn't look on."""


def _quoted(text: str) -> str:
    """Give `text` as one part of a URL's path."""
    if text.isascii() and text.replace("-", "").isalnum():
        return text
    from urllib.parse import quote

    # A part that is only dots would be taken for a way up.
    return quote(text, safe="", errors="surrogateescape").replace(".", "%2E")


def _checked(fields: dict[str, object], kind: type[_Request]) -> _Request:
    import msgspec

    from claude_syncd.errors import UsageError

    try:
        return msgspec.convert(fields, kind)  # noqa: TID251 - one thread, before any other works
    except msgspec.ValidationError as error:
        raise UsageError(f"that makes no sense: {error}") from error
