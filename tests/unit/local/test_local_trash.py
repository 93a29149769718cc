from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from claude_syncd.local.trash import Trash

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


def test_it_expires_by_day(tree: Path, tmp_path: Path) -> None:
    now = [NOON_NS - 31 * DAY_NS]
    trash = Trash(tmp_path / "trash", lambda: now[0])
    assert trash.expire(30) == 0
    old = keep(trash, tree, "old")
    now[0] = NOON_NS - 30 * DAY_NS
    young = keep(trash, tree, "young")
    (trash.folder / "mine").mkdir()
    (trash.folder / "2026-99-99").mkdir()
    (tree / "elsewhere").mkdir()
    (trash.folder / "2020-01-01").symlink_to(tree / "elsewhere")
    now[0] = NOON_NS
    assert trash.expire(30) == 1
    assert not old.exists()
    assert young.exists()
    assert trash.expire(30, NOON) == 0
    assert trash.expire(29, NOON) == 1
    assert sorted(entry.name for entry in trash.folder.iterdir()) == ["2020-01-01", "2026-99-99", "mine"]
    assert (tree / "elsewhere").exists()
