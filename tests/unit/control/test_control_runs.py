"""Runs outlive who asked for them, and end with the server; whoever waits is told how."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from memory_service import MemoryService

from claude_syncd import errors, log
from claude_syncd.control.events import Feed
from claude_syncd.control.failures import Stopping
from claude_syncd.control.messages import DiffAnswer, RunRequest
from claude_syncd.control.runs import Runs
from claude_syncd.core.status import Progress, RunResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOW, OFFLINE, BROKEN = (RunRequest(project=project) for project in ("/slow", "/offline", "/broken"))


@pytest.fixture
def service() -> MemoryService:
    return MemoryService()


@pytest.fixture
def runs(service: MemoryService) -> Runs:
    return Runs(service)


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log" / "claude-syncd.log"
    log.configure(path)
    yield path
    log.close()


def ignore(_progress: Progress) -> None:
    pass


async def drained(feed: Feed) -> list[tuple[str, Any]]:
    """The events of a feed up to its end: name and data."""
    found = []
    async with asyncio.timeout(20):
        while (event := await feed.next()) is not None:
            if event.startswith(b"event: "):
                name, data = event.decode().removeprefix("event: ").split("\ndata: ")
                found.append((name, json.loads(data)))
    return found


async def test_a_run_ends_with_its_result_and_tells_how_it_gets_on(runs: Runs, service: MemoryService) -> None:
    seen: list[Progress] = []
    async with runs.open():
        outcome = await runs.run("push", RunRequest(), seen.append)
    assert isinstance(outcome, RunResult)
    assert outcome.uploaded == 3
    assert [progress.done for progress in seen] == [1, 2, 3]
    assert [kind for kind, _ in service.runs] == ["push"]


async def test_a_dry_run_ends_with_the_plan(runs: Runs) -> None:
    async with runs.open():
        outcome = await runs.run("sync", RunRequest(dry_run=True), ignore)
    assert isinstance(outcome, DiffAnswer)
    assert [line.path for line in outcome.diff] == ["CLAUDE.md", "projects/p/s.jsonl"]


async def test_a_failure_is_an_outcome_and_others_go_on(runs: Runs, service: MemoryService, logged: Path) -> None:
    async with runs.open():
        slow = asyncio.create_task(runs.run("pull", SLOW, ignore))
        await service.started.wait()
        offline = await runs.run("pull", OFFLINE, ignore)
        broken = await runs.run("pull", BROKEN, ignore)
        assert not slow.done()
        service.gate.set()
        done = await slow
    assert isinstance(offline, errors.StoreUnavailable)
    assert isinstance(broken, errors.SyncError)
    assert str(broken) == "internal error: ZeroDivisionError", "what it says is for the log"
    assert isinstance(done, RunResult)
    (line,) = map(json.loads, logged.read_text().splitlines())
    assert (line["event"], line["kind"]) == ("run failed", "pull")
    assert "secret content" in line["exception"]


async def test_a_run_goes_on_when_who_asked_is_gone(runs: Runs, service: MemoryService) -> None:
    async with runs.open():
        asking = asyncio.create_task(runs.run("sync", SLOW, ignore))
        await service.started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert service.finished == 0
        service.gate.set()
    assert service.finished == 1


async def test_who_waits_when_the_server_ends_is_told(runs: Runs, service: MemoryService) -> None:
    feed = Feed()

    async def serve(opened: asyncio.Event) -> None:
        async with runs.open():
            opened.set()
            await asyncio.Event().wait()

    opened = asyncio.Event()
    server = asyncio.create_task(serve(opened))
    await opened.wait()
    asking = asyncio.create_task(runs.run("sync", SLOW, ignore))
    await service.started.wait()
    runs.follow("push", SLOW, feed)
    with runs.telling(watching := Feed()):
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        outcome = await asking
    assert isinstance(outcome, Stopping)
    assert str(outcome) == "the daemon stopped before the sync was done"
    assert "service start" in outcome.hint
    assert [(name, data["error"]) for name, data in await drained(feed) if name != "progress"] == [
        ("error", "the daemon stopped before the push was done")
    ]
    assert [n for n, _ in await drained(watching)] in ([], ["status"])
    assert service.finished == 0


async def test_a_run_that_is_cancelled_before_its_first_step_is_answered_too(
    runs: Runs, service: MemoryService
) -> None:
    opened = asyncio.Event()

    async def serve() -> None:
        async with runs.open():
            opened.set()
            await asyncio.Event().wait()

    server = asyncio.create_task(serve())
    await opened.wait()
    server.cancel()  # it takes effect after the run was accepted, and before it has begun
    runs.follow("push", RunRequest(), feed := Feed())
    assert [(name, data["error"]) for name, data in await drained(feed)] == [
        ("error", "the daemon stopped before the push was done")
    ]
    assert service.runs == []


async def test_nothing_is_begun_before_it_is_open_and_after_it_is_closed(runs: Runs, service: MemoryService) -> None:
    async def refused() -> None:
        outcome = await runs.run("push", RunRequest(), ignore)
        assert isinstance(outcome, Stopping)
        runs.follow("push", RunRequest(), followed := Feed())
        assert [(name, data["error"]) for name, data in await drained(followed)] == [
            ("error", "the daemon is stopping")
        ]
        with runs.telling(told := Feed()):
            assert await drained(told) == []

    await refused()
    async with runs.open():
        pass
    await refused()
    assert service.runs == []


async def test_a_followed_run_is_told_to_its_end(runs: Runs) -> None:
    async with runs.open():
        runs.follow("push", RunRequest(), good := Feed())
        runs.follow("push", OFFLINE, bad := Feed())
        told, failed = await drained(good), await drained(bad)
    assert [name for name, _ in told] == ["progress"] * 3 + ["result"]
    assert told[-1][1]["uploaded"] == 3
    assert [(name, data["error"]) for name, data in failed] == [("error", "the store can't be reached: timed out")]


async def test_events_are_told_as_long_as_somebody_listens(runs: Runs, service: MemoryService) -> None:
    async with runs.open():
        feed = Feed()
        with runs.telling(feed):
            first = await feed.next()
            assert first is not None
            assert first.startswith(b"event: status\n")
            await service.poke()
            second = await feed.next()
            assert second is not None
            assert second.startswith(b"event: status\n")
        assert await drained(feed) == [], "it ends with who listens"


async def test_events_that_fail_end_for_this_listener_only(
    runs: Runs, service: MemoryService, logged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> errors.SyncError:
        raise ZeroDivisionError("a defect")

    async with runs.open():
        with runs.telling(good := Feed()):
            assert await good.next() is not None
            with monkeypatch.context() as patched:
                patched.setattr(service, "status", fails)
                with runs.telling(bad := Feed()):
                    assert await drained(bad) == []
            await service.poke()
            assert await good.next() is not None
    (line,) = map(json.loads, logged.read_text().splitlines())
    assert line["event"] == "events failed"
