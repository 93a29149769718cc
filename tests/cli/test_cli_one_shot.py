"""Without a daemon the same commands do their work themselves: the whole program over a folder as the store."""

from __future__ import annotations

import fcntl
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claude_syncd.local.lock import Lock

if TYPE_CHECKING:
    from tests.cli.conftest import Desk


@pytest.fixture
def alone(bare: Desk) -> Desk:
    """A machine with a vault of its own, two files, and no daemon."""
    tree = bare.home / ".claude"
    (tree / "agents").mkdir(parents=True)
    (tree / "CLAUDE.md").write_text("be brief\n")
    (tree / "agents" / "a.md").write_text("an agent\n")
    ended = bare.here(
        "init", "--folder", str(bare.home / "vault"), "--generate-key", "--device-name", "laptop", "--yes"
    )
    assert ended.code == 0, ended.err
    return bare


def test_status_push_and_sync(alone: Desk) -> None:
    before = alone.ctl("status", "--json").json
    assert before["daemon"] is False
    assert before["pending"]["upload"] == 2
    assert before["last_push"] is None
    assert [line["path"] for line in alone.ctl("push", "--dry-run", "--json").json["diff"]] == [
        "CLAUDE.md",
        "agents/a.md",
    ]
    assert [line["change"] for line in alone.ctl("diff", "--json").json["diff"]] == ["upload", "upload"]
    pushed = alone.ctl("push", "--json").json
    assert (pushed["uploaded"], pushed["requests"]["put"]) == (2, 1)
    after = alone.ctl("status", "--json").json
    assert after["pending"]["upload"] == 0
    assert after["last_push"] is not None
    assert "(no daemon is running)" in alone.ctl("status").out
    assert alone.ctl("sync").out == "nothing to do: all is in sync\n"
    assert alone.ctl("diff").out == "no differences\n"


def test_projects_of_the_vault_and_their_folders(alone: Desk) -> None:
    assert alone.here("projects").out == "the vault has no projects\n"
    app = alone.home.resolve() / "my app"
    app.mkdir()
    key = re.sub("[^A-Za-z0-9]", "-", str(app))
    session = alone.home / ".claude" / "projects" / key / "11111111-2222-4333-8444-555555555555.jsonl"
    session.parent.mkdir(parents=True)
    session.write_text(json.dumps({"type": "user", "cwd": str(app)}) + "\n")
    assert alone.here("push").code == 0
    (told,) = alone.here("projects", "list", "--json").json["projects"]
    assert (told["name"], told["match"], told["key"]) == ("~-my-app", "home-relative", key)
    assert (told["folder"], told["exists"], told["sessions"]) == (str(app), True, 1)


def test_a_pause_survives(alone: Desk) -> None:
    assert alone.here("pause", "--json").json["state"] == "paused"
    assert alone.here("status", "--json").json["state"] == "paused"
    assert alone.here("resume").out == "idle\n"
    assert alone.here("status", "--json").json["state"] == "idle"


def test_settings_of_another_machine_wait_for_approval(bare: Desk) -> None:
    alone = bare
    (alone.home / ".claude").mkdir()
    folder = ("--folder", str(alone.home / "vault"))
    made = alone.here("init", *folder, "--generate-key", "--device-name", "laptop", "--yes", "--json")
    settings = alone.home / ".claude" / "settings.json"
    hooks = {"Stop": [{"hooks": [{"type": "command", "command": "~/bin/x"}]}]}
    settings.write_text(json.dumps({"model": "a", "hooks": hooks, "env": {"A": "b"}}))
    assert alone.here("push").code == 0
    other = replace(alone, home=alone.home / "other")
    (other.home / ".claude").mkdir(parents=True)
    key = other.home / "key"
    key.write_text(made.json["recovery_code"])
    joined = other.here("init", *folder, "--passphrase-file", str(key), "--device-name", "desktop", "--yes")
    assert joined.code == 0, joined.err
    assert other.here("sync").code == 0
    mine = other.home / ".claude" / "settings.json"
    assert json.loads(mine.read_text()) == {"model": "a"}
    assert other.here("status", "--json").json["approvals"] == 1
    (info,) = other.here("approve", "--json").json["approvals"]
    assert (info["setting"], info["device"], json.loads(info["new"])) == ("hooks.Stop", "laptop", hooks["Stop"])
    assert other.here("approve", "0000").code == 2
    assert other.here("approve", info["id"]).out == "1 setting approved\n"
    assert json.loads(mine.read_text()) == {"model": "a", "hooks": hooks}
    assert other.here("sync").out == "nothing to do: all is in sync\n"
    assert alone.here("sync").out == "nothing to do: all is in sync\n"


def test_devices_and_conflicts(alone: Desk) -> None:
    assert alone.here("devices", "rename", "tower").code == 0
    assert [device["name"] for device in alone.here("devices", "--json").json["devices"]] == ["tower"]
    assert alone.here("conflicts", "--json").json == {"conflicts": []}
    assert alone.here("conflicts", "resolve", "--all", "--keep", "local", "--json").json == {"resolved": 0}
    assert alone.here("conflicts", "show", "zz").code in {1, 2}


def test_versions_of_a_file(alone: Desk) -> None:
    assert alone.here("push").code == 0
    (alone.home / ".claude" / "agents" / "a.md").write_text("another agent\n")
    assert alone.here("push").code == 0
    (file,) = alone.here("log", "agents/a.md", "--json").json["files"]
    assert file["path"] == "agents/a.md"
    assert [(v["number"], v["size"], v["here"]) for v in file["versions"]] == [(2, 14, True), (1, 9, False)]
    assert "here now" in alone.here("log", str(alone.home / ".claude/agents/a.md")).out
    ended = alone.here("log", "agents/b.md")
    assert ended.code == 2
    assert "nothing is known of agents/b.md" in ended.err


def test_what_a_daemon_would_refuse_is_refused_here_too(alone: Desk) -> None:
    ended = alone.here("push", "--project", "/" + "x" * 5000)
    assert ended.code == 2
    assert ended.err.startswith("error: that makes no sense: ")
    assert alone.here("pull", "--from", "").code == 2


def test_status_is_answered_while_another_process_works(alone: Desk) -> None:
    with (alone.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert alone.ctl("status").code == 0
        ended = alone.ctl("push")
    assert ended.code == 1
    assert ended.err.startswith("error: ")


def test_restore_brings_back_versions(alone: Desk) -> None:
    agent = alone.home / ".claude" / "agents" / "a.md"
    alone.here("push")
    agent.write_text("another agent\n")
    alone.here("push")
    restored = alone.here("restore", "agents/a.md", "--version", "1", "--json")
    assert (restored.code, restored.json["files"], agent.read_text()) == (0, ["agents/a.md"], "an agent\n")
    assert alone.here("push", "--json").json["uploaded"] == 1
    assert alone.here("restore", "agents/a.md", "--version", "2", "--to", "copy.md").out == (
        f"restored {alone.home / 'copy.md'}\n"
    )
    assert (alone.home / "copy.md").read_text() == "another agent\n"
    assert alone.here("restore", "agents/a.md").out == "nothing to do: that version is here\n"
    agent.unlink()
    (alone.home / ".claude" / "CLAUDE.md").unlink()
    assert alone.here("push", "--json").json["deleted"] == 2
    unsure = alone.here("restore", "--all", "--at", "2100-01-01")
    assert (unsure.code, unsure.err) == (2, "error: there is nobody to ask\nhint: say --yes if you are sure\n")
    assert alone.here("restore", "--all", "--at", "2100-01-01", "--yes").out == "nothing to restore\n"
    assert alone.here("restore", "agents/a.md").out == "restored agents/a.md\n"
    assert agent.read_text() == "an agent\n"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("a", "b"),
        ("a", "--all", "--at", "2h"),
        ("--all",),
        ("a", "--version", "1", "--at", "2h"),
        ("agents/a.md", "--at", "soon"),
        ("agents/a.md", "--version", "99"),
        ("agents/a.md", "--to", ".claude/b.md"),
        ("agents/a.md", "--to", "vault"),
    ],
)
def test_a_restore_that_makes_no_sense(alone: Desk, words: tuple[str, ...]) -> None:
    alone.here("push")
    (alone.home / "vault" / "a.md").write_text("in the way")
    ended = alone.here("restore", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")


def test_forget_deletes_at_once(alone: Desk) -> None:
    alone.here("push")
    assert alone.here("forget", "agents/a.md", "--dry-run").out == "tree/agents/a.md\n"
    assert (alone.home / ".claude/agents/a.md").exists()
    assert alone.here("forget", "agents/a.md", "--yes").out == "forgot 1 file\n"
    assert not (alone.home / ".claude/agents/a.md").exists()
    assert alone.here("sync").out == "nothing to do: all is in sync\n"
    (file,) = alone.here("log", "agents/a.md", "--json").json["files"]
    assert file["versions"][0]["kind"] == "deleted"


LOOKS = [("status",), ("devices",), ("conflicts",), ("approve",), ("projects",), ("log", "CLAUDE.md")]


def test_looking_leaves_the_state_as_it_is(alone: Desk) -> None:
    assert alone.here("push").code == 0
    database = alone.state / "state.db"
    before = database.read_bytes()
    with Lock(alone.state / "lock"):  # of a daemon that starts just now
        for command in LOOKS:
            assert alone.here(*command).code == 0
            assert database.read_bytes() == before
    database.unlink()
    for command in LOOKS:
        alone.here(*command)
        assert not database.exists()


def test_looking_tells_of_a_damaged_state_and_the_next_sync_rebuilds_it(alone: Desk) -> None:
    assert alone.here("push").code == 0
    database = alone.state / "state.db"
    database.write_bytes(b"damaged" * 1000)
    for command in LOOKS:
        looked = alone.here(*command)
        assert (looked.code, looked.out) == (1, "")
        assert looked.err == ("error: the state is damaged\nhint: the next sync rebuilds it: `claude-syncctl sync`\n")
        assert database.read_bytes() == b"damaged" * 1000
    assert alone.ctl("sync").code == 0
    for command in LOOKS:
        assert alone.here(*command).code == 0
