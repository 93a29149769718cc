"""However a daemon ends, the log and stderr say why; what took its word away is told by the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab
    from machines import Machine

pytestmark = pytest.mark.long


@pytest.fixture
def machine(folder_lab: Lab) -> Machine:
    """A machine that is set up; no daemon runs."""
    made = folder_lab.machine("a")
    folder_lab.prepare()
    made.init()
    return made


def logged(machine: Machine) -> list[dict[str, Any]]:
    log = machine.state / "log" / "claude-syncd.log"
    return [json.loads(line) for line in log.read_text().splitlines()]


def printed(machine: Machine) -> str:
    return (machine.folder / "daemon.out").read_text()


def run(machine: Machine) -> subprocess.CompletedProcess[str]:
    """A daemon that ends by itself."""
    return subprocess.run(
        [machine.command("claude-syncd")], env=machine.environment, cwd=machine.home, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def pid_of(machine: Machine) -> int:
    assert machine.daemon is not None
    return machine.daemon.pid


def crash(machine: Machine) -> int:
    """End the daemon as a fault in native code does; its pid."""
    daemon, machine.daemon = machine.daemon, None
    assert daemon is not None
    daemon.send_signal(signal.SIGSEGV)
    assert daemon.wait() == -signal.SIGSEGV
    return daemon.pid


def test_what_can_not_speak_any_more_is_told_by_who_comes_next(machine: Machine) -> None:
    machine.start()
    machine.stop()
    assert [line["event"] for line in logged(machine)] == ["starting", "stopping", "stopped"]
    machine.start()
    crashed = crash(machine)
    machine.start()
    killed = pid_of(machine)
    machine.kill()
    machine.sync()
    machine.start()
    machine.stop()
    # Each end is told once, also where a command came between, and a crash with its place.
    assert [line["pid"] for line in logged(machine) if "ended without a word" in line["event"]] == [crashed, killed]
    (told,) = [line for line in logged(machine) if line["event"] == "the last daemon crashed"]
    assert told["level"] == "error"
    assert "Segmentation fault" in told["trace"]
    assert "daemon.py" in told["trace"]
    assert printed(machine).count("the last daemon crashed") == 1


def test_what_ends_a_daemon_that_starts_is_in_the_log_and_on_stderr(machine: Machine) -> None:
    machine.start()
    refused(machine, "another process (pid ")
    machine.stop()
    (machine.state / "control.sock").mkdir()
    refused(machine, "can't listen on ")
    (machine.state / "control.sock").rmdir()
    with (machine.state / "config.toml").open("a") as config:
        config.write("\nnonsense = 1\n")
    refused(machine, "store.nonsense in ")


def refused(machine: Machine, why: str) -> None:
    """A daemon that ends by itself at once, and says why."""
    done = run(machine)
    assert done.returncode == 1
    assert f"\nerror: {why}" in done.stderr
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr
    ends = [line for line in logged(machine) if line["event"] == "the daemon can't go on"]
    assert ends[-1]["error"].startswith(why)


def test_a_device_that_is_not_set_up_gets_no_folder(folder_lab: Lab) -> None:
    machine = folder_lab.machine("a")
    done = run(machine)
    assert done.returncode == 4
    assert done.stderr.startswith("error: this device is not set up\n")
    assert not machine.state.exists()


def test_stopped_while_it_starts(machine: Machine) -> None:
    config = machine.state / "config.toml"
    config.unlink()
    os.mkfifo(config, 0o600)  # whoever reads it waits for the other end: so it is caught in the middle of its start
    for number in (signal.SIGTERM, signal.SIGINT):
        machine.spawn()
        assert machine.daemon is not None
        other_end: list[int] = []
        wait_until(partial(_opened, config, other_end), 30, "the daemon reads its settings", [])
        machine.daemon.send_signal(signal.SIGHUP)  # "look at everything" has no meaning yet, and must not end it
        machine.daemon.send_signal(number)
        os.close(other_end[0])  # a signal that came just before the read would not end it
        assert machine.daemon.wait(30) == 0
        machine.daemon = None
        assert printed(machine).endswith(f"stopped by {number.name} before it was up\n")
        assert logged(machine)[-1]["event"] == f"stopped by {number.name} before it was up"


def _opened(fifo: Path, ends: list[int]) -> bool:
    try:
        ends.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:  # nobody reads it yet
        return False
    return True
