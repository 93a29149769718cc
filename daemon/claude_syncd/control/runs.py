"""Work that outlives the client that asked for it, and ends with the server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from claude_syncd import log
from claude_syncd.control.failures import Stopping, body_of, internal
from claude_syncd.control.messages import DiffAnswer
from claude_syncd.core.status import RunResult
from claude_syncd.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from claude_syncd.control.events import Feed
    from claude_syncd.control.messages import Kind, RunRequest
    from claude_syncd.control.service import Service
    from claude_syncd.core.status import Progress

_log = log.get_logger(__name__)

Outcome = RunResult | DiffAnswer | SyncError


class Runs:
    """Starts runs of `service`, while open. Those that are under way when it closes are cancelled and answered."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start runs inside; cancelling it cancels them, and it ends when the last has ended."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None

    async def run(self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]) -> Outcome:
        """Run to the end and give how it ended. Cancelling the caller doesn't cancel the run."""
        return await asyncio.shield(self._start(kind, request, progress))

    def follow(self, kind: Kind, request: RunRequest, feed: Feed) -> None:
        """Run, and put into `feed` how it gets on and how it ends."""

        def ended(done: asyncio.Future[Outcome]) -> None:
            outcome = done.result()
            feed.put(body_of(outcome) if isinstance(outcome, SyncError) else outcome)
            feed.end()

        self._start(kind, request, feed.put).add_done_callback(ended)

    @contextmanager
    def telling(self, feed: Feed) -> Iterator[None]:
        """Put the service's events into `feed` meanwhile."""
        if self._group is None:
            feed.end()
            yield
            return
        task = self._group.create_task(self._tell(feed))
        try:
            yield
        finally:
            task.cancel()

    def _start(self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]) -> asyncio.Future[Outcome]:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self._group is None:
            outcome.set_result(Stopping("the daemon is stopping"))
        else:

            def ended(_: object) -> None:
                if not outcome.done():  # cancelled before its first step
                    outcome.set_result(_stopped(kind))

            self._group.create_task(self._carry(kind, request, progress, outcome)).add_done_callback(ended)
        return outcome

    async def _carry(
        self,
        kind: Kind,
        request: RunRequest,
        progress: Callable[[Progress], None],
        outcome: asyncio.Future[Outcome],
    ) -> None:
        try:
            result = await self._service.run(kind, request, progress)
            outcome.set_result(DiffAnswer(diff=result) if isinstance(result, list) else result)
        except SyncError as error:
            outcome.set_result(error)
        except Exception as error:  # noqa: BLE001 - one failed run must not end the others; it is logged and answered
            _log.error("run failed", kind=kind, exc_info=error)
            outcome.set_result(internal(error))

    async def _tell(self, feed: Feed) -> None:
        try:
            async for event in self._service.events():
                feed.put(event)
        except Exception as error:  # noqa: BLE001 - one client's events must not end the others'; it is logged
            _log.error("events failed", exc_info=error)
        finally:
            feed.end()


def _stopped(kind: Kind) -> Stopping:
    return Stopping(f"the daemon stopped before the {kind} was done")
