"""Claude Code's lock of the history: taken, given back, waited for, taken from the dead, never from the living."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from claude_syncd.errors import Changed, LocalError
from claude_syncd.local.claude_lock import claude_lock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl.lock"


def no_pause(_seconds: float) -> None:
    """Nobody is waited for."""


def test_it_is_there_while_it_is_held(file: Path, lock: Path) -> None:
    with claude_lock(file):
        assert lock.is_dir()
    assert not lock.exists()
    with pytest.raises(ZeroDivisionError), claude_lock(file):
        raise ZeroDivisionError
    assert not lock.exists()


def test_somebody_elses_is_waited_for(file: Path, lock: Path) -> None:
    lock.mkdir()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            lock.rmdir()

    with claude_lock(file, pause=pause):
        assert lock.is_dir()
    assert len(pauses) == 3
    assert sum(pauses) < 1


def test_somebody_elses_is_left_alone(file: Path, lock: Path) -> None:
    lock.mkdir()
    with pytest.raises(Changed, match="locked"), claude_lock(file, pause=no_pause):
        pytest.fail("it was held")
    assert lock.is_dir()


def test_one_that_was_left_behind_is_taken_over(file: Path, lock: Path) -> None:
    lock.mkdir()
    os.utime(lock, (1, 1))
    with claude_lock(file, pause=no_pause):
        assert lock.stat().st_mtime > 1
    assert not lock.exists()


@pytest.mark.parametrize("kind", ["file", "full"])
def test_what_is_no_lock_is_not_removed(file: Path, lock: Path, kind: str) -> None:
    if kind == "file":
        lock.write_text("")
    else:
        lock.mkdir()
        (lock / "x").write_text("")
    os.utime(lock, (1, 1))
    with pytest.raises(Changed), claude_lock(file, pause=no_pause):
        pytest.fail("it was held")
    assert lock.exists()


def test_it_is_touched_while_it_is_held(file: Path, lock: Path) -> None:
    with claude_lock(file, touch_every=0.001):
        os.utime(lock, (1, 1))
        ended = threading.Event()
        for _ in range(10_000):
            if lock.stat().st_mtime > 1:
                break
            ended.wait(0.001)
        assert lock.stat().st_mtime > 1


def test_one_that_was_lost_to_somebody_else_stays_theirs(file: Path, lock: Path) -> None:
    with claude_lock(file):
        lock.rename(lock.with_name("aside"))
        lock.mkdir()
    assert lock.is_dir()


def test_without_the_folder_there_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(LocalError), claude_lock(tmp_path / "none" / "history.jsonl"):
        pytest.fail("it was held")
