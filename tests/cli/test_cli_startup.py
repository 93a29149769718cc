"""What `status` imports: it starts within a few milliseconds of Python itself because this list is short."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claude_syncd.ctl import where
from claude_syncd.local.home import Places

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk

HEAVY = {
    "aiohttp",
    "argparse",
    "asyncio",
    "claude_syncd.errors",
    "claude_syncd.local.home",
    "click",
    "dataclasses",
    "http",
    "inspect",
    "logging",
    "msgspec",
    "pathlib",
    "rich",
    "ssl",
    "structlog",
    "subprocess",
    "tempfile",
    "typing",
    "urllib",
}


def imported(desk: Desk, *arguments: str) -> set[str]:
    program = "import sys; from claude_syncd.ctl.main import main; sys.argv[0] = 'claude-syncctl'; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program, *arguments],
        env=desk.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", ended.stderr, re.MULTILINE))


@pytest.mark.parametrize("command", ["status", "status --json", "poke"])
def test_nothing_heavy_is_imported_on_the_quick_path(served: Desk, command: str) -> None:
    found = imported(served, *command.split())
    assert "claude_syncd.control.client" in found
    assert {name for name in found if name in HEAVY or name.partition(".")[0] in HEAVY} == set()
    assert len({name for name in found if name.startswith("claude_syncd.")}) < 16


@pytest.mark.parametrize(
    ("home", "state"),
    [("/home/u", None), ("/home/u", "/var/s"), ("/home/u", "~/s"), ("/home/u", "s/t"), ("/home/u", ""), ("", None)],
)
def test_it_looks_where_the_daemon_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str, state: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("CLAUDE_SYNC_HOME", raising=False)
    if not home:
        monkeypatch.delenv("HOME")
    if state is not None:
        monkeypatch.setenv("CLAUDE_SYNC_HOME", state)
    places = Places.from_environment()
    assert where.state_folder() == str(places.state)
    assert where.control_socket() == str(places.socket)
    assert where.log_file() == str(places.log)
