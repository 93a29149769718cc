from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from claude_syncd.errors import LocalError
from claude_syncd.local.scan import Found, Problem, look, root_identity, scan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def everything(_: str) -> bool:
    return True


def run(
    root: Path,
    *,
    wanted: Callable[[str], bool] = everything,
    descends: Callable[[str], bool] = everything,
    follow: tuple[Path, ...] = (),
    under: str = "",
) -> tuple[dict[str, Found], list[Problem]]:
    problems: list[Problem] = []
    listed = list(scan(root, wanted=wanted, descends=descends, follow=follow, under=under, problems=problems))
    found = {one.path: one for one in listed}
    assert len(found) == len(listed)
    return found, problems


def write(root: Path, path: str, text: str = "x") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_finds_files_with_what_stat_says(tree: Path) -> None:
    file = write(tree, "projects/-a/s.jsonl", "12345")
    file.chmod(0o640)
    found, problems = run(tree)
    status = file.stat()
    one = found["projects/-a/s.jsonl"]
    assert (one.identity.size, one.identity.inode, one.identity.device) == (5, status.st_ino, status.st_dev)
    assert (one.identity.mtime_ns, one.identity.ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
    assert one.mode == 0o640
    assert problems == []
    assert look(tree, "projects/-a/s.jsonl") == one


def test_asks_before_it_enters_a_folder_and_before_it_stats_a_file(tree: Path) -> None:
    for path in ("a/keep", "a/drop", "cache/keep"):
        write(tree, path)
    asked: list[str] = []

    def descends(path: str) -> bool:
        asked.append(path)
        return path != "cache"

    found, _ = run(tree, wanted=lambda path: path.endswith("keep"), descends=descends)
    assert set(found) == {"a/keep"}
    assert sorted(asked) == ["a", "cache"]


def test_under_limits_the_walk(tree: Path) -> None:
    for path in ("a/b/1", "a/2", "c/3"):
        write(tree, path)
    assert set(run(tree, under="a")[0]) == {"a/b/1", "a/2"}
    assert set(run(tree, under="a/2")[0]) == {"a/2"}
    assert run(tree, under="a/gone") == ({}, [])
    assert run(tree, under="a", descends=lambda _: False) == ({}, [])


def test_a_tree_that_is_not_there_is_an_error_and_not_empty(tree: Path) -> None:
    tree.rmdir()
    with pytest.raises(LocalError, match="is not there"):
        run(tree)
    with pytest.raises(LocalError):
        root_identity(tree)


def test_root_identity_tells_trees_apart(tree: Path, tmp_path: Path) -> None:
    before = root_identity(tree)
    write(tree, "a")
    assert root_identity(tree) == before
    tree.rename(tmp_path / "old")
    tree.mkdir()
    assert root_identity(tree) != before


def test_a_folder_that_cannot_be_read_is_no_deletion(powerless: Path) -> None:
    write(powerless, "open/1")
    write(powerless, "shut/2")
    (powerless / "shut").chmod(0)
    found, problems = run(powerless)
    (powerless / "shut").chmod(0o700)
    assert set(found) == {"open/1"}
    [problem] = problems
    assert problem.path == "shut"
    assert "permission denied" in problem.message
    assert problem.hides("shut/2")
    assert not problem.hides("open/1")
    assert not problem.hides("shutter")


def test_a_folder_that_can_be_listed_but_not_entered_hides_its_files(powerless: Path) -> None:
    write(powerless, "half/1")
    (powerless / "half").chmod(0o400)
    found, problems = run(powerless)
    (powerless / "half").chmod(0o700)
    assert found == {}
    assert any(problem.hides("half/1") for problem in problems)


def test_folders_that_vanish_meanwhile_are_empty(tree: Path) -> None:
    write(tree, "a/1")
    write(tree, "b/2")

    def descends(path: str) -> bool:
        if path == "b":
            (tree / "b/2").unlink()
            (tree / "b").rmdir()
        return True

    found, problems = run(tree, descends=descends)
    assert set(found) == {"a/1"}
    assert problems == []


def test_a_tree_that_is_moved_away_meanwhile_is_no_deletion(tree: Path, tmp_path: Path) -> None:
    write(tree, "a/1")
    write(tree, "b/2")
    moved = False

    def descends(_: str) -> bool:
        nonlocal moved
        if not moved:
            tree.rename(tmp_path / "away")
            tree.mkdir()
            moved = True
        return True

    found, problems = run(tree, descends=descends)
    assert found == {}
    assert any(problem.hides("a/1") for problem in problems)


@pytest.mark.parametrize("name", ["bell\a", "new\nline", "c1\x85", "back\\slash", os.fsdecode(b"latin\xe9")])
def test_names_that_cannot_be_synced_are_reported(tree: Path, name: str) -> None:
    write(tree, f"d/{name}")
    write(tree, f"{name}/inside")
    found, problems = run(tree)
    assert found == {}
    assert {problem.path for problem in problems} == {f"d/{name}", name}
    assert not any(problem.blind for problem in problems)
    assert all(problem.message.isprintable() for problem in problems)
    assert look(tree, f"d/{name}") is None


@pytest.mark.parametrize("name", ["ü", "e\u0301", "👩\u200d💻", "a b", "100%", "日本", "-", "..."])
def test_unusual_names_are_fine(tree: Path, name: str) -> None:
    write(tree, f"{name}/{name}")
    found, problems = run(tree)
    assert set(found) == {f"{name}/{name}"}
    assert problems == []


def test_our_own_temporary_files_are_passed_over(tree: Path) -> None:
    write(tree, "a/.csync-0011.tmp")
    assert run(tree) == ({}, [])
    assert look(tree, "a/.csync-0011.tmp") is None


def test_what_is_no_regular_file_is_ignored(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tree / "fifo")
    monkeypatch.chdir(tree)  # a socket's address must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert stat.S_ISSOCK((tree / "socket").stat().st_mode)
        assert run(tree) == ({}, [])
        assert look(tree, "fifo") is None


def test_links_within_the_tree_are_followed(tree: Path) -> None:
    write(tree, "real/1")
    (tree / "linked").symlink_to("real")
    (tree / "file").symlink_to("real/1")
    found, problems = run(tree)
    assert set(found) == {"real/1", "linked/1", "file"}
    assert found["file"].identity == found["real/1"].identity
    assert problems == []
    assert look(tree, "linked/1") == found["linked/1"]


def test_links_out_of_the_tree_are_followed_only_where_allowed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "dotfiles"
    write(outside, "skills/1")
    (tree / "skills").symlink_to(outside / "skills")
    (tree / "one").symlink_to(outside / "skills/1")
    found, problems = run(tree)
    assert found == {}
    # What a link hides was perhaps followed yesterday: it was not deleted.
    assert {path for path in ("skills/1", "one") if any(problem.hides(path) for problem in problems)} == {
        "skills/1",
        "one",
    }
    with pytest.raises(LocalError, match="leads out"):
        look(tree, "skills/1")
    found, problems = run(tree, follow=(outside,))
    assert set(found) == {"skills/1", "one"}
    assert problems == []
    assert look(tree, "skills/1", (outside,)) == found["skills/1"]


def test_a_link_to_a_folder_beside_an_allowed_one_is_not_followed(tree: Path, tmp_path: Path) -> None:
    write(tmp_path / "dot-secret", "1")
    (tmp_path / "dot").mkdir()
    (tree / "link").symlink_to(tmp_path / "dot-secret")
    assert run(tree, follow=(tmp_path / "dot",))[0] == {}


def test_circles_of_links_end(tree: Path) -> None:
    write(tree, "a/1")
    write(tree, "b/2")
    (tree / "a/up").symlink_to("..")
    (tree / "a/self").symlink_to(".")
    (tree / "a/to-b").symlink_to("../b")
    (tree / "b/to-a").symlink_to("../a")
    (tree / "loop").symlink_to("loop")
    found, _ = run(tree)
    assert {"a/1", "b/2", "a/to-b/2", "b/to-a/1"} <= set(found)
    assert len(found) < 10


def test_a_link_that_leads_nowhere_hides_what_it_led_to(tree: Path) -> None:
    (tree / "settings.json").symlink_to("not-mounted")
    found, problems = run(tree)
    assert found == {}
    assert any(problem.hides("settings.json") for problem in problems)


def test_the_tree_itself_may_be_a_link(tree: Path, tmp_path: Path) -> None:
    write(tree, "a/1")
    (tmp_path / "link").symlink_to(tree)
    assert set(run(tmp_path / "link")[0]) == {"a/1"}
    assert look(tmp_path / "link", "a/1") is not None
