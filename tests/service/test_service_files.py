"""The service files as they are rendered: words with every awkward character arrive whole, and every key is known."""

from __future__ import annotations

import plistlib
import shlex
from pathlib import Path

import pytest

from claude_syncd.ctl import service_hosts
from claude_syncd.ctl.service import daemon_command
from claude_syncd.ctl.service_text import LABEL, launchd_plist, systemd_unit
from claude_syncd.errors import SyncError, UsageError
from claude_syncd.local.home import Places

AWKWARD = "/a b/50% of $HOME/\"q\" 'r' <&> \\n @EXEC@ ü"

# launchd.plist(5), what of it is used here.
SCHEMA: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "Umask": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}


def places(home: Path) -> Places:
    return Places(tree=home / ".claude", state=home / ".claude-sync", user_home=home)


def lines_of(unit: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]


def test_the_plist_is_what_launchd_takes() -> None:
    plist = plistlib.loads(launchd_plist([AWKWARD, "-P"], {"CLAUDE_SYNC_HOME": AWKWARD}, AWKWARD).encode())
    assert {key: type(value) for key, value in plist.items()} == SCHEMA
    assert plist["Label"] == LABEL
    assert plist["ProgramArguments"] == [AWKWARD, "-P"]
    assert plist["EnvironmentVariables"] == {"CLAUDE_SYNC_HOME": AWKWARD}
    assert plist["StandardOutPath"] == plist["StandardErrorPath"] == AWKWARD
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["RunAtLoad"] is True
    assert plist["ProcessType"] == "Background"
    assert plist["Umask"] == 0o077


def test_a_plist_without_environment_is_valid_too() -> None:
    assert plistlib.loads(launchd_plist(["/x"], {}, "/y").encode())["EnvironmentVariables"] == {}


def test_the_unit_quotes_what_systemd_would_interpret() -> None:
    unit = systemd_unit([AWKWARD, "-P"], {"CLAUDE_SYNC_HOME": AWKWARD})
    (start,) = lines_of(unit, "ExecStart")
    assert start.startswith(":")  # no $variables
    # systemd's quotes are the shell's double quotes here, but for the doubled %.
    assert shlex.split(start[1:].replace("%%", "%")) == [AWKWARD, "-P"]
    (environment,) = lines_of(unit, "Environment")
    assert environment.startswith('"CLAUDE_SYNC_HOME=/a b/50%% of $HOME/\\"q\\" ')
    assert lines_of(unit, "SystemCallFilter") == ["@system-service"]


def test_the_unit_without_environment() -> None:
    unit = systemd_unit(["/x"], {})
    assert lines_of(unit, "Environment") == []
    assert lines_of(unit, "Type") == ["notify"]
    assert lines_of(unit, "WatchdogSec") == ["60"]
    assert lines_of(unit, "TimeoutStopSec") == ["10"]


@pytest.mark.parametrize("text", ["a\nExecStart=/bin/evil", "a\0b", "a\x7f"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        systemd_unit(["/x"], {"CLAUDE_CONFIG_DIR": text})
    with pytest.raises(UsageError):
        launchd_plist(["/x"], {"CLAUDE_CONFIG_DIR": text}, "/y")


def test_the_command_is_this_installations_daemon() -> None:
    first = Path(daemon_command()[0])
    assert first.is_absolute()
    assert first.exists()


def test_each_platform_has_its_host(tmp_path: Path) -> None:
    mac = service_hosts.service_host(places(tmp_path), {}, "darwin")
    assert mac.file == tmp_path / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def test_without_a_service_manager_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SyncError, match="there is no systemd") as caught:
        service_hosts.service_host(places(tmp_path), {}, "linux")
    assert "claude-syncd" in caught.value.hint
    mac = service_hosts.service_host(places(tmp_path), {}, "darwin")
    with pytest.raises(SyncError, match="there is no launchctl"):
        mac.install(["/x"], {})
    assert not mac.file.exists()


def test_launchd_is_driven_by_launchctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No launchd here: a script in its place notes what it is told, and answers as launchctl does."""
    told = tmp_path / "told"
    script = tmp_path / "launchctl"
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >>"{told}"\n'
        '[ "$1" = print ] || exit 0\n'
        'printf "gui/0/x = {\\n\\tstate = running\\n\\n\\tpid = 42\\n\\tsub = {\\n\\t\\tstate = active\\n\\t}\\n}\\n"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    host = service_hosts.service_host(places(tmp_path), {}, "darwin")
    host.install(["/x"], {"A": "b"})
    assert plistlib.loads(host.file.read_bytes())["ProgramArguments"] == ["/x"]
    said = host.status()
    assert (said.running, said.pid, said.state, said.installed) == (True, 42, "running", True)
    host.uninstall()
    assert not host.file.exists()
    assert [line.split()[0] for line in told.read_text().splitlines()] == [
        *("print", "bootout", "bootstrap", "print", "bootout"),
    ]


def test_systemds_complaints_become_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "systemctl"
    script.write_text("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    host = service_hosts.service_host(places(tmp_path), {}, "linux")
    with pytest.raises(SyncError, match="systemd has no session"):
        host.install(["/x"], {})
    assert not host.file.exists()
    script.write_text("#!/bin/sh\necho 'Unit is masked' >&2; exit 1\n")
    with pytest.raises(SyncError, match="Unit is masked"):
        host.status()
