"""Killed before any call that changes something on a disk, a command does no harm: the next one ends where that one
would have.

The points are those of an undisturbed run, counted by strace; see tests/support/kill_points.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = Path(__file__).parents[1] / "support/kill_points.py"
SCENES = {
    "first": (80, 1),
    "push": (50, 1),
    "push-of-packs": (60, 1),
    "pull": (110, 1),
    "conflicts": (170, 2),
    "published-conflicts": (210, 2),
    "lost-state": (130, 1),
    "compaction": (90, 1),
    "sweep": (90, 1),
}
"""Of each scene the least number of points, and in how many parts all of them are tried."""
SAMPLE = 2


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: who only dies loses nothing that was written, durable or not."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made).resolve()


def _killed(scene: str, part: int, parts: int, folder: Path, *count: str) -> None:
    done = subprocess.run(
        [sys.executable, DRIVER, scene, str(part), str(parts), str(folder), *count],
        env={**os.environ, "PYTHONPATH": str(DRIVER.parents[2] / "daemon")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["points"] >= SCENES[scene][0], said
    assert said["wrong"] == {}
    # A run that does not come to its point proves nothing. Points are counted, and how many pages SQLite writes
    # before one depends on the sizes of what is sealed, which differ by a few bytes: the last ones may be out of reach.
    assert len(said["missed"]) <= max(1, said["tried"] // 20), said["missed"]
    assert said["tried"] > 0


@pytest.mark.parametrize("scene", SCENES)
def test_killed_at_some_points(scene: str, folder: Path) -> None:
    _killed(scene, 0, 1, folder, str(SAMPLE))


@pytest.mark.long
@pytest.mark.parametrize(
    ("scene", "part"), [(name, part) for name, (_, parts) in SCENES.items() for part in range(parts)]
)
def test_killed_at_every_point(scene: str, part: int, folder: Path) -> None:
    _killed(scene, part, SCENES[scene][1], folder)
