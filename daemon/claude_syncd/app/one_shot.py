"""The same engine without a daemon: each command does its work in this process and returns."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from claude_syncd import log as logging
from claude_syncd.app.compose import intervals, load_settings, opened_site, opened_store, tidied, viewed_site
from claude_syncd.app.service import DaemonService
from claude_syncd.control.messages import ConflictDetail, LogAnswer
from claude_syncd.core.status import Pending
from claude_syncd.engine import approvals, projects, report, versions
from claude_syncd.engine import conflicts as kept
from claude_syncd.engine.holds import remembered_hold
from claude_syncd.engine.keep_mirrored import keep_mirrored_once
from claude_syncd.engine.supervisor import Supervisor
from claude_syncd.engine.survey import survey
from claude_syncd.errors import Held, LocalError, SyncError
from claude_syncd.local.home import Places
from claude_syncd.local.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    from claude_syncd.control.messages import (
        ApproveRequest,
        CheckRequest,
        ConflictDraft,
        ForgetAnswer,
        ForgetRequest,
        Keep,
        Kind,
        LogRequest,
        MergedRequest,
        RemoveAnswer,
        RemoveRequest,
        RestoreAnswer,
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
    from claude_syncd.settings import Settings

_T = TypeVar("_T")


@contextmanager
def one_shot() -> Iterator[OneShotService]:
    """What `claude-syncctl` does itself while no daemon runs. Raises NotSetUp, ConfigError."""
    places = Places.from_environment()
    settings = load_settings(places)
    logging.configure(places.log, settings.log.level)
    try:
        yield OneShotService(places, settings)
    finally:
        logging.close()


class OneShotService:
    """Implements `control.service.OneShot`."""

    def __init__(self, places: Places, settings: Settings) -> None:
        self._places = places
        self._settings = settings

    def _with(self, work: Callable[[Supervisor, DaemonService], Awaitable[_T]]) -> _T:
        with (
            Lock(self._places.lock),
            opened_site(self._places, self._settings, opened_store(self._places, self._settings)) as site,
        ):

            async def session() -> _T:
                supervisor = Supervisor(site, intervals(self._settings), random.Random())  # noqa: S311 - jitter
                try:
                    return await work(supervisor, DaemonService(supervisor))
                finally:
                    await site.store.close()

            with tidied(site):
                return asyncio.run(session())

    def _view(self) -> AbstractContextManager[Site]:
        return viewed_site(self._places, self._settings, opened_store(self._places, self._settings))

    def status(self) -> Status:
        """See OneShot."""
        with self._view() as site:
            error: SyncError | None = None
            waiting: set[str] = set()
            try:
                waiting = survey(site)
            except LocalError as found:
                error = found
            incoming = set(site.state.todo())
            pending = Pending(upload=len(waiting - incoming), download=len(incoming))
            return report.status(
                site,
                pending=pending,
                approvals=approvals.count(site),
                hold=remembered_hold(site.state),
                error=error,
                daemon=False,
            )

    def run(self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]) -> RunResult | list[DiffLine]:
        """See OneShot."""

        async def work(supervisor: Supervisor, service: DaemonService) -> RunResult | list[DiffLine]:
            done = await service.run(kind, request, progress)
            if not request.dry_run:
                await supervisor.compactor.once()
                await keep_mirrored_once(supervisor.site)
            return done

        return self._with(work)

    def pause(self, seconds: int | None) -> None:
        """See OneShot."""
        self._with(lambda _, service: service.pause(seconds))

    def resume(self, *, accept: bool) -> None:
        """See OneShot."""

        async def work(supervisor: Supervisor, _: DaemonService) -> None:
            try:
                await supervisor.round.scan()
                await supervisor.round.look_for_hold()
            except Held:
                await supervisor.resume(accept=accept)
            else:
                await supervisor.resume(accept=accept)

        self._with(work)

    def diff(self) -> list[DiffLine]:
        """See OneShot."""
        return self._with(lambda _, service: service.diff())

    def conflicts(self) -> list[ConflictInfo]:
        """See OneShot."""
        with self._view() as site:
            return kept.listed(site)

    def conflict(self, conflict: str) -> ConflictDetail:
        """See OneShot."""
        with self._view() as site:
            info, diff, truncated = kept.shown(site, conflict)
        return ConflictDetail(conflict=info, diff=diff, truncated=truncated)

    def resolve(self, conflict: str | None, keep: Keep) -> int:
        """See OneShot."""
        return self._with(lambda _, service: service.resolve(conflict, keep))

    def approvals(self) -> list[ApprovalInfo]:
        """See OneShot."""
        with self._view() as site:
            return approvals.listed(site)

    def approve(self, request: ApproveRequest) -> int:
        """See OneShot."""
        return self._with(lambda _, service: service.approve(request))

    def log(self, request: LogRequest) -> LogAnswer:
        """See OneShot."""
        with self._view() as site:
            files, more = versions.listed(site, request.path, request.cwd)
        return LogAnswer(files=files, truncated=more)

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """See OneShot."""
        return self._with(lambda _, service: service.restore(request))

    def forget(self, request: ForgetRequest) -> ForgetAnswer:
        """See OneShot."""
        return self._with(lambda _, service: service.forget(request))

    def draft(self, conflict: str) -> ConflictDraft:
        """See OneShot."""
        return self._with(lambda _, service: service.draft(conflict))

    def merged(self, conflict: str, request: MergedRequest) -> None:
        """See OneShot."""
        self._with(lambda _, service: service.merged(conflict, request))

    def devices(self) -> list[DeviceInfo]:
        """See OneShot."""
        with self._view() as site:
            return report.devices(site)

    def rename_device(self, name: str) -> None:
        """See OneShot."""
        self._with(lambda _, service: service.rename_device(name))

    def remove_device(self, request: RemoveRequest) -> RemoveAnswer:
        """See OneShot."""
        return self._with(lambda _, service: service.remove_device(request))

    def projects(self) -> list[ProjectInfo]:
        """See OneShot."""
        with self._view() as site:
            return projects.listed(site)

    def check(self, request: CheckRequest) -> CheckReport:
        """See OneShot."""
        return self._with(lambda _, service: service.check(request))
