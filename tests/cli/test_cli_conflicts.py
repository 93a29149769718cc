"""`conflicts edit` and `conflicts show --side-by-side`, with real editors."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk


def editor(folder: Path, body: str) -> str:
    """An editor that runs `body` with the files' paths in `paths`; the command, with a blank in its path."""
    program = folder / "an editor"
    program.write_text(f"#!{sys.executable}\nimport sys, pathlib\npaths = sys.argv[1:]\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"'{program}' --wait"


_TAKE_THEIRS = """
text = pathlib.Path(paths[-1]).read_text()
assert text.startswith("a\\n<<<<<<< in the tree\\nb\\n=======\\nc\\n>>>>>>> kept, by desktop\\n"), text
assert paths[0] == "--wait", paths
pathlib.Path(paths[-1]).write_text("a\\nc\\n")
"""


def test_what_the_editor_leaves_ends_the_conflict(served: Desk, tmp_path: Path) -> None:
    served.extra["EDITOR"] = editor(tmp_path, _TAKE_THEIRS)
    ended = served.ctl("conflicts", "edit", "c1")
    assert (ended.code, ended.out) == (0, "CLAUDE.md: 1 conflict resolved\n")
    assert len(served.ctl("conflicts", "--json").json["conflicts"]) == 1


def test_a_tool_gets_both_sides_and_the_merge(served: Desk, tmp_path: Path) -> None:
    body = """
local, merged, remote = (pathlib.Path(p) for p in paths[1:])
assert (local.read_text(), remote.read_text()) == ("a\\nb\\n", "a\\nc\\n")
merged.write_text("by the tool\\n")
"""
    ended = served.ctl("conflicts", "edit", "c1", "--tool", editor(tmp_path, body), "--json")
    assert (ended.code, ended.json) == (0, {"resolved": 1})


@pytest.mark.parametrize("body", ["", "sys.exit(3)", "pathlib.Path(paths[-1]).unlink()"])
def test_an_editor_that_leaves_no_merge_resolves_nothing(served: Desk, tmp_path: Path, body: str) -> None:
    served.extra["VISUAL"] = editor(tmp_path, body)
    ended = served.ctl("conflicts", "edit", "c1")
    assert (ended.code, ended.out) == (1, "")
    assert "nothing was resolved" in ended.err
    assert len(served.ctl("conflicts", "--json").json["conflicts"]) == 2


def test_an_editor_that_is_not_there(served: Desk) -> None:
    for tool in ("/no/such/editor; touch ran", "'", ""):
        ended = served.ctl("conflicts", "edit", "c1", "--tool", tool)
        assert ended.code == 2 or "ended with" in ended.err
        assert not (served.home / "ran").exists()
    assert served.ctl("conflicts", "edit", "c1").code == 2  # nobody sits at a terminal


def test_side_by_side_where_the_terminal_is_wide(served: Desk) -> None:
    served.extra["COLUMNS"] = "100"
    assert any(" | new" in row for row in served.ctl("conflicts", "show", "c1", "--side-by-side").out.splitlines())
    served.extra["COLUMNS"] = "60"
    assert "-old\n+new" in served.ctl("conflicts", "show", "c1", "--side-by-side").out
