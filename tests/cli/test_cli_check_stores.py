"""`claude-syncctl check` of a vault in two folders, by the real command: what a user does about what it finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fresh_machine import Machine, new_machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return tmp_path / "one"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return tmp_path / "two"


@pytest.fixture
def machine(tmp_path: Path, one: Path, two: Path) -> Machine:
    """A machine whose vault is in both folders."""
    made = new_machine(tmp_path, "ann")
    (made.home / ".claude").mkdir(exist_ok=True)
    (made.home / ".claude" / "CLAUDE.md").write_text("mine\n")
    for words in (
        ("init", "--folder", str(one), "--generate-key"),
        ("init", "--also", "--folder", str(two)),
        ("sync",),
    ):
        done = made.run_here(*words)
        assert done.code == 0, done.err
    return made


def test_each_store_is_checked_and_what_one_has_damaged_is_put_right(machine: Machine, one: Path, two: Path) -> None:
    sound = machine.run("check")
    assert (sound.code, sound.err) == (0, "")
    told = sound.out.splitlines()
    assert [line.rpartition(": ")[0] for line in told[1:3]] == [f"file://{one}", f"file://{two}"]
    assert told[-1] == "nothing is wrong"
    entry = next(two.glob("devices/*/log/*1"))
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    bad = machine.run("check")
    assert bad.code == 1
    first, *rest = bad.err.splitlines()
    assert first.startswith(f"file://{two}: {entry.relative_to(two)}: ")
    assert f"file://{one} has it whole" in first
    assert [line.partition(": ")[0] for line in rest] == ["error", "hint"]
    assert "1 of them damaged" in bad.out
    report = json.loads(machine.run("check", "--json").out)
    assert [one["store"] for one in report["findings"]] == [f"file://{two}"]
    assert [store["damaged"] for store in report["stores"]] == [0, 1]
    # As it says: moved away, it is copied again.
    entry.unlink()
    away = machine.run_here("check")
    assert "rolled back" in away.err  # the end of a log, which that store had
    assert "behind, 1 object to come" in away.out
    assert machine.run_here("sync").code == 0
    assert entry.read_bytes() == whole
    assert machine.run_here("check", "--read-data").code == 0


def test_a_store_that_is_not_there_is_told_and_fails(machine: Machine, tmp_path: Path, one: Path, two: Path) -> None:
    one.rename(tmp_path / "unplugged")
    done = machine.run("check", "--read-data")
    assert done.code == 1
    assert done.err.startswith(f"error: file://{one} was not checked, it is out of reach: ")
    assert done.err.splitlines()[1].startswith("hint: ")
    assert len(done.err.splitlines()) == 2
    assert f"file://{two}: " in done.out
    assert "nothing is wrong" not in done.out
    told = machine.run_here("check", "--json")
    assert told.code == 1
    assert [bool(store["problem"]) for store in json.loads(told.out)["stores"]] == [True, False]
    two.rename(tmp_path / "unplugged too")
    assert machine.run_here("check").code == 1
