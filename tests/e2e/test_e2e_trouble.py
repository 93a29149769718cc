"""Things break: the store is gone, the disk is full or read-only, the state is lost, the clock is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import set_up
from machines import differences, settle, start_all, sync_all
from realistic_tree import quick_tree
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab
    from machines import Machine
    from vaults import FolderVault

pytestmark = pytest.mark.long

DAY = 86400


@pytest.fixture
def pair(folder_lab: Lab) -> tuple[Machine, Machine]:
    """Two machines with the same tree; no daemon runs."""
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    quick_tree(a.tree, a.home)
    folder_lab.prepare()
    set_up([a, b])
    return a, b


def test_a_store_that_is_gone_comes_back(pair: tuple[Machine, Machine], folder_vault: FolderVault) -> None:
    a, b = pair
    start_all([a, b])
    settle([a, b])
    away = folder_vault.folder.with_name("away")
    folder_vault.folder.rename(away)
    (a.tree / "rules/offline.md").write_text("# Written while the store was gone\n")

    def troubled() -> bool:
        status = a.json("status")
        return status["state"] in {"offline", "error"} and bool(status["last_error"])

    wait_until(troubled, 30, "A says that the store is gone", [a])
    assert a.daemon is not None
    assert a.daemon.poll() is None
    # It must not take an empty place for an empty vault and begin afresh.
    assert not folder_vault.folder.exists()
    away.rename(folder_vault.folder)
    wait_until((b.tree / "rules/offline.md").exists, 90, "B gets what A wrote meanwhile", [a, b])
    settle([a, b])
    a.stop()
    b.stop()


def test_commands_say_that_the_store_is_gone(pair: tuple[Machine, Machine], folder_vault: FolderVault) -> None:
    a, _ = pair
    folder_vault.folder.rename(folder_vault.folder.with_name("away"))
    (a.tree / "rules/offline.md").write_text("# Offline\n")
    done = a.ctl("sync", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lost_state_heals(pair: tuple[Machine, Machine], folder_vault: FolderVault) -> None:
    a, b = pair
    size = sum(map(len, folder_vault.stored().values()))
    before = a.snapshot()
    for path in a.state.glob("state.db*"):
        path.unlink()
    # What happened on both sides while nobody kept books must survive as well.
    (a.tree / "agents/new-at-a.md").write_text("# New at A\n")
    (b.tree / "agents/new-at-b.md").write_text("# New at B\n")
    b.sync()
    done = a.sync()
    assert done["bytes_up"] < size / 4
    sync_all([a, b])
    assert differences([a, b]) == []
    after = a.snapshot()
    assert {name: after[name] for name in before} == before
    assert {"agents/new-at-a.md", "agents/new-at-b.md"} <= set(after)
    assert a.conflicts() == []


def test_a_broken_state_heals(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    for path in a.state.glob("state.db-*"):
        path.unlink()
    database = a.state / "state.db"
    content = database.read_bytes()
    database.write_bytes(content[:100] + b"\xff" * (len(content) // 2) + content[100 + len(content) // 2 :])
    before = a.snapshot()
    (b.tree / "agents/new-at-b.md").write_text("# New at B\n")
    sync_all([b, a, b])
    assert differences([a, b]) == []
    assert set(before) < set(a.snapshot())


def test_a_restored_old_state_heals(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    saved = a.folder / "saved"
    shutil.copytree(a.state, saved, ignore=shutil.ignore_patterns("control.sock"))
    (a.tree / "agents/reviewer.md").write_text("# Changed after the backup\n")
    sync_all([a, b])
    shutil.rmtree(a.state)
    saved.rename(a.state)
    (a.tree / "agents/tester.md").write_text("# Changed after the restore\n")
    sync_all([a, b])
    assert differences([a, b]) == []
    assert (b.tree / "agents/tester.md").read_text() == "# Changed after the restore\n"
    assert (b.tree / "agents/reviewer.md").read_text() == "# Changed after the backup\n"


@pytest.mark.parametrize("offset", [-DAY, DAY])
def test_wrong_times_of_files_do_not_decide(pair: tuple[Machine, Machine], offset: int) -> None:
    a, b = pair
    note = b.tree / "agents/reviewer.md"
    note.write_text("# Edited, with a clock that is wrong\n")
    moment = time.time() + offset
    os.utime(note, (moment, moment))
    sync_all([b, a])
    assert (a.tree / "agents/reviewer.md").read_text() == "# Edited, with a clock that is wrong\n"
    assert int((a.tree / "agents/reviewer.md").stat().st_mtime) == int(moment)
    # And an edit that follows it wins although its time is earlier.
    (a.tree / "agents/reviewer.md").write_text("# Edited again\n")
    sync_all([a, b])
    assert note.read_text() == "# Edited again\n"
    assert a.conflicts() == []


@pytest.mark.servers
@pytest.mark.parametrize("offset", ["-25h", "+25h"])
def test_a_machine_whose_clock_is_wrong_by_a_day(folder_lab: Lab, offset: str) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    wrong = {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    a, b = folder_lab.machine("a"), folder_lab.machine("b", settings=wrong)
    quick_tree(a.tree, a.home)
    folder_lab.prepare()
    a.init()
    b.init()
    start_all([a, b])
    settle([a, b])
    for machine in (a, b):
        (machine.tree / f"rules/of-{machine.name}.md").write_text("# New\n")
        (machine.tree / "agents/reviewer.md").write_text(f"# Edited at {machine.name}\n")
        settle([a, b])
    assert (a.tree / "agents/reviewer.md").read_text() == "# Edited at b\n"
    assert (a.tree / "rules/of-b.md").exists()
    assert (b.tree / "rules/of-a.md").exists()
    assert a.conflicts() == []
    a.stop()
    b.stop()


@pytest.fixture
def bound_by_modes(pair: tuple[Machine, Machine]) -> Machine:
    """B, whose processes may write only where the modes of files allow it, also when root runs the tests."""
    b = pair[1]
    if os.geteuid() == 0:
        gone = "-dac_override,-dac_read_search"
        b.run_by = ["setpriv", "--inh-caps", gone, "--bounding-set", gone]
        subprocess.run([*b.run_by, "true"], check=True)
    return b


def test_a_folder_that_can_not_be_written(pair: tuple[Machine, Machine], bound_by_modes: Machine) -> None:
    a, b = pair[0], bound_by_modes
    (a.tree / "agents/new.md").write_text("# New\n")
    (a.tree / "rules/new.md").write_text("# New\n")
    a.sync()
    (b.tree / "agents").chmod(0o500)
    done = b.ctl("sync", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "agents" in done.stderr
    assert "Traceback" not in done.stderr
    assert (b.tree / "rules/new.md").exists(), "the rest is done"
    (b.tree / "agents").chmod(0o700)
    sync_all([b, a])
    assert differences([a, b]) == []


def test_a_daemon_outlives_a_folder_that_can_not_be_written(
    pair: tuple[Machine, Machine], bound_by_modes: Machine
) -> None:
    a, b = pair[0], bound_by_modes
    start_all([a, b])
    settle([a, b])
    (b.tree / "agents").chmod(0o500)
    (a.tree / "agents/new.md").write_text("# New\n")
    (a.tree / "rules/new.md").write_text("# New\n")
    wait_until(lambda: "permission denied" in str(b.json("status")["last_error"]), 60, "B says what it can't do", [b])
    wait_until((b.tree / "rules/new.md").exists, 60, "B gets the rest", [b])
    assert not (b.tree / "agents/new.md").exists()
    (b.tree / "agents").chmod(0o700)
    settle([a, b])
    assert (b.tree / "agents/new.md").exists()
    assert b.json("status")["last_error"] is None
    a.stop()
    b.stop()


@pytest.fixture
def tiny_disk(short_folder: Path) -> Iterator[Path]:
    """A file system of 1 MB; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a file system")
    mount = short_folder / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], check=False, capture_output=True, text=True
    )
    if made.returncode != 0:
        pytest.skip(f"this kernel does not let us mount: {made.stderr.strip()}")
    yield mount
    subprocess.run(["umount", mount], check=True)


@pytest.fixture
def machine_with_tiny_disk(folder_lab: Lab, tiny_disk: Path) -> Machine:
    """A machine whose `~/.claude` is on the tiny disk; not set up."""
    machine = folder_lab.machine("tiny")
    machine.tree.rmdir()
    machine.environment["CLAUDE_CONFIG_DIR"] = str(tiny_disk / "claude")
    machine.tree = tiny_disk / "claude"
    machine.tree.mkdir()
    return machine


def test_a_full_disk_loses_nothing(folder_lab: Lab, machine_with_tiny_disk: Machine, tiny_disk: Path) -> None:
    a, tiny = folder_lab.machine("a"), machine_with_tiny_disk
    quick_tree(a.tree, a.home)
    folder_lab.prepare()
    a.init()
    a.sync()
    tiny.init()
    (tiny.tree / "rules").mkdir()
    (tiny.tree / "rules/mine.md").write_text("# Mine\n")
    done = tiny.ctl("sync", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    # What came is whole, what was there is still there, and nothing half written lies about.
    there = {path: state for path, state in tiny.snapshot().items() if path != "rules/mine.md"}
    complete = a.snapshot()
    assert {path: complete[path] for path in there} == there
    assert (tiny.tree / "rules/mine.md").read_text() == "# Mine\n"
    subprocess.run(["mount", "-o", "remount,size=64m", tiny_disk], check=True)
    sync_all([tiny, a])
    assert differences([a, tiny]) == []
    assert set(complete) | {"rules/mine.md"} == set(tiny.snapshot())
