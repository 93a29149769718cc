from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from claude_syncd import log

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk


def write(path: Path, *events: str, mode: str = "a") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        for event in events:
            entry = {"time": "2026-01-31T12:00:00.5Z", "level": "info", "event": event, "logger": "x", "files": 3}
            file.write(json.dumps(entry) + "\n")


def test_the_log_that_the_daemon_writes_is_readable(bare: Desk) -> None:
    bare.extra["TZ"] = "UTC"
    log.configure(bare.log)
    try:
        log.get_logger("claude_syncd.engine").warning("push failed", attempt=2, why="no route to host")
    finally:
        log.close()
    ended = bare.ctl("logs")
    assert ended.code == 0
    assert ended.out.count("\n") == 1
    assert ended.out.endswith(' warning push failed attempt=2 why="no route to host"\n')


def test_times_are_local(desk: Desk) -> None:
    write(desk.log, "begun")
    desk.extra["TZ"] = "EET-2"  # two hours before UTC, without a table of zones
    assert desk.ctl("logs").out == "2026-01-31 14:00:00 info    begun files=3\n"


def test_what_is_no_entry_and_what_is_no_text_is_shown_as_it_is(desk: Desk) -> None:
    write(desk.log, "begun")
    with desk.log.open("ab") as file:
        file.write(b'Segmentation fault \xff\x1b[31m\n[1]\n{"exception": "Trace:\\n  boom"}\n{"time": 5, "level": [')
    lines = desk.ctl("logs").out.splitlines()
    assert lines[1:3] == ["Segmentation fault \ufffd\\x1b[31m", "[1]"]
    assert [line.strip() for line in lines[-2:]] == ["Trace:", "boom"]  # and nothing of the unfinished line


def test_the_last_lines_come_from_as_many_files_as_needed(desk: Desk) -> None:
    write(desk.log.with_name("claude-syncd.log.2"), *(f"a{n}" for n in range(5)))
    write(desk.log.with_name("claude-syncd.log.1"), *(f"b{n}" for n in range(2000)))
    write(desk.log, "c0", "c1")

    def events(number: int) -> list[str]:
        return [entry["event"] for entry in desk.ctl("logs", "-n", str(number), "--json").json["lines"]]

    assert events(0) == []
    assert events(1) == ["c1"]
    assert events(3) == ["b1999", "c0", "c1"]
    assert events(2004) == ["a3", "a4", *(f"b{n}" for n in range(2000)), "c0", "c1"]
    assert len(events(99999)) == 2007
    assert len(desk.ctl("logs").out.splitlines()) == 50


def test_follow_goes_on_over_a_rotation(desk: Desk) -> None:
    write(desk.log, "one")
    following = desk.start("logs", "-f")
    assert following.stdout is not None
    assert " one " in following.stdout.readline()
    write(desk.log, "two")
    assert " two " in following.stdout.readline()
    desk.log.rename(desk.log.with_name("claude-syncd.log.1"))
    write(desk.log.with_name("claude-syncd.log.1"), "three")
    write(desk.log, "four")
    assert " three " in following.stdout.readline()
    assert " four " in following.stdout.readline()
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=20)
    assert (following.returncode, err) == (130, "")


def test_without_a_log(bare: Desk) -> None:
    assert bare.ctl("logs").code == 4
    bare.set_up()
    ended = bare.ctl("logs")
    assert ended.code == 1
    assert ended.err.startswith("error: there is no log yet at ")
    bare.log.mkdir(parents=True)
    assert bare.ctl("logs").code == 1
