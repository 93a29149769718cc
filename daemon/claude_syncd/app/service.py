"""The control port, carried out by the supervisor: translates messages into the engine's words and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.control.messages import (
    ConflictDetail,
    ConflictDraft,
    ForgetAnswer,
    LogAnswer,
    RemoveAnswer,
    RestoreAnswer,
    RestoreFailure,
)
from claude_syncd.core.portable import Root, encode_key
from claude_syncd.engine import approvals, check, forget, projects, removal, report, restore, versions
from claude_syncd.engine import conflicts as kept
from claude_syncd.engine.round import Direction, Limits
from claude_syncd.errors import LocalError, StoreUnavailable, UsageError
from claude_syncd.local import device as device_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

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
    from claude_syncd.core.status import (
        ApprovalInfo,
        CheckReport,
        ConflictInfo,
        DeviceInfo,
        DiffLine,
        Progress,
        ProjectInfo,
        RunResult,
        Status,
    )
    from claude_syncd.engine.site import Site
    from claude_syncd.engine.supervisor import Supervisor

MOST_EDITED = 4 * 1024 * 1024
_NAMED = 1000  # files by name in an answer
_DIRECTIONS = {"push": Direction.PUSH, "pull": Direction.PULL, "sync": Direction.SYNC}


class DaemonService:
    """Implements `control.service.Service`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._site = supervisor.site

    async def status(self) -> Status:
        """See Service."""
        return await self._supervisor.status()

    async def run(
        self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]
    ) -> RunResult | list[DiffLine]:
        """See Service."""
        limits = await self._limits(request)
        if request.dry_run:
            return await self._supervisor.plan(limits)
        with self._supervisor.audience.heard(progress):
            done = await self._supervisor.run(_DIRECTIONS[kind], limits)
        if self._site.mirror is not None:
            self._site.mirror.wanted.set()  # who asks does not want to wait until a store is tried again by itself
        return done

    async def _limits(self, request: RunRequest) -> Limits:
        under = device = ""
        if request.project is not None:
            under = await self._site.off_loop(_project_prefix, self._site, request.project)
        if request.from_device is not None:
            known = await self.devices()
            matches = [d.id for d in known if request.from_device in {d.id, d.name}]
            if len(matches) != 1:
                what = "no device is" if not matches else "more than one device is"
                raise UsageError(f"{what} called {request.from_device}", hint="see `claude-syncctl devices`")
            device = matches[0]
        return Limits(under=under, device=device)

    async def pause(self, seconds: int | None) -> None:
        """See Service."""
        await self._supervisor.pause(seconds)

    async def resume(self, *, accept: bool) -> None:
        """See Service."""
        await self._supervisor.resume(accept=accept)

    async def diff(self) -> list[DiffLine]:
        """See Service."""
        return await self._supervisor.plan(Limits())

    async def conflicts(self) -> list[ConflictInfo]:
        """See Service."""
        return await self._site.off_loop(kept.listed, self._site)

    async def conflict(self, conflict: str) -> ConflictDetail:
        """See Service."""
        info, diff, truncated = await self._site.off_loop(kept.shown, self._site, conflict)
        return ConflictDetail(conflict=info, diff=diff, truncated=truncated)

    async def resolve(self, conflict: str | None, keep: Keep) -> int:
        """See Service."""
        site = self._site
        if conflict is None:
            found = await site.off_loop(kept.kept, site)
        else:
            found = [await site.off_loop(kept.find, site, conflict)]
        for one in found:
            self._supervisor.changed(await site.off_loop(kept.resolve, site, one, keep))
        return len(found)

    async def approvals(self) -> list[ApprovalInfo]:
        """See Service."""
        return await self._site.off_loop(approvals.listed, self._site)

    async def approve(self, request: ApproveRequest) -> int:
        """See Service."""
        site = self._site
        async with self._supervisor.round.between_rounds():
            answered = await site.off_loop(approvals.answer, site, request.ids, accept=not request.reject)
        if answered and not request.reject:
            self._supervisor.changed(set(answered))
        return len(answered)

    async def log(self, request: LogRequest) -> LogAnswer:
        """See Service."""
        files, more = await self._site.off_loop(versions.listed, self._site, request.path, request.cwd)
        return LogAnswer(files=files, truncated=more)

    async def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """See Service."""
        site = self._site
        paths = await site.off_loop(_restorable, site, request)
        version, at_ns = request.version, _ends_ns(request.at) if request.at is not None else None
        unchanged = 0
        if request.to is None:
            wanted, unchanged = await site.off_loop(restore.in_place, site, paths, version, at_ns)
            done = await restore.write_in_place(site, wanted, self._supervisor.round.between_rounds)
            self._supervisor.changed(done.paths)
        else:
            folder, wanted = await site.off_loop(restore.elsewhere, site, paths, Path(request.to), version, at_ns)
            done = await restore.write_elsewhere(site, folder, wanted)
        if len(paths) == 1 and paths[0] in done.failed:
            raise done.failed[paths[0]]
        failed = [RestoreFailure(path=path, error=str(error)) for path, error in done.failed.items()]
        return RestoreAnswer(
            restored=len(done.files),
            unchanged=unchanged,
            files=done.files[:_NAMED],
            failed=failed[:_NAMED],
            to=request.to,
        )

    async def forget(self, request: ForgetRequest) -> ForgetAnswer:
        """See Service."""
        site = self._site
        paths = await site.off_loop(forget.forgettable, site, request.paths, request.cwd)
        pending = False
        if not request.dry_run:
            async with self._supervisor.round.between_rounds():
                await site.off_loop(forget.forget, site, paths)
            self._supervisor.changed(set(paths))
            try:
                await self._supervisor.run(Direction.PUSH, Limits())
            except StoreUnavailable:
                pending = True
        return ForgetAnswer(forgotten=len(paths), files=paths[:_NAMED], pending=pending)

    async def draft(self, conflict: str) -> ConflictDraft:
        """See Service."""
        info, sides = await self._site.off_loop(kept.draft, self._site, conflict)
        return ConflictDraft(conflict=info, local=sides.ours, remote=sides.theirs, sha256=sides.sha256)

    async def merged(self, conflict: str, request: MergedRequest) -> None:
        """See Service."""
        site = self._site
        content = await site.off_loop(_whole, request.file)
        self._supervisor.changed(await site.off_loop(kept.take, site, conflict, content, request.sha256))

    async def devices(self) -> list[DeviceInfo]:
        """See Service."""
        return await self._site.off_loop(report.devices, self._site)

    async def rename_device(self, name: str) -> None:
        """See Service."""
        cleaned = device_file.clean_name(name)
        if not cleaned:
            raise UsageError(f"{name!r} can't be a device's name")
        self._site.name = cleaned
        path = self._site.places.device
        device = await self._site.off_loop(device_file.load, path)
        await self._site.off_loop(device_file.save, path, device_file.renamed(device, cleaned))

    async def remove_device(self, request: RemoveRequest) -> RemoveAnswer:
        """See Service."""
        device = await self._site.off_loop(removal.meant, self._site, request.device)
        await self._supervisor.prepare()
        published = await removal.remove(self._supervisor.round, device)
        self._supervisor.poke()
        return RemoveAnswer(removed=device, published=published, devices=await self.devices())

    async def projects(self) -> list[ProjectInfo]:
        """See Service."""
        return await self._site.off_loop(projects.listed, self._site)

    async def check(self, request: CheckRequest) -> CheckReport:
        """See Service."""
        return await check.check(self._site, read_data=request.read_data)

    async def poke(self) -> None:
        """See Service."""
        self._supervisor.poke()

    async def metrics(self) -> str:
        """See Service."""
        now = await self._supervisor.status()
        return report.metrics(
            self._site, now, rounds=self._supervisor.rounds, loop_lag_seconds=self._supervisor.loop_lag
        )

    def events(self) -> AsyncIterator[Progress | Status]:
        """See Service."""
        return self._supervisor.events()


def _whole(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(MOST_EDITED + 1)
    except OSError as error:
        raise LocalError(f"can't read {file}: {error.strerror}") from error
    if len(content) > MOST_EDITED:
        raise UsageError(f"{file} is too large")
    return content


def _restorable(site: Site, request: RestoreRequest) -> list[str]:
    """The portable paths that are to be brought back. Raises UsageError."""
    if request.every == (request.path is not None):
        raise UsageError("say what to restore: a path, or all")
    if request.path is None:
        if request.at is None:
            raise UsageError("say as of which time all is to be restored")
        return site.state.paths("tree/")
    paths = versions.meant(site, request.path, request.cwd)
    if len(paths) > 1 and request.version is not None:
        raise UsageError(f"{request.path} is a folder: a version is one of a file", hint="give a time instead: --at")
    return paths


def _ends_ns(moment: datetime) -> int:
    """The end of the second that is meant: times are shown to the second."""
    whole = moment.timestamp()
    return int(whole) * 1_000_000_000 + 999_999_999 if moment.microsecond == 0 else int(whole * 1e9)


def _project_prefix(site: Site, folder: str) -> str:
    """The portable prefix of the files of the project in the absolute `folder`. Raises LocalError for another."""
    key = encode_key(folder)
    spot = site.folder(Root.TREE) / "projects" / key
    portable = site.paths.project_of(key)
    if not spot.is_dir() and not site.state.paths(f"tree/projects/{portable}/"):
        raise LocalError(f"no conversations of {folder} are known", hint="give the project's own folder")
    return f"tree/projects/{portable}/"
