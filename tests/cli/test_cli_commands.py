"""Every command by the real program, against a real socket: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from claude_syncd import __version__
from claude_syncd.ctl.table import COMMANDS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Desk

    StartDaemon = Callable[[Desk, str], subprocess.Popen[str]]

RUN_FIELDS = {
    "uploaded",
    "downloaded",
    "deleted",
    "conflicts",
    "parked",
    "bytes_up",
    "bytes_down",
    "requests",
}


def test_status_json_has_what_scripts_rely_on(served: Desk) -> None:
    ended = served.ctl("status", "--json")
    assert (ended.code, ended.err) == (0, "")
    status = ended.json
    assert status["state"] == "idle"
    assert status["version"] == __version__
    assert set(status["device"]) >= {"id", "name"}
    assert status["vault"] == {"id": "f" * 32, "store": "s3://bucket/prefix"}
    assert status["pending"] == {"upload": 3, "download": 0, "parked": 1}
    assert status["conflicts"] == 2
    assert status["last_push"] == "2026-01-31T12:00:00Z"
    assert status["last_pull"] is None
    assert status["last_error"] is None
    assert status["daemon"] is True
    assert [device["name"] for device in status["devices"]] == ["laptop", "desktop"]


def test_status_is_readable(served: Desk) -> None:
    ended = served.ctl("status")
    assert ended.code == 0
    for text in ("laptop", "s3://bucket/prefix", "3 to upload, 1 parked", "never", "`claude-syncctl conflicts`"):
        assert text in ended.out
    assert "\x1b" not in ended.out


def test_status_ends_with_what_the_user_should_do(desk: Desk, start_daemon: StartDaemon) -> None:
    start_daemon(desk, "held")
    ended = desk.ctl("status")
    assert ended.code == 0
    assert ended.out.endswith("problem: 612 of 900 files vanished at once\nhint: answer it\n")


@pytest.mark.parametrize("kind", ["push", "pull", "sync"])
def test_a_run_reports_what_it_did(served: Desk, kind: str) -> None:
    ended = served.ctl(kind, "--json")
    assert (ended.code, set(ended.json)) == (0, RUN_FIELDS)
    assert ended.json["requests"] == {"put": 1, "get": 0, "list": 0, "delete": 0, "head": 0}
    plain = served.ctl(kind)
    assert (plain.code, plain.out, plain.err) == (0, "3 files uploaded\n", "")


def test_quiet_and_verbose_are_what_they_say(served: Desk) -> None:
    quiet = served.ctl("push", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    verbose = served.ctl("push", "-v")
    assert (verbose.code, verbose.err) == (0, "uploading (3)\n")
    assert "1.2 MB up, 0 B down; requests: 1 put" in verbose.out


def test_a_dry_run_and_diff_show_the_plan(served: Desk) -> None:
    for command in (("pull", "--dry-run", "--from", "desktop"), ("diff",)):
        shown = served.ctl(*command)
        assert shown.code == 0
        assert "upload" in shown.out
        assert "projects/p/s.jsonl  (desktop)" in shown.out
        lines = served.ctl(*command, "--json").json["diff"]
        assert lines[0] == {
            "path": "CLAUDE.md",
            "change": "upload",
            "local_size": 1500,
            "remote_size": 1400,
            "device": "",
        }


def test_a_failed_run_says_why_and_what_to_do(served: Desk) -> None:
    ended = served.ctl("push", "--project", "/offline", "--json")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "error: the store can't be reached: timed out\n"
        "hint: check the connection; a running daemon tries again by itself\n"
    )
    broken = served.ctl("push", "--project", "/broken")
    assert broken.code == 1
    assert broken.err.startswith("error: internal error: ZeroDivisionError\nhint: ")


def test_a_hold_has_its_own_exit_code_until_it_is_answered(desk: Desk, start_daemon: StartDaemon) -> None:
    start_daemon(desk, "held")
    assert desk.ctl("push").code == 5
    assert desk.ctl("resume").code == 5
    assert desk.ctl("resume", "--accept").code == 0
    assert desk.ctl("push").code == 0


def test_pause_and_resume(served: Desk) -> None:
    assert served.ctl("pause").out == "paused\n"
    assert served.ctl("pause", "--for", "2h", "--json").json["paused_until"] == "2099-01-01T00:00:00Z"
    assert "paused, goes on at 2099-01-01 " in served.ctl("status").out
    assert served.ctl("pause", "--for", "1d").out.startswith("paused, goes on at ")
    assert served.ctl("resume", "-q").out == ""
    assert served.ctl("status", "--json").json["state"] == "idle"


def test_approvals_from_list_to_end(served: Desk) -> None:
    assert served.ctl("status", "--json").json["approvals"] == 2
    assert "2 settings of other devices" in served.ctl("status").out
    listed = served.ctl("approve").out
    for text in (
        "hooks.Stop in settings.json",
        "(not set)",
        "by desktop",
        "dangerous",
        '"command": "~/bin/x \\u200b\\x9b"',
    ):
        assert text in listed
    assert "\x1b" not in listed
    found = served.ctl("approve", "list", "--json").json["approvals"]
    assert [info["setting"] for info in found] == ["hooks.Stop", "cleanupPeriodDays"]
    assert served.ctl("approve", "ba98765432ff").code == 2
    assert served.ctl("approve", "xyz").code == 2
    assert served.ctl("approve", "--reject", "ba9876543210").out == "1 setting rejected\n"
    assert served.ctl("approve", "--all", "--json").json == {"answered": 1}
    assert served.ctl("approve").out == "no settings wait for approval\n"


def test_conflicts_from_list_to_end(served: Desk) -> None:
    listed = served.ctl("conflicts")
    assert "c1f00d  CLAUDE.md" in listed.out
    assert "agents/a_\\x1b[31mb.md" in listed.out  # another machine's file name can't steer this terminal
    assert [found["id"] for found in served.ctl("conflicts", "list", "--json").json["conflicts"]] == [
        "c1f00d",
        "c2beef",
    ]
    shown = served.ctl("conflicts", "show", "c1f00d")
    assert "-old\n+new \\x1b]0;evil\\x07\n" in shown.out
    assert set(served.ctl("conflicts", "show", "c1f00d", "--json").json) == {"conflict", "diff", "truncated"}
    one = served.ctl("conflicts", "resolve", "c1f00d", "--keep", "local")
    assert one.out == "1 conflict resolved\n"
    assert served.ctl("conflicts", "resolve", "--all", "--keep", "both", "--json").json == {"resolved": 1}
    assert served.ctl("conflicts").out == "no conflicts\n"
    assert served.ctl("conflicts", "--json").json == {"conflicts": []}


def test_keep_alone_ends_every_conflict(served: Desk) -> None:
    assert served.ctl("conflicts", "--keep", "remote").out == "2 conflicts resolved\n"


def test_projects_are_listed_with_how_they_are_matched(served: Desk) -> None:
    head, lost, app = served.ctl("projects").out.splitlines()
    assert head.split() == ["project", "matched", "sessions", "here", "folder", "here"]
    assert lost.split(maxsplit=4) == ["-home-ann-app", "nowhere", "1", "0", "its place here belongs to another project"]
    assert app.endswith("  below home         3      2  /home/ann/app (not there)")
    told = served.ctl("projects", "list", "--json").json["projects"]
    assert told[1] == {
        "name": "~-app",
        "match": "home-relative",
        "key": "-home-ann-app",
        "folder": "/home/ann/app",
        "exists": False,
        "sessions": 3,
        "here": 2,
    }


@pytest.mark.parametrize("conflict", ["zz", "../status", "..", "a/b", "ü %00"])
def test_a_conflict_that_is_not_there(served: Desk, conflict: str) -> None:
    ended = served.ctl("conflicts", "show", conflict)
    assert ended.code == 2
    assert ended.err.startswith(f"error: there is no conflict {conflict}\nhint: ")


def test_devices_are_listed_and_renamed(served: Desk) -> None:
    assert "laptop" in served.ctl("devices").out
    assert "tower" in served.ctl("devices", "rename", "tower").out
    names = [device["name"] for device in served.ctl("devices", "list", "--json").json["devices"]]
    assert names == ["tower", "desktop"]
    assert served.ctl("devices", "rename", "a\nb").code == 2


def test_a_device_is_removed_when_nobody_says_no(served: Desk) -> None:
    assert served.ctl("devices", "remove", "desktop").code == 2
    removed = served.ctl("devices", "remove", "desktop", "--yes")
    assert removed.out == "removed desktop; 2 versions that only it held came to this one\n"
    assert served.ctl("devices", "remove", "desktop", "--yes", "--json").json["published"] == 2
    assert served.ctl("devices", "remove", "nobody", "-y").err.startswith("error: no device is called nobody\nhint: ")
    assert served.ctl("devices", "remove", "-y").code == 2


def test_a_check_says_what_is_wrong_and_fails(served: Desk) -> None:
    sound = served.ctl("check")
    assert sound.code == 0
    assert sound.out == (
        "looked at 12 objects\n1 object (2.0 kB) that nothing names will be deleted\nnothing is wrong\n"
    )
    bad = served.ctl("check", "--read-data")
    assert bad.code == 1
    assert "3 versions of files have the right hash" in bad.out
    assert bad.err.startswith("devices/x/packs/y: it was altered\nerror: something is wrong with the vault\nhint: ")
    told = served.ctl("check", "--read-data", "--json")
    assert told.code == 1
    assert told.json["findings"] == [{"object": "devices/x/packs/y", "problem": "it was altered"}]


def test_many_at_once(served: Desk) -> None:
    slow = served.start("push", "--project", "/slow")
    many = [served.start("status", "--json") for _ in range(8)]
    for process in many:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out)["state"]) == (0, "idle")
    assert slow.poll() is None
    slow.kill()
    slow.communicate(timeout=20)


def test_what_nobody_expected_is_told_in_two_lines_and_logged_in_full(desk: Desk) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(desk.socket))
        listening.listen()
        process = desk.start("status")
        accepted, _ = listening.accept()
        with accepted:
            accepted.recv(65536)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    first, second = err.splitlines()
    assert first.startswith("error: internal error: AttributeError: ")
    assert second == f"hint: please report it, with the last lines of {desk.log}"
    assert "Traceback" in json.loads(desk.log.read_text())["exception"]


def test_a_daemon_of_another_version_is_named(desk: Desk) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(desk.socket))
        listening.listen()
        process = desk.start("status")
        accepted, _ = listening.accept()
        with accepted:
            accepted.recv(65536)
            accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "it is of another version" in err


def test_poke_says_nothing_and_metrics_speaks_prometheus(served: Desk) -> None:
    poked = served.ctl("poke")
    assert (poked.code, poked.out, poked.err) == (0, "", "")
    assert served.ctl("metrics").out.endswith("claude_syncd_pokes_total 1\n")


@pytest.mark.parametrize("command", ["poke", "metrics", "status --watch"])
def test_what_needs_a_daemon_says_so(desk: Desk, command: str) -> None:
    ended = desk.ctl(*command.split())
    assert ended.code == 3
    assert ended.err.startswith("error: no daemon is running\nhint: ")


@pytest.mark.parametrize("command", [c.name for c in COMMANDS if c.needs_setup and not c.later])
def test_before_init_everything_else_asks_for_it(bare: Desk, command: str) -> None:
    ended = bare.ctl(command)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == "error: this device is not set up\nhint: run `claude-syncctl init`\n"
    assert not bare.state.exists()


@pytest.mark.parametrize("command", [c.name for c in COMMANDS if c.later])
def test_what_is_not_built_yet_says_so(bare: Desk, command: str) -> None:
    ended = bare.ctl(command, "--anything", "x")
    assert ended.code == 1
    assert ended.err.startswith(f"error: {command} is not in this release yet\nhint: ")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "statsu",
        "status extra",
        "status --jsno",
        "status --json=yes",
        "status --watch --json",
        "push --project",
        "push -x",
        "push --from laptop",
        "pause --for soon",
        "pause --for 0",
        "pause --for 9999d",
        "logs -n many",
        "logs -n -1",
        "logs -f --json",
        "conflicts resolve",
        "conflicts resolve a b --keep local",
        "conflicts resolve --keep local",
        "conflicts resolve a --keep mine",
        "conflicts resolve a --all --keep local",
        "conflicts show",
        "conflicts frobnicate",
        "approve --reject",
        "approve list --all",
        "approve abcd --all",
        "devices rename",
        "devices rename a b",
        "projects frobnicate",
        "projects list list",
        "completion",
        "completion tcsh",
    ],
)
def test_wrong_usage(desk: Desk, words: str) -> None:
    ended = desk.ctl(*words.split())
    assert (ended.code, ended.out) == (2, "")
    if words:
        first, second = ended.err.splitlines()
        assert first.startswith("error: ")
        assert second.startswith("hint: ")


def test_a_near_miss_is_pointed_out(bare: Desk) -> None:
    assert "did you mean status?" in bare.ctl("statsu").err
    assert "did you mean --json?" in bare.ctl("status", "--jsno").err


def test_help_of_everything(bare: Desk) -> None:
    overview = bare.ctl("--help")
    assert (overview.code, overview.err) == (0, "")
    shown, later = overview.out.split("not in this release yet:")
    for command in COMMANDS:
        if not command.hidden:
            assert f"\n  {command.name} " in (later if command.later else shown)
    for command in COMMANDS:
        if not (command.later or command.own_options):
            ended = bare.ctl(command.name, "--help")
            assert (ended.code, ended.err) == (0, "")
            assert ended.out.startswith(f"usage: claude-syncctl {command.name}")
            assert bare.ctl("help", command.name).out == ended.out


def test_version(bare: Desk) -> None:
    assert bare.ctl("version").out == f"claude-syncctl {__version__}\n"
    assert bare.ctl("--version").out == bare.ctl("version").out
    assert bare.ctl("version", "--json").json == {"version": __version__}


def test_a_long_path_to_the_socket(tmp_path: Path, bare: Desk, start_daemon: StartDaemon) -> None:
    bare.home = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    bare.set_up()
    start_daemon(bare, "idle")
    assert bare.ctl("status", "--json").json["state"] == "idle"
    assert bare.ctl("push").code == 0


def test_the_state_folder_can_be_elsewhere(tmp_path: Path, served: Desk) -> None:
    moved = tmp_path / "elsewhere"
    served.state.rename(moved)
    served.extra["CLAUDE_SYNC_HOME"] = "~/elsewhere"
    assert served.ctl("status", "--json").json["state"] == "idle"
    served.extra["CLAUDE_SYNC_HOME"] = "elsewhere"
    assert served.ctl("status", "--json").json["state"] == "idle"


def test_interrupted(served: Desk) -> None:
    process = served.start("push", "-v", "--project", "/slow")
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")
    assert served.ctl("status").code == 0


def test_watch_follows_what_changes(served: Desk) -> None:
    watcher = served.start("status", "--watch")
    assert watcher.stdout is not None
    while "laptop" not in watcher.stdout.readline():
        pass
    served.ctl("devices", "rename", "tower")
    served.ctl("poke")
    while "tower" not in watcher.stdout.readline():
        pass
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=20)


def test_a_daemon_that_stops_ends_what_waits_for_it(desk: Desk, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(desk, "idle")
    watcher = desk.start("status", "--watch")
    assert watcher.stdout is not None
    while "laptop" not in watcher.stdout.readline():
        pass
    daemon.terminate()
    _, err = watcher.communicate(timeout=20)
    assert watcher.returncode == 1
    assert err.startswith("error: the daemon ended\nhint: ")
    assert not desk.socket.exists()


def test_who_reads_may_leave(served: Desk) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = served.start("status", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "")


@pytest.mark.parametrize(
    ("extra", "arguments", "coloured"),
    [({}, (), True), ({"NO_COLOR": "1"}, (), False), ({"TERM": "dumb"}, (), False), ({}, ("--json",), False)],
)
def test_colour_is_for_terminals_that_want_it(
    served: Desk, extra: dict[str, str], arguments: tuple[str, ...], coloured: bool
) -> None:
    served.extra = {"TERM": "xterm", **extra}
    ours, theirs = pty.openpty()
    process = served.start("status", *arguments, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # so a terminal of Linux says that nobody writes any more
    os.close(ours)
    process.communicate(timeout=20)
    assert b"laptop" in shown
    assert (b"\x1b[" in shown) == coloured


@pytest.mark.parametrize(
    ("extra", "arguments", "drawn"),
    [({}, (), True), ({"NO_COLOR": "1"}, (), False), ({}, ("-q",), False), ({}, ("--json",), False)],
)
def test_a_bar_is_drawn_on_a_terminal_only(
    served: Desk, extra: dict[str, str], arguments: tuple[str, ...], drawn: bool
) -> None:
    served.extra = {"TERM": "xterm", **extra}
    ours, theirs = pty.openpty()
    process = served.start("push", *arguments, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # so a terminal of Linux says that nobody writes any more
    os.close(ours)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert (b"uploading" in shown) == drawn
