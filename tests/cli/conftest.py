"""The installed `claude-syncctl` with a state folder of its own, and a control server in a thread or a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import memory_service
import pytest
from fresh_machine import Machine
from memory_service import MemoryService, served_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CTL = Path(sys.executable).with_name("claude-syncctl")
SERVICE = Path(memory_service.__file__)


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@dataclass
class Desk:
    """A user at a machine."""

    home: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.home / ".claude-sync"

    @property
    def socket(self) -> Path:
        return self.state / "control.sock"

    @property
    def log(self) -> Path:
        return self.state / "log" / "claude-syncd.log"

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], **self.extra}

    def set_up(self) -> None:
        """Pretend that `init` has been here."""
        self.state.mkdir(parents=True, mode=0o700, exist_ok=True)
        (self.state / "device.json").write_text("{}")
        (self.state / "config.toml").write_text("")

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `claude-syncctl` and leave it running."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [CTL, *arguments], env=self.environ, cwd=self.home, text=True, **{"stdout": pipe, "stderr": pipe, **options}
        )

    def ctl(self, *arguments: str) -> Ended:
        """Run `claude-syncctl` to its end."""
        process = self.start(*arguments, stdin=subprocess.DEVNULL)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err
        return Ended(process.returncode, out, err)

    def here(self, *arguments: str) -> Ended:
        """Run it in this process, many times quicker: where it is not about processes."""
        done = Machine(self.home, self.extra).run_here(*arguments)
        assert "Traceback" not in done.out + done.err
        return Ended(done.code, done.out, done.err)


@pytest.fixture
def bare(tmp_path: Path) -> Desk:
    """A machine on which nothing was set up."""
    return Desk(tmp_path)


@pytest.fixture
def desk(bare: Desk) -> Desk:
    """A machine that is set up; no daemon runs."""
    bare.set_up()
    return bare


@pytest.fixture
def start_daemon() -> Iterator[Callable[[Desk, str], subprocess.Popen[str]]]:
    """Gives the function that serves a desk's socket from another process until the test's end."""
    started: list[subprocess.Popen[str]] = []

    def start(desk: Desk, state: str = "idle") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, SERVICE, str(desk.socket), state],
            env=desk.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def served(desk: Desk) -> Iterator[Desk]:
    """A machine whose daemon runs: here in a thread, which starts in no time."""
    with served_by(MemoryService(), desk.socket):
        yield desk
