"""`log`, `restore` and `forget` while a daemon runs: what is asked of it, and what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Desk


def test_versions_are_listed_newest_first(served: Desk) -> None:
    ended = served.ctl("log", "agents/x.md")
    assert (ended.code, ended.err) == (0, "")
    head, newest, oldest = ended.out.splitlines()
    assert head.split() == ["time", "device", "size", "id"]
    assert newest.split()[0] == "2"
    assert newest.endswith("b-9  deleted")
    assert oldest.split()[0] == "1"
    assert "1.2 kB" in oldest
    (file,) = served.ctl("log", "agents/x.md", "--json").json["files"]
    assert [version["kind"] for version in file["versions"]] == ["deleted", "file"]
    unknown = served.ctl("log", "unknown")
    assert (unknown.code, unknown.out) == (2, "")
    assert served.ctl("log").code == 2


def test_restore_tells_what_came_back_and_fails_where_something_did_not(served: Desk) -> None:
    ended = served.ctl("restore", "agents/x.md", "--at", "2h")
    assert (ended.code, ended.out) == (0, "restored a\n")
    assert served.ctl("restore", "agents/x.md", "-q").out == ""
    partly = served.ctl("restore", "partly", "--json")
    assert (partly.code, partly.json["failed"]) == (1, [{"path": "tree/b", "error": "gone"}])
    assert served.ctl("restore", "partly").err == "error: tree/b: gone\n"
    there = served.ctl("restore", "agents/x.md", "--to", "~/y.md", "--json").json
    assert there["to"] == str(served.home / "y.md")


def test_forget_asks_first(served: Desk) -> None:
    unsure = served.ctl("forget", "a", "b")
    assert (unsure.code, unsure.out) == (2, "")
    assert unsure.err == "error: there is nobody to ask\nhint: say --yes if you are sure\n"
    assert served.ctl("forget", "a", "b", "--dry-run").out == "a\nb\n"
    assert served.ctl("forget", "a", "b", "--yes").out == "forgot 2 files\n"
    assert "once the store can be reached" in served.ctl("forget", "offline", "-y").out
    assert served.ctl("forget", "a", "--yes", "--json").json == {"forgotten": 1, "files": ["a"], "pending": False}
    assert served.ctl("forget").code == 2
