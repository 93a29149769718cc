"""`claude-syncctl service install|uninstall|start|stop|status`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.ctl.flags import given
from claude_syncd.ctl.options import Command, Option, usage_error
from claude_syncd.ctl.service_hosts import ServiceHost, ServiceStatus, service_host
from claude_syncd.ctl.terminal import say
from claude_syncd.errors import NotSetUp, SyncError
from claude_syncd.local.home import Places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CARRIED = ("CLAUDE_CONFIG_DIR", "CLAUDE_SYNC_HOME")
"""Variables that the service gets from the shell that installs it: without them it would sync another folder."""


COMMAND = Command(
    "service",
    "have systemd or launchd start the daemon at login and keep it running",
    words="install|uninstall|start|stop|status",
    actions=("install", "uninstall", "start", "stop", "status"),
    options=(
        Option("--no-start", "install: start it only at the next login"),
        Option("--json", "status: print one JSON object"),
    ),
)


def run(arguments: Sequence[str]) -> int:
    """Do what the words after `service` say. Raises SyncError and its kin."""
    taken = given(COMMAND, arguments)
    if taken is None:
        return 0
    if not taken.words:
        raise usage_error(COMMAND, "service needs to know what to do: install, uninstall, start, stop or status")
    places = Places.from_environment()
    host = service_host(places)
    action = taken.words[0]
    if action == "install":
        _install(places, host, start=not taken.has("--no-start"))
    elif action == "uninstall":
        host.uninstall()
        say(f"removed {host.file}")
    elif action == "start":
        _set_up(places)
        host.start()
        say("started")
    elif action == "stop":
        host.stop()
        say("stopped")
    else:
        said = host.status()
        say(msgspec.json.encode(said).decode() if taken.has("--json") else _described(said))
    return 0


def daemon_command() -> list[str]:
    """How this installation's daemon is started, by absolute paths."""
    script = Path(sys.executable).with_name("claude-syncd")
    # -P: nothing is imported from the working directory.
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-P", "-m", "claude_syncd"]


def _install(places: Places, host: ServiceHost, *, start: bool) -> None:
    if start:
        _set_up(places)
    host.install(daemon_command(), _carried(os.environ))
    say(f"wrote {host.file}")
    if not start:
        return
    try:
        host.start()
    except SyncError as error:
        raise SyncError(f"installed, but it does not start: {error}", hint=error.hint) from error
    say("started; it starts again at each login")
    if sys.platform.startswith("linux"):
        say("to have it run without a login too: loginctl enable-linger")


def _set_up(places: Places) -> None:
    if not places.config.exists():
        raise NotSetUp("this device is not set up")


def _carried(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to carry over, as absolute paths: a service starts somewhere else."""
    return {name: str(Path(environ[name]).expanduser().absolute()) for name in CARRIED if environ.get(name)}


def _described(said: ServiceStatus) -> str:
    if not said.installed:
        return f"not installed ({said.manager})"
    running = f"running, process {said.pid}" if said.running and said.pid else said.state or "not running"
    lines = [running if not said.text else f"{running}: {said.text}", f"file: {said.file}"]
    lines.append("starts at login: " + ("yes" if said.enabled else "no"))
    return "\n".join(lines)
