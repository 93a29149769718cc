"""A simulated machine: its own home folder, `~/.claude`, state folder and environment, and the installed commands.

Nothing here imports the package: a machine is used as its owner would, by `claude-syncd` and `claude-syncctl`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from claude_paths import on_device, portable, travels
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

BIN = Path(sys.executable).parent
PASSPHRASE = "correct horse battery staple"
COMMAND_TIMEOUT = 120.0
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
"""That it is gone within five seconds, systemd sees to (tests/service); here others may keep the machine busy."""
QUICK: dict[str, str] = {
    "CLAUDE_SYNC_DEBOUNCE__QUIET": "0.2",
    "CLAUDE_SYNC_POLL__ACTIVE": "0.5",
    "CLAUDE_SYNC_POLL__IDLE": "1",
    "CLAUDE_SYNC_POLL__ROSTER": "2",
    "CLAUDE_SYNC_LIVE__SECONDS": "1",
}
"""Settings with which a test need not wait long for a daemon."""
ON_REQUEST: dict[str, str] = {
    "CLAUDE_SYNC_DEBOUNCE__QUIET": "3600",
    "CLAUDE_SYNC_DEBOUNCE__LIMIT": "3600",
    "CLAUDE_SYNC_POLL__ACTIVE": "3600",
    "CLAUDE_SYNC_POLL__IDLE": "3600",
    "CLAUDE_SYNC_POLL__ROSTER": "3600",
}
"""Settings with which a daemon syncs when a command asks, and never by itself."""
_HISTORY_PROJECT = re.compile(rb'"project":\s*"[^"]*?/(dev/[^"]*)"')


class FileState(NamedTuple):
    """What must be the same of a file on all machines; `mtime` in whole seconds."""

    sha256: str
    mode: int
    mtime: int


Snapshot = dict[str, FileState]


class Machine:
    """`folder` holds all that is of this machine; `store` are the flags of `init` that say where the vault is.

    Keep `folder` short: the control socket is below it, and its path must fit in 100 bytes.
    """

    def __init__(
        self, folder: Path, store: Sequence[str], *, name: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.name = name or folder.name
        self.home = folder / "home"
        self.tree = self.home / ".claude"
        self.state = folder / "state"
        self.store = list(store)
        self.environment = {
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "CLAUDE_CONFIG_DIR": str(self.tree),
            "CLAUDE_SYNC_HOME": str(self.state),
            "NO_COLOR": "1",
            **QUICK,
            **(environment or {}),
        }
        self.run_by: list[str] = []  # a command that runs the others, such as setpriv
        self.daemon: subprocess.Popen[bytes] | None = None
        self._hashes: dict[tuple[str, int, int, int], str] = {}
        self.tree.mkdir(parents=True, mode=0o700, exist_ok=True)

    # Commands

    @staticmethod
    def command(name: str = "claude-syncctl") -> Path:
        """The installed command of this name."""
        return BIN / name

    def ctl(
        self,
        *arguments: str,
        check: bool = True,
        input: str = "",  # noqa: A002 - as subprocess.run names it
        timeout: float = COMMAND_TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run `claude-syncctl`. With `check`, an exit code other than 0 fails the test and shows what was said."""
        done = subprocess.run(
            [*self.run_by, self.command(), *arguments],
            env=self.environment, cwd=self.home, input=input, text=True, capture_output=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(
                f"{self.name}: claude-syncctl {' '.join(arguments)} ended with {done.returncode}\n"
                f"{done.stdout}{done.stderr}{self.story()}"
            )
        return done

    def json(self, *arguments: str, timeout: float = COMMAND_TIMEOUT) -> dict[str, Any]:
        """What a command prints with `--json`."""
        done = self.ctl(*arguments, "--json", timeout=timeout)
        value = json.loads(done.stdout)
        assert isinstance(value, dict), done.stdout
        return value

    def init(self, *more: str, passphrase: str = PASSPHRASE) -> None:
        """Create the vault, or join it if it is there."""
        self.ctl(
            "init", *self.store, "--passphrase-stdin", "--device-name", self.name, "--yes", *more,
            input=f"{passphrase}\n",
        )  # fmt: skip

    def sync(self) -> dict[str, Any]:
        """One push and pull, now; what was done."""
        return self.json("sync")

    def status(self) -> dict[str, Any] | None:
        """The status, or None where there is none to be had. A daemon is asked by its socket: this is called a lot."""
        if self.daemon is not None and not self.run_by:
            return self._ask("/v1/status")
        done = self.ctl("status", "--json", check=False)
        if done.returncode != 0:
            return None
        value: dict[str, Any] = json.loads(done.stdout)
        return value

    def _ask(self, path: str) -> dict[str, Any] | None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(COMMAND_TIMEOUT)
            try:
                client.connect(str(self.state / "control.sock"))
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                answer = HTTPResponse(client)
                answer.begin()
                data = answer.read()
            except (OSError, HTTPException):
                return None
        value: dict[str, Any] = json.loads(data)
        return value if answer.status == 200 else None

    def conflicts(self) -> list[dict[str, Any]]:
        """What `conflicts list` shows."""
        value: list[dict[str, Any]] = self.json("conflicts", "list")["conflicts"]
        return value

    # The daemon

    def start(self) -> Machine:
        """Start the daemon and wait until it answers."""
        self.spawn()
        self.wait_for_answer()
        return self

    def spawn(self) -> None:
        """Start the daemon."""
        assert self.daemon is None, f"{self.name}: the daemon runs already"
        with (self.folder / "daemon.out").open("ab") as out:
            self.daemon = subprocess.Popen(
                [*self.run_by, self.command("claude-syncd")], env=self.environment, cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_for_answer(self) -> None:
        """Until the daemon that was started answers."""
        wait_until(self._answers, START_TIMEOUT, f"the daemon of {self.name} answers", [self])

    def _answers(self) -> bool:
        if self.daemon is not None and self.daemon.poll() is not None:
            raise AssertionError(f"{self.name}: the daemon ended with {self.daemon.returncode}\n{self.story()}")
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.state / "control.sock"))
            except OSError:
                return False
        return self.status() is not None

    def stop(self) -> None:
        """End the daemon as a service manager does: SIGTERM, and it is gone in time with code 0."""
        daemon, self.daemon = self.daemon, None
        assert daemon is not None, f"{self.name}: no daemon runs"
        daemon.terminate()
        try:
            code = daemon.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
            raise AssertionError(f"{self.name}: alive {STOP_TIMEOUT:g} s after SIGTERM\n{self.story()}") from None
        assert code == 0, f"{self.name}: ended with {code} after SIGTERM\n{self.story()}"

    def kill(self) -> None:
        """End the daemon as a power cut does."""
        daemon, self.daemon = self.daemon, None
        assert daemon is not None, f"{self.name}: no daemon runs"
        daemon.send_signal(signal.SIGKILL)
        code = daemon.wait()
        assert code == -signal.SIGKILL, f"{self.name}: it had ended by itself with {code}\n{self.story()}"

    def close(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None

    # Files

    def file(self, portable_path: str) -> Path:
        """Where the file of this portable path (without `tree/`) is on this machine."""
        return self.tree / on_device(portable_path, str(self.home))

    def snapshot(self) -> Snapshot:
        """All files that travel, by portable path (without `tree/`), so that machines can be compared.

        Of `history.jsonl` the projects are told from the home folder, since each machine has its own there.
        """
        found: Snapshot = {}
        for folder, _, names in os.walk(self.tree):
            for name in names:
                path = os.path.join(folder, name)
                relative = os.path.relpath(path, self.tree)
                if travels(relative) and (state := self._look(path, relative)) is not None:
                    found[portable(relative, str(self.home))] = state
        return found

    def _look(self, path: str, relative: str) -> FileState | None:
        try:
            seen = os.stat(path, follow_symlinks=False)
            key = (path, seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if key not in self._hashes:
                content = Path(path).read_bytes()
                if relative == "history.jsonl":
                    content = _HISTORY_PROJECT.sub(rb'"project":"~/\1"', content)
                self._hashes[key] = hashlib.sha256(content).hexdigest()
        except FileNotFoundError:
            return None
        return FileState(self._hashes[key], seen.st_mode & 0o777, seen.st_mtime_ns // 10**9)

    def everything(self) -> Iterable[Path]:
        """Every regular file of this machine's tree and state."""
        for root in (self.tree, self.state):
            for path in root.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    yield path

    def story(self) -> str:
        """For a failure: the status and the ends of the logs."""
        done = self.ctl("status", "--json", check=False, timeout=20)
        lines = [f"--- {self.name}: status ({done.returncode}) {done.stdout.strip()} {done.stderr.strip()}"]
        logs = self.state / "log"
        for log, count in ((self.folder / "daemon.out", 5), (logs / "claude-syncd.log", 15), (logs / "crash", 40)):
            if log.exists():
                lines.append(f"--- {self.name}: end of {log.name}")
                lines += log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(lines)


def start_all(machines: Sequence[Machine]) -> None:
    """Start the daemons of all and wait until they answer."""
    for machine in machines:
        machine.spawn()
    for machine in machines:
        machine.wait_for_answer()


def differences(machines: Sequence[Machine]) -> list[str]:
    """Paths in which the trees of `machines` differ, with what each has; empty if they are equal."""
    snapshots = [machine.snapshot() for machine in machines]
    paths = sorted(set().union(*snapshots))
    return [
        f"{path}: " + ", ".join(f"{m.name} {s.get(path)}" for m, s in zip(machines, snapshots, strict=True))
        for path in paths
        if len({snapshot.get(path) for snapshot in snapshots}) > 1
    ]


def sync_all(machines: Sequence[Machine], timeout: float = 60) -> None:
    """`sync` at one after the other, until a whole turn had nothing left to do.

    What a machine holds back because a session seems to be running there is waited for. A daemon does that by itself
    when the time has come, perhaps between two commands of a turn, which then says nothing of it: so the turn after
    one with something parked does not count yet.
    """
    waited = False

    def quiet() -> bool:
        nonlocal waited
        done = [machine.sync() for machine in machines]
        might_act, waited = waited, any(d["parked"] for d in done)
        moved = any(d[what] for d in done for what in ("uploaded", "downloaded", "deleted"))
        return not (moved or waited or might_act)

    wait_until(quiet, timeout, "nothing left to sync", machines)


def _restless(machine: Machine) -> str:
    status = machine.status()
    if status is None:
        return f"{machine.name} does not answer"
    if status["state"] != "idle" or any(status["pending"].values()):
        return f"{machine.name} is {status['state']}, pending {status['pending']}"
    return ""


def settle(machines: Sequence[Machine], timeout: float = 60) -> None:
    """Wait until all are idle, nothing is pending, and the trees are equal."""
    last = ""

    def settled() -> bool:
        nonlocal last
        last = next(filter(None, map(_restless, machines)), "")
        if not last:
            unequal = differences(machines)
            last = "; ".join(unequal[:5]) + (f" and {len(unequal) - 5} more" if len(unequal) > 5 else "")
        return not last

    try:
        wait_until(settled, timeout, "machines at rest with equal trees", machines)
    except AssertionError as failure:
        raise AssertionError(f"{failure}\nlast seen: {last}") from None
