from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from claude_syncd.local.live import live_sessions


def put(tree: Path, name: str, content: object) -> None:
    (tree / "sessions").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (tree / "sessions" / name).write_text(text)


def start_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_a_session_lives_as_long_as_its_process(tree: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as claude:
        put(tree, f"{claude.pid}.json", {"pid": claude.pid, "sessionId": "s1", "cwd": "/x", "kind": "interactive"})
        assert live_sessions(tree) == {"s1": claude.pid}
        claude.communicate(b"\n")
    assert live_sessions(tree) == {}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times come from /proc")
def test_a_pid_that_went_to_another_process_is_dead(tree: Path) -> None:
    pid = os.getpid()
    for start, alive in [
        (start_of(pid), True),
        (int(start_of(pid)), True),
        ("1", False),
        (7, False),
        (None, True),
        ("Mon Jan  5 10:00:00 2026", True),  # of a form that proves nothing
    ]:
        put(tree, f"{pid}.json", {"pid": pid, "sessionId": "s", "procStart": start})
        assert live_sessions(tree) == ({"s": pid} if alive else {}), start


def test_junk_is_passed_over(tree: Path, tmp_path: Path) -> None:
    assert live_sessions(tree) == {}
    pid = os.getpid()
    put(tree, f"{pid}.json", {"pid": pid, "sessionId": "good"})
    (tmp_path / "outside.json").write_text(json.dumps({"pid": 1, "sessionId": "linked"}))
    (tree / "sessions/1.json").symlink_to(tmp_path / "outside.json")
    put(tree, "2.json", "{")
    put(tree, "3.json", {"pid": 4, "sessionId": "of another pid"})
    put(tree, "5.json", {"pid": "5", "sessionId": "x"})
    put(tree, "6.json", {"pid": 6, "sessionId": "x" * 100_000})
    put(tree, "7.json", "[" * 100_000)
    put(tree, "-8.json", {"pid": -8, "sessionId": "x"})
    put(tree, "9.json.tmp", {"pid": 9, "sessionId": "x"})
    put(tree, "10.json", {"pid": 10, "sessionId": ""})
    (tree / "sessions/11.json").mkdir()
    os.mkfifo(tree / "sessions/12.json")
    (tree / "sessions/13.json").write_bytes(b"\xff\xfe\x00")
    assert live_sessions(tree) == {"good": pid}
