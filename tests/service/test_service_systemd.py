"""The daemon under a real systemd: installed by the real command, killed, frozen, reloaded, stopped."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.long

CTL = Path(sys.executable).with_name("claude-syncctl")
SCRIPT = Path(__file__).with_name("user_systemd.sh")
UNIT = "claude-syncd.service"
PATIENCE = 30.0


@dataclass
class Session:
    """A user's session with a systemd of its own."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def state(self) -> Path:
        return self.home / 'state 5% $HOME "q" \\'

    @property
    def unit(self) -> Path:
        return self.home / ".config" / "systemd" / "user" / UNIT

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder}/run/bus",
            "CLAUDE_SYNC_HOME": str(self.state),
        }

    def ctl(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [CTL, *words], env=self.environ, capture_output=True, text=True, timeout=120, check=False, cwd=self.home
        )
        assert done.returncode == code, done.stdout + done.stderr + self.story()
        return done.stdout + done.stderr

    def overridden(self, *settings: str) -> None:
        """Change settings of the unit the way a user would. By default two that make tests quick and strict."""
        folder = self.unit.with_name(f"{UNIT}.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "override.conf").write_text(
            "\n".join(["[Service]", "RestartSec=200ms", "TimeoutStopSec=5", *settings, ""])
        )

    def status(self) -> dict[str, object]:
        said: dict[str, object] = json.loads(self.ctl("service", "status", "--json"))
        return said

    def systemctl(self, *words: str) -> str:
        done = subprocess.run(
            ["systemctl", "--user", *words], env=self.environ, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def story(self) -> str:
        logs = [*self.folder.glob("systemd.log"), *self.state.glob("log/*.log")]
        return self.systemctl("show", UNIT) + "".join(f"\n{log}:\n{log.read_text()[-3000:]}" for log in logs)

    def pid(self) -> int:
        return int(self.systemctl("show", UNIT, "--property=MainPID", "--value"))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, PATIENCE, what)
        except AssertionError as error:
            error.add_note(self.story())
            raise

    def until_running_again(self, old: int) -> None:
        self.until(lambda: self.status()["running"] is True and self.pid() not in (0, old), "it does not come back")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a systemd of its own lives in a mount namespace")
    missing = [name for name in ("unshare", "systemctl", "dbus-daemon") if shutil.which(name) is None]
    if missing or not Path("/lib/systemd/systemd").exists():
        pytest.skip(f"needs Debian's systemd and dbus-user-session ({', '.join(missing)})")
    # One at a time: two of them would share their control groups.
    turn = SCRIPT.open()
    fcntl.flock(turn, fcntl.LOCK_EX)
    # Not pytest's own folder: the paths of sockets have to be short.
    folder = Path(f"/tmp/claude-syncd-systemd-{os.getpid()}")
    folder.mkdir(mode=0o700)
    manager = subprocess.Popen(
        ["unshare", "--mount", "bash", SCRIPT, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
        text=True,
    )
    try:
        assert manager.stdout is not None
        assert manager.stdout.readline() == "ready\n"
        made = Session(folder)
        (made.home / ".claude").mkdir()
        made.overridden()
        yield made
    finally:
        manager.communicate()  # ends its input: systemd stops all units and leaves
        shutil.rmtree(folder)
        turn.close()


@pytest.fixture
def running(session: Session) -> Iterator[Session]:
    """Set up, installed and started."""
    if not session.state.exists():
        session.ctl("init", "--folder", str(session.home / "vault"), "--generate-key")
    said = session.ctl("service", "install")
    assert "started" in said
    assert session.status()["running"] is True
    yield session
    session.ctl("service", "uninstall")


def test_it_is_not_started_before_it_is_set_up(session: Session, tmp_path: Path) -> None:
    other = Session(session.folder)
    done = subprocess.run(
        [CTL, "service", "install"],
        env={**other.environ, "CLAUDE_SYNC_HOME": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert not session.unit.exists()


def test_systemd_has_nothing_to_say_against_the_unit(running: Session) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(running.unit)],
        env=running.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_ready_with_a_status_line_and_starts_at_login(running: Session) -> None:
    said = running.status()
    assert said["manager"] == "systemd"
    assert said["installed"] is True
    assert said["enabled"] is True
    assert said["pid"] == running.pid()
    running.until(lambda: bool(running.status()["text"]), "no status line")
    assert running.systemctl("show", UNIT, "--property=Type,WatchdogUSec,NotifyAccess").split() == [
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogUSec=1min",
    ]


def test_the_shells_folders_are_carried_over_and_the_protection_is_on(running: Session) -> None:
    environ = Path(f"/proc/{running.pid()}/environ").read_bytes().split(b"\0")
    assert b"CLAUDE_SYNC_HOME=" + os.fsencode(running.state) in environ
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{running.pid()}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Umask"] == "0077"


def test_killed_it_comes_back(running: Session) -> None:
    old = running.pid()
    os.kill(old, signal.SIGKILL)
    running.until_running_again(old)


def test_frozen_it_is_killed_by_the_watchdog_and_comes_back(running: Session) -> None:
    try:
        running.overridden("WatchdogSec=4")  # a minute is long
        running.systemctl("daemon-reload")
        running.ctl("service", "start")
        old = running.pid()

        def told() -> str:
            return running.systemctl("show", UNIT, "--property=WatchdogTimestampMonotonic", "--value")

        # Awake it is left alone: it tells in time that it lives, again and again.
        first = told()
        running.until(lambda: told() != first, "no sign of life")
        assert running.pid() == old
        os.kill(old, signal.SIGSTOP)
        running.until_running_again(old)  # a frozen process does not end by itself: the watchdog did it
    finally:
        running.overridden()


def test_reload_keeps_the_process(running: Session) -> None:
    old = running.pid()
    running.systemctl("reload", UNIT)
    running.until(lambda: running.status()["running"] is True, "not running after the reload")
    assert running.pid() == old
    assert running.ctl("status", "--json")


def test_stop_is_clean_within_five_seconds_and_uninstall_leaves_nothing(running: Session) -> None:
    running.ctl("service", "stop")
    assert running.status()["running"] is False
    # Had it taken longer than the five seconds, systemd would have killed it and say "timeout".
    assert running.systemctl("show", UNIT, "--property=Result", "--value").strip() == "success"
    assert running.ctl("service", "uninstall").startswith("removed")
    assert not running.unit.exists()
    assert running.status()["installed"] is False
    assert "not installed" in running.ctl("service", "start", code=1)
