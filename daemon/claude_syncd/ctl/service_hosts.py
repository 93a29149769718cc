"""The two service managers that keep a user's daemon running: systemd's user instance and launchd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from claude_syncd.ctl.service_text import LABEL, UNIT, launchd_plist, systemd_unit
from claude_syncd.errors import LocalError, SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claude_syncd.local.home import Places

_PATIENCE = 150.0  # seconds; longer than TimeoutStartSec


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the service manager says. `text` is the daemon's own status line."""

    manager: str
    file: str
    installed: bool
    running: bool
    enabled: bool = False
    pid: int | None = None
    text: str = ""
    state: str = ""


class ServiceHost(Protocol):
    """A service manager; every method raises SyncError with its complaint."""

    @property
    def file(self) -> Path:
        """The service file."""
        ...

    def install(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Write the service file and have it started at each login."""
        ...

    def uninstall(self) -> None:
        """Stop it and take the service file away; nothing installed is no error."""
        ...

    def start(self) -> None:
        """Start it, or start it again; returns when it is ready, where the service manager can tell."""
        ...

    def stop(self) -> None:
        """Stop it; returns when it has ended."""
        ...

    def status(self) -> ServiceStatus:
        """How it is."""
        ...


def service_host(places: Places, environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> ServiceHost:
    """The one that this machine has. Raises SyncError where there is none."""
    if platform == "darwin":
        return Launchd(places)
    if shutil.which("systemctl") is None:
        raise SyncError(
            "there is no systemd on this machine",
            hint="run `claude-syncd` in the foreground, or let your own service manager start it",
        )
    config_home = environ.get("XDG_CONFIG_HOME")
    folder = Path(config_home) if config_home else places.user_home / ".config"
    return Systemd(folder / "systemd" / "user" / UNIT)


class Systemd:
    """`systemctl --user`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def install(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """See ServiceHost."""
        text = systemd_unit(command, environment)
        _systemctl("show-environment")  # fails here, before anything is written, where nobody answers
        _write(self.file, text)
        _systemctl("daemon-reload")
        _systemctl("enable", UNIT)

    def uninstall(self) -> None:
        """See ServiceHost."""
        if self.file.exists():
            _systemctl("disable", "--now", UNIT)
            self.file.unlink(missing_ok=True)
        _systemctl("daemon-reload")

    def start(self) -> None:
        """See ServiceHost."""
        self._installed()
        # After ten failures in five minutes systemd refuses until this is said.
        _systemctl("reset-failed", UNIT, check=False)
        _systemctl("restart", UNIT)

    def stop(self) -> None:
        """See ServiceHost."""
        self._installed()
        _systemctl("stop", UNIT)

    def status(self) -> ServiceStatus:
        """See ServiceHost."""
        wanted = "ActiveState,SubState,MainPID,StatusText,UnitFileState"
        lines = _systemctl("show", UNIT, f"--property={wanted}").splitlines()
        shown = dict(line.split("=", 1) for line in lines if "=" in line)
        return ServiceStatus(
            manager="systemd",
            file=str(self.file),
            installed=self.file.exists(),
            running=shown.get("ActiveState") in ("active", "reloading"),
            enabled=shown.get("UnitFileState") == "enabled",
            pid=int(shown.get("MainPID", "0")) or None,
            text=shown.get("StatusText", ""),
            state=f"{shown.get('ActiveState', 'unknown')} ({shown.get('SubState', 'unknown')})",
        )

    def _installed(self) -> None:
        if not self.file.exists():
            raise SyncError("the service is not installed", hint="run `claude-syncctl service install`")


class Launchd:
    """`launchctl`, in the user's graphical session."""

    def __init__(self, places: Places) -> None:
        self.file = places.user_home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self._output = places.log.with_name("launchd.log")
        self._domain = f"gui/{os.getuid()}"

    def install(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """See ServiceHost. launchd starts it at once."""
        text = launchd_plist(command, environment, str(self._output))
        if self.status().state:
            _launchctl("bootout", f"{self._domain}/{LABEL}", check=False)
        _write(self.file, text)
        _launchctl("bootstrap", self._domain, str(self.file))

    def uninstall(self) -> None:
        """See ServiceHost."""
        _launchctl("bootout", f"{self._domain}/{LABEL}", check=False)
        self.file.unlink(missing_ok=True)

    def start(self) -> None:
        """See ServiceHost."""
        if not self.status().state:
            _launchctl("bootstrap", self._domain, str(self.file))
        _launchctl("kickstart", "-k", f"{self._domain}/{LABEL}")

    def stop(self) -> None:
        """See ServiceHost."""
        _launchctl("bootout", f"{self._domain}/{LABEL}")

    def status(self) -> ServiceStatus:
        """See ServiceHost. `state` is empty where launchd does not know it."""
        lines = _launchctl("print", f"{self._domain}/{LABEL}", check=False).splitlines()
        shown = dict(line.strip().split(" = ", 1) for line in reversed(lines) if " = " in line)
        pid = shown.get("pid", "")
        return ServiceStatus(
            manager="launchd",
            file=str(self.file),
            installed=self.file.exists(),
            running=shown.get("state") == "running",
            enabled=bool(lines),
            pid=int(pid) if pid.isdigit() else None,
            state=shown.get("state", ""),
        )


def _systemctl(*words: str, check: bool = True) -> str:
    return _run(["systemctl", "--user", "--no-pager", *words], check=check)


def _launchctl(*words: str, check: bool = True) -> str:
    return _run(["launchctl", *words], check=check)


def _run(command: list[str], *, check: bool) -> str:
    """What the command printed; with `check` unset nothing where it failed. Raises SyncError with its complaint."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise SyncError(
            f"there is no {command[0]} on this machine", hint="run `claude-syncd` in the foreground"
        ) from None
    except subprocess.TimeoutExpired:
        raise SyncError(f"`{' '.join(command)}` does not come to an end") from None
    if done.returncode == 0:
        return done.stdout
    if not check:
        return ""
    complaint = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
    if "Failed to connect to bus" in complaint or "$DBUS_SESSION_BUS_ADDRESS" in complaint:
        raise SyncError(
            "systemd has no session for this user here",
            hint="log in as that user (not with su or sudo), or run `claude-syncd` in the foreground",
        )
    raise SyncError(f"`{' '.join(command)}` failed: {complaint}", hint="look at `claude-syncctl logs`")


def _write(file: Path, text: str) -> None:
    """The service file, readable by all like any; whole or not at all."""
    temporary = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise LocalError(f"can't write {file}: {error.strerror}") from error
