"""A daemon without an engine: `Service` in memory, for what is in front of it. Run as a script it serves a socket."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd import errors
from claude_syncd.control.messages import (
    ConflictDetail,
    ConflictDraft,
    ForgetAnswer,
    LogAnswer,
    RemoveAnswer,
    RestoreAnswer,
    RestoreFailure,
)
from claude_syncd.core.status import (
    ApprovalInfo,
    Change,
    CheckReport,
    ConflictInfo,
    DeviceInfo,
    DiffLine,
    FileVersions,
    Finding,
    Match,
    Pending,
    Problem,
    Progress,
    ProjectInfo,
    Requests,
    RunResult,
    State,
    Status,
    VaultInfo,
    VersionInfo,
    VersionKind,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from claude_syncd.control.messages import (
        ApproveRequest,
        CheckRequest,
        ForgetRequest,
        Keep,
        Kind,
        LogRequest,
        MergedRequest,
        RemoveRequest,
        RestoreRequest,
        RunRequest,
    )

DEVICE = "a" * 32
OTHER = "b" * 32


class MemoryService:
    """Keeps the words of `Service` over two devices and two conflicts; counts what it was asked."""

    def __init__(self) -> None:
        self.name = "laptop"
        self.state = State.IDLE
        self.paused_until: str | None = None
        self.problems: list[Problem] = []
        self.kept = {
            "c1f00d": ConflictInfo(
                id="c1f00d",
                path="CLAUDE.md",
                file="/state/conflicts/c1f00d/CLAUDE.md",
                size=1234,
                mtime="2026-01-31T12:00:00Z",
                device="desktop",
            ),
            "c2beef": ConflictInfo(
                id="c2beef",
                path="agents/a_\x1b[31mb.md",
                file="/state/conflicts/c2beef/agents/a.md",
                size=10,
                mtime="2026-01-31T12:00:00Z",
                device="desktop",
            ),
        }
        self.waiting = {
            "0123456789ab": ApprovalInfo(
                id="0123456789ab",
                path="settings.json",
                setting="hooks.Stop",
                old=None,
                new='[{"hooks":[{"type":"command","command":"~/bin/x \u200b\x9b"}]}]',
                device="desktop",
                time="2026-01-31T12:00:00Z",
            ),
            "ba9876543210": ApprovalInfo(
                id="ba9876543210",
                path="settings.json",
                setting="cleanupPeriodDays",
                old="99999",
                new="1",
                device="desk\x1b[31mtop",
                time="2026-01-31T12:00:00Z",
                dangerous=True,
            ),
        }
        self.answers: list[tuple[str, bool]] = []
        self.runs: list[tuple[Kind, RunRequest]] = []
        self.restores: list[RestoreRequest] = []
        self.forgotten: list[str] = []
        self.merges: list[str] = []
        self.finished = 0
        self.pokes = 0
        self.watchers = 0
        self.started = asyncio.Event()
        self.gate = asyncio.Event()  # a run of the project /slow waits for it
        self.changed = asyncio.Condition()

    async def status(self) -> Status:
        return Status(
            state=self.state,
            version="0.1.0",
            device=DeviceInfo(id=DEVICE, name=self.name, this=True),
            vault=VaultInfo(id="f" * 32, store="s3://bucket/prefix"),
            pending=Pending(upload=3, download=0, parked=1),
            conflicts=len(self.kept),
            approvals=len(self.waiting),
            last_push="2026-01-31T12:00:00Z",
            last_pull=None,
            devices=await self.devices(),
            problems=self.problems,
            paused_until=self.paused_until,
        )

    async def run(
        self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]
    ) -> RunResult | list[DiffLine]:
        self.runs.append((kind, request))
        self.started.set()
        if self.state is State.HELD:
            raise errors.Held("612 of 900 files vanished at once")
        match request.project:
            case "/slow":
                progress(Progress(phase="waiting", done=0, total=0))
                await self.gate.wait()
            case "/offline":
                raise errors.StoreUnavailable("the store can't be reached: timed out")
            case "/broken":
                raise ZeroDivisionError("secret content")
            case _:
                pass
        if request.dry_run:
            return await self.diff()
        for done in range(1, 4):
            progress(Progress(phase="uploading", done=done, total=3, bytes_done=done * 100, bytes_total=300))
            await asyncio.sleep(0)
        self.finished += 1
        return RunResult(uploaded=3, bytes_up=1234567, requests=Requests(put=1))

    async def pause(self, seconds: int | None) -> None:
        self.state = State.PAUSED
        self.paused_until = None if seconds is None else "2099-01-01T00:00:00Z"

    async def resume(self, *, accept: bool) -> None:
        if self.state is State.HELD and not accept:
            raise errors.Held("612 of 900 files vanished at once")
        self.state = State.IDLE
        self.paused_until = None

    async def diff(self) -> list[DiffLine]:
        return [
            DiffLine(path="CLAUDE.md", change=Change.UPLOAD, local_size=1500, remote_size=1400),
            DiffLine(path="projects/p/s.jsonl", change=Change.DOWNLOAD, remote_size=5_000_000, device="desktop"),
        ]

    async def conflicts(self) -> list[ConflictInfo]:
        return list(self.kept.values())

    async def conflict(self, conflict: str) -> ConflictDetail:
        return ConflictDetail(
            conflict=self._find(conflict), diff="--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new \x1b]0;evil\x07\n"
        )

    async def resolve(self, conflict: str | None, keep: Keep) -> int:
        ended = list(self.kept) if conflict is None else [self._find(conflict).id]
        for one in ended:
            del self.kept[one]
        return len(ended)

    async def log(self, request: LogRequest) -> LogAnswer:
        if request.path == "unknown":
            raise errors.UsageError("nothing is known of unknown")
        versions = [
            VersionInfo(number=2, id="b-9", time="2026-01-31T12:00:00Z", device="desktop", kind=VersionKind.DELETED),
            VersionInfo(
                number=1,
                id="a-4",
                time="2026-01-30T12:00:00Z",
                device="laptop",
                kind=VersionKind.FILE,
                size=1234,
                mtime="2026-01-30T11:59:00Z",
            ),
        ]
        return LogAnswer(files=[FileVersions(path=request.path, portable=f"tree/{request.path}", versions=versions)])

    async def restore(self, request: RestoreRequest) -> RestoreAnswer:
        self.restores.append(request)
        failed = [RestoreFailure(path="tree/b", error="gone")] if request.path == "partly" else []
        return RestoreAnswer(restored=1, unchanged=0, files=["a"], failed=failed, to=request.to)

    async def forget(self, request: ForgetRequest) -> ForgetAnswer:
        if not request.dry_run:
            self.forgotten += request.paths
        return ForgetAnswer(forgotten=len(request.paths), files=request.paths, pending="offline" in request.paths)

    async def approvals(self) -> list[ApprovalInfo]:
        return list(self.waiting.values())

    async def approve(self, request: ApproveRequest) -> int:
        ids = list(self.waiting) if request.ids is None else request.ids
        if any(one not in self.waiting for one in ids):
            raise errors.UsageError("no change waits as that", hint="see `claude-syncctl approve`")
        self.answers += [(one, not request.reject) for one in ids]
        for one in ids:
            del self.waiting[one]
        return len(ids)

    async def draft(self, conflict: str) -> ConflictDraft:
        return ConflictDraft(conflict=self._find(conflict), local="a\nb\n", remote="a\nc\n", sha256="0" * 64)

    async def merged(self, conflict: str, request: MergedRequest) -> None:
        self.merges.append(Path(request.file).read_text())
        del self.kept[self._find(conflict).id]

    async def devices(self) -> list[DeviceInfo]:
        return [
            DeviceInfo(id=DEVICE, name=self.name, last_seen="2026-01-31T12:00:00Z", this=True),
            DeviceInfo(id=OTHER, name="desktop"),
        ]

    async def rename_device(self, name: str) -> None:
        self.name = name

    async def remove_device(self, request: RemoveRequest) -> RemoveAnswer:
        if request.device not in {OTHER, "desktop"}:
            raise errors.UsageError(f"no device is called {request.device}", hint="see `claude-syncctl devices`")
        return RemoveAnswer(removed=OTHER, published=2, devices=(await self.devices())[:1])

    async def projects(self) -> list[ProjectInfo]:
        app = ProjectInfo(
            name="~-app",
            match=Match.HOME_RELATIVE,
            key="-home-ann-app",
            folder="/home/ann/app",
            exists=False,
            sessions=3,
            here=2,
        )
        lost = ProjectInfo(
            name="-home-ann-app", match=Match.NOWHERE, key=None, folder=None, exists=False, sessions=1, here=0
        )
        return [lost, app]

    async def check(self, request: CheckRequest) -> CheckReport:
        bad = Finding(object="devices/x/packs/y", problem="it was altered")
        if not request.read_data:
            return CheckReport(objects=12, spare_objects=1, spare_bytes=2048)
        return CheckReport(objects=12, files=3, bytes_read=4096, findings=[bad])

    async def poke(self) -> None:
        self.pokes += 1
        await self._changed()

    async def metrics(self) -> str:
        return f"# TYPE claude_syncd_pokes_total counter\nclaude_syncd_pokes_total {self.pokes}\n"

    async def events(self) -> AsyncIterator[Progress | Status]:
        while True:
            yield await self.status()
            self.watchers += 1
            async with self.changed:
                await self.changed.wait()

    async def _changed(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _find(self, conflict: str) -> ConflictInfo:
        found = [info for name, info in self.kept.items() if name.startswith(conflict)]
        if len(found) != 1:
            raise errors.UsageError(f"there is no conflict {conflict}", hint="see `claude-syncctl conflicts`")
        return found[0]


@contextmanager
def served_by(service: MemoryService, path: Path) -> Iterator[None]:
    """Have `service` served at `path` by a thread of this process."""
    ready = threading.Event()
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def main() -> None:
        from claude_syncd.control.server import serve

        serving = asyncio.create_task(serve(service, path, ready.set))
        started.append((asyncio.get_running_loop(), serving))
        with suppress(asyncio.CancelledError):
            await serving

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="memory service", daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield
    finally:
        ((loop, serving),) = started
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(20)
        assert not thread.is_alive()


async def _main(path: Path, state: State) -> None:
    from claude_syncd.control.server import serve

    service = MemoryService()
    service.state = state
    if state is State.HELD:
        service.problems.append(Problem(message="612 of 900 files vanished at once", hint="answer it"))
    serving = asyncio.create_task(serve(service, path, lambda: print("ready", flush=True)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        print("stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), State(sys.argv[2])))
