from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claude_syncd.local.links import Allowed, Where, within

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "tree"
    (root / "a" / "b").mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/", "/a", False), ("/a", "/", True)],
)
def test_within(path: str, folder: str, *, expected: bool) -> None:
    assert within(path, folder) is expected


def test_a_link_leads_into_the_tree_or_into_what_is_allowed(tree: Path) -> None:
    dotfiles, other = tree.parent / "dotfiles", tree.parent / "dotfiles-of-others"
    for folder in (dotfiles, other):
        folder.mkdir()
    (tree / "in").symlink_to("a/b")
    (tree / "dots").symlink_to(dotfiles)
    (tree / "out").symlink_to(other)
    (tree / "nowhere").symlink_to("gone")
    top = Where(str(tree))
    assert Allowed.of(tree).jump(top, "in") == Where(str(tree / "a" / "b"), (str(tree),))
    assert Allowed.of(tree).jump(top, "dots") is None
    allowed = Allowed.of(tree, (dotfiles,))
    assert allowed.jump(top, "dots") == Where(str(dotfiles), (str(tree),))
    assert allowed.jump(top, "out") is None
    assert allowed.jump(top, "nowhere") is None


def test_a_link_back_to_where_the_walk_came_from_is_not_followed(tree: Path) -> None:
    dotfiles = tree.parent / "dotfiles"
    dotfiles.mkdir()
    (tree / "a" / "dots").symlink_to(dotfiles)
    (tree / "a" / "up").symlink_to(tree)
    (dotfiles / "back").symlink_to(tree / "a")
    allowed = Allowed.of(tree, (dotfiles,))
    here = Where(str(tree)).into("a")
    assert allowed.jump(here, "up") is None
    there = allowed.jump(here, "dots")
    assert there is not None
    assert allowed.jump(there, "back") is None


def test_a_maze_of_links_ends(tree: Path) -> None:
    for number in range(6):
        folder = tree / f"room{number}"
        folder.mkdir()
        (folder / "door").symlink_to(tree / f"room{number + 1}")
    allowed = Allowed.of(tree)
    where: Where | None = Where(str(tree / "room0"))
    doors = 0
    while where is not None and (where := allowed.jump(where, "door")) is not None:
        doors += 1
    assert doors == 4
