"""However a daemon ends, the log and stderr say why; what took its word away is told by the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab
    from machines import Machine


@pytest.fixture
def machine(folder_lab: Lab) -> Machine:
    """A machine that is set up; no daemon runs."""
    made = folder_lab.machine("a")
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


def test_a_crash_is_told_by_the_next_daemon(machine: Machine) -> None:
    machine.start()
    assert machine.daemon is not None
    pid = machine.daemon.pid
    machine.daemon.send_signal(signal.SIGSEGV)
    assert machine.daemon.wait() == -signal.SIGSEGV
    machine.daemon = None
    machine.start()
    (ended,) = [line for line in logged(machine) if "ended without a word" in line["event"]]
    assert ended["pid"] == pid
    (crashed,) = [line for line in logged(machine) if line["event"] == "the last daemon crashed"]
    assert crashed["level"] == "error"
    assert "Segmentation fault" in crashed["trace"]
    assert "daemon.py" in crashed["trace"]
    assert "the last daemon crashed" in printed(machine)
    machine.stop()
    machine.start()
    assert [line["event"] for line in logged(machine)].count("the last daemon crashed") == 1, "it is told once"
    machine.stop()


def test_a_kill_is_told_by_whoever_comes_next(machine: Machine) -> None:
    machine.start()
    assert machine.daemon is not None
    pid = machine.daemon.pid
    machine.kill()
    machine.sync()
    machine.start()
    assert [line["pid"] for line in logged(machine) if "ended without a word" in line["event"]] == [pid]
    machine.stop()


def test_a_clean_end_is_no_news(machine: Machine) -> None:
    machine.start()
    machine.stop()
    machine.start()
    machine.stop()
    assert [line["event"] for line in logged(machine)] == ["starting", "stopping", "stopped"] * 2


def test_a_socket_that_can_not_be_made(machine: Machine) -> None:
    (machine.state / "control.sock").mkdir()
    done = run(machine)
    assert done.returncode == 1
    assert "\nerror: can't listen on " in done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in logged(machine) if line["level"] == "error"]
    assert line["event"] == "the daemon can't go on"
    assert line["error"].startswith("can't listen on ")


def test_a_second_daemon(machine: Machine) -> None:
    machine.start()
    done = run(machine)
    assert done.returncode == 1
    assert "\nerror: another process (pid " in done.stderr
    assert any(line.get("error", "").startswith("another process (pid ") for line in logged(machine))
    machine.stop()


def test_a_setting_that_is_wrong(machine: Machine) -> None:
    with (machine.state / "config.toml").open("a") as config:
        config.write("\nnonsense = 1\n")
    done = run(machine)
    assert done.returncode == 1
    assert "\nerror: " in done.stderr
    assert logged(machine)[-1]["event"] == "the daemon can't go on"
    assert "nonsense" in logged(machine)[-1]["error"]


def test_a_device_that_is_not_set_up_gets_no_folder(folder_lab: Lab) -> None:
    machine = folder_lab.machine("a")
    done = run(machine)
    assert done.returncode == 4
    assert done.stderr.startswith("error: this device is not set up\n")
    assert not machine.state.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_it_starts(machine: Machine, number: signal.Signals) -> None:
    config = machine.state / "config.toml"
    config.unlink()
    os.mkfifo(config, 0o600)  # whoever reads it waits for the other end: so it is caught in the middle of its start
    machine.spawn()
    assert machine.daemon is not None
    other_end: list[int] = []
    wait_until(lambda: _opened(config, other_end), 30, "the daemon reads its settings", [])
    machine.daemon.send_signal(signal.SIGHUP)  # "look at everything" has no meaning yet, and must not end it
    machine.daemon.send_signal(number)
    assert machine.daemon.wait(10) == 0
    machine.daemon = None
    for end in other_end:
        os.close(end)
    assert printed(machine).endswith(f"stopped by {number.name} before it was up\n")
    assert logged(machine)[-1]["event"] == f"stopped by {number.name} before it was up"


def _opened(fifo: Path, ends: list[int]) -> bool:
    try:
        ends.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:  # nobody reads it yet
        return False
    return True
