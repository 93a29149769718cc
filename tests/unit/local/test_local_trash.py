from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from claude_syncd.local.trash import Seen, Trash

if TYPE_CHECKING:
    from pathlib import Path

DAY_NS = 86_400 * 10**9
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 10**9


def keep(trash: Trash, tree: Path, name: str) -> Path:
    (tree / name).write_text(name)
    folder = os.open(tree, os.O_RDONLY)
    try:
        slot = trash.slot()
        kept = slot.keep(folder, name, f"a/b/{name}")
        slot.sync()
    finally:
        os.close(folder)
    return kept


def test_a_link_under_day_and_path_that_nobody_else_can_read(tree: Path, tmp_path: Path) -> None:
    trash = Trash(tmp_path / "state/trash", lambda: NOON_NS)
    kept = keep(trash, tree, "f")
    assert kept.read_text() == "f"
    assert kept.samefile(tree / "f")
    day, _, *path = kept.relative_to(trash.folder).parts
    assert (day, path) == ("2026-03-31", ["a", "b", "f"])
    for folder in [trash.folder, *kept.relative_to(trash.folder).parents]:
        assert stat.S_IMODE((trash.folder / folder).stat().st_mode) == 0o700


def keep_all(trash: Trash, tree: Path, *contents: str, path: str = "a/f") -> list[Path]:
    """Keep a file that is replaced by the next content each time."""
    places = []
    folder = os.open(tree, os.O_RDONLY)
    try:
        for content in contents:
            (tree / "new").write_text(content)
            (tree / "new").replace(tree / "f")
            places.append(trash.slot().keep(folder, "f", path))
    finally:
        os.close(folder)
    return places


def kept(trash: Trash) -> list[str]:
    return sorted(path.read_text() for path in trash.folder.rglob("*") if path.is_file())


def test_of_a_file_that_only_grew_the_last_version_of_a_day_is_kept(tree: Path, tmp_path: Path) -> None:
    """A session of 50 MB that is pulled 500 times a day would take 25 GB."""
    now = [NOON_NS]
    trash = Trash(tmp_path / "trash", lambda: now[0])
    places = keep_all(trash, tree, "", "one", "one two", "one two", "one two three")
    assert kept(trash) == ["one two three"]
    assert len(set(places)) == 1
    assert len(list(trash.folder.rglob("*"))) == 4, "no folders are left of the others"
    now[0] += DAY_NS
    keep_all(trash, tree, "one two three four")
    assert kept(trash) == ["one two three", "one two three four"]


def test_what_does_not_begin_with_the_one_before_takes_nothing_from_it(tree: Path, tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash", lambda: NOON_NS)
    big = "x" * 3_000_000
    contents = ["one", "two", "two and", "tw", "one", big, big[:-1] + "y" + "z"]
    keep_all(trash, tree, *contents)
    assert kept(trash) == sorted(["one", "two and", "tw", "one", *contents[5:]])


def test_what_was_written_late_to_a_kept_file_stays(tree: Path, tmp_path: Path) -> None:
    """Somebody had it open when it was replaced."""
    trash = Trash(tmp_path / "trash", lambda: NOON_NS)
    (place,) = keep_all(trash, tree, "one")
    with place.open("a") as late:
        late.write(" late")
    keep_all(trash, tree, "one two", "one two three")
    assert kept(trash) == ["one late", "one two three"]


def test_a_file_of_a_days_trash_that_became_a_folder_and_a_folder_that_became_a_file(
    tree: Path, tmp_path: Path
) -> None:
    trash = Trash(tmp_path / "trash", lambda: NOON_NS)
    keep_all(trash, tree, "one", path="a/f")
    keep_all(trash, tree, "two", "two more", path="a/f/g")
    keep_all(trash, tree, "three", path="a")
    assert kept(trash) == ["one", "three", "two", "two more"]


DAY = 86_400


def test_a_day_goes_once_it_has_stayed_as_it_is_for_the_retention(tree: Path, tmp_path: Path) -> None:
    now = [NOON_NS]
    trash = Trash(tmp_path / "trash", lambda: now[0])
    assert trash.expire({}, lived=0, retention=30 * DAY) == {}
    old = keep(trash, tree, "old")
    now[0] += DAY_NS
    first = keep(trash, tree, "first")
    (trash.folder / "mine").mkdir()
    (tree / "elsewhere").mkdir()
    (trash.folder / "2020-01-01").symlink_to(tree / "elsewhere")
    noted = trash.expire({}, lived=100, retention=30 * DAY)
    assert [(day, seen.since) for day, seen in sorted(noted.items())] == [("2026-03-31", 100), ("2026-04-01", 100)]
    later = keep(trash, tree, "later")
    noted = trash.expire(noted, lived=100 + DAY, retention=30 * DAY)
    assert [noted[day].since for day in sorted(noted)] == [100, 100 + DAY]
    assert trash.expire(noted, lived=100 + 30 * DAY, retention=30 * DAY) == noted
    noted = trash.expire(noted, lived=101 + 30 * DAY, retention=30 * DAY)
    assert list(noted) == ["2026-04-01"]
    assert not old.exists()
    assert first.exists()
    assert later.exists()
    assert trash.expire(noted, lived=101 + 31 * DAY, retention=30 * DAY) == {}
    assert sorted(entry.name for entry in trash.folder.iterdir()) == ["2020-01-01", "mine"]
    assert (tree / "elsewhere").exists()


def test_a_wrong_clock_neither_hurries_nor_delays_it(tree: Path, tmp_path: Path) -> None:
    noted: dict[str, Seen] = {}
    now = [0]
    trash = Trash(tmp_path / "trash", lambda: now[0])
    for now[0] in (0, 4 * NOON_NS):
        keep(trash, tree, str(now[0]))
        noted = trash.expire(noted, lived=5, retention=30 * DAY)
    assert len(noted) == 2
    assert trash.expire(noted, lived=6 + 30 * DAY, retention=30 * DAY) == {}
