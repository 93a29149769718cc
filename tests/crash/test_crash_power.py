"""The power goes while a command works: what was not made durable is gone, and still nothing is lost.

Real file systems on a loop device, shut down at exact points; see tests/support/power_cuts.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = Path(__file__).parents[1] / "support/power_cuts.py"
CUTS = 18


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the disk is; in memory where there is such a place, since what matters is what reaches it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made).resolve()


def _why_not(kind: str, folder: Path) -> str:
    """Why there can be no power cuts of this file system here; "" if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root"
    if shutil.which(f"mkfs.{kind}") is None or shutil.which("unshare") is None:
        return f"needs mkfs.{kind} and unshare"
    image, place = folder / "try", folder / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(320 * 1024 * 1024)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, stdout=subprocess.DEVNULL)
    mounted = subprocess.run(
        ["unshare", "--mount", "mount", "-t", kind, "-o", "loop", image, place],
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    image.unlink()
    place.rmdir()
    return f"no loop mount of {kind} here: {mounted.stderr.strip()}" if mounted.returncode else ""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_the_power_goes(kind: str, folder: Path) -> None:
    reason = _why_not(kind, folder)
    if reason:
        pytest.skip(reason)
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, DRIVER, kind, str(CUTS), folder],
        env={**os.environ, "PYTHONPATH": str(DRIVER.parents[2] / "daemon")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["wrong"] == {}
    assert said["cuts"] == sum(said["at"].values()) == CUTS
