"""What ends the daemon is logged and becomes one error; that it really ends so is tested in tests/e2e."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from claude_syncd import log
from claude_syncd.app.ending import told
from claude_syncd.errors import LocalError, StoreUnavailable, SyncError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log" / "claude-syncd.log"
    log.configure(path)
    yield path
    log.close()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_defect_is_logged_in_full_and_raised_in_brief(file: Path) -> None:
    with pytest.raises(SyncError, match=r"^internal error: KeyError: 'gone'$"), told():
        raise KeyError("gone")
    (line,) = lines(file)
    assert line["level"] == "critical"
    assert "test_app_ending.py" in line["exception"]


async def _fails(error: Exception) -> None:
    raise error


async def _tasks(*errors: Exception) -> None:
    async with asyncio.TaskGroup() as outer:
        outer.create_task(asyncio.Event().wait())
        async with asyncio.TaskGroup() as inner:
            for error in errors:
                inner.create_task(_fails(error))


def test_an_error_of_a_task_in_groups_is_raised_as_itself(file: Path) -> None:
    with pytest.raises(LocalError, match=r"^the socket is gone$") as raised, told():
        asyncio.run(_tasks(LocalError("the socket is gone", hint="put it back")))
    assert raised.value.hint == "put it back"
    (line,) = lines(file)
    assert (line["level"], line["error"], line["hint"]) == ("error", "the socket is gone", "put it back")


def test_of_more_errors_each_is_logged_and_the_first_is_raised(file: Path) -> None:
    with pytest.raises(SyncError, match=r"^internal error: KeyError: 'x'$"), told():
        asyncio.run(_tasks(KeyError("x"), StoreUnavailable("no answer")))
    assert [line["level"] for line in lines(file)] == ["critical", "error"]
    assert lines(file)[1]["error"] == "no answer"


def test_an_end_in_peace_is_no_news(file: Path) -> None:
    with told():
        pass
    assert lines(file) == []
