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
