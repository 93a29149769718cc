"""Cuts the power of a scene's machine at one point after another, and looks what becomes of it. Needs root.

`unshare --mount python power_cuts.py FILESYSTEM CUTS FOLDER` makes a file system (ext4, xfs) in a file of FOLDER and
mounts it; the machines are on it. A command is killed there before one of its system calls (kill_points.py), and the
file system is shut down at that moment: what was not made durable is gone when it is mounted again. In every second
cut the store is on a disk that keeps everything. Prints one JSON object: how many cuts, at what, what went wrong.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from one_thread import in_one_thread

in_one_thread()

from crash_scenes import SCENES, Scene, words_of  # noqa: E402 - after in_one_thread
from kill_points import Point, forked, points_of, traced  # noqa: E402 - after in_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHUTDOWN = 0x8004587D
"""The ioctl of ext4 and xfs that stops all writing to the disk."""
_NO_LOG_FLUSH = 2
"""Its strictest form: not even what is in the file system's log in memory is written."""
MAKE = {
    # Without auto_da_alloc: ext4 guesses what somebody forgot to make durable, other file systems do not.
    "ext4": (["mkfs.ext4", "-q", "-F"], 256, "noauto_da_alloc"),
    "xfs": (["mkfs.xfs", "-q", "-f"], 320, "defaults"),
}
"""How each is made, of how many MiB, and how it is mounted."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class Disk:
    """A disk whose power can be cut."""

    def __init__(self, kind: str, work: Path) -> None:
        make, megabytes, self._options = MAKE[kind]
        self._image, self.folder = work / "disk", work / "mounted"
        self._kind = kind
        with self._image.open("wb") as image:
            image.truncate(megabytes * 1024 * 1024)
        self.folder.mkdir()
        subprocess.run([*make, self._image], check=True, stdout=subprocess.DEVNULL)
        self.mount()
        self._check()

    def _check(self) -> None:
        """A cut takes what was not made durable, and nothing else: or none of this would prove anything."""
        durable, fleeting = self.folder / "durable", self.folder / "fleeting"
        durable.write_text("durable")
        self.sync()
        fleeting.write_text("fleeting")
        self.cut()
        assert durable.read_text() == "durable"
        assert not fleeting.exists()

    def mount(self) -> None:
        command: list[str | Path] = ["mount", "-t", self._kind, "-o", f"loop,{self._options}", self._image, self.folder]
        subprocess.run(command, check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.folder], check=True)

    def sync(self) -> None:
        """Everything that was written is durable."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            if _LIBC.syncfs(handle) != 0:
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(handle)

    def cut(self) -> None:
        """The power goes, and comes back."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)
        self.unmount()
        self.mount()


class Plan(NamedTuple):
    """A scene with its points, and how it ends."""

    name: str
    scene: Scene
    points: list[Point]
    expected: Any


def fresh(disk: Disk, safe: Path | None) -> Path:
    """An empty place on the disk; with `safe`, its store is there instead."""
    home = disk.folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    if safe is not None:
        shutil.rmtree(safe, ignore_errors=True)
        safe.mkdir()
        (home / "store").symlink_to(safe)
    return home


def plans(disk: Disk) -> Iterator[Plan]:
    """Every scene, counted on this disk."""
    for name, scene in SCENES.items():
        home = fresh(disk, None)
        points = points_of(scene, home)
        expected, wrong = forked(lambda scene=scene, home=home: scene.end(home, words_of(home)))
        assert not wrong, wrong
        yield Plan(name, scene, points, expected)


def cut_off(disk: Disk, plan: Plan, point: Point, safe: Path | None) -> list[str]:
    """Cut the power at the point; what was wrong afterwards."""
    home = fresh(disk, safe)
    forked(plan.scene.prepare, home)
    written = words_of(home)
    disk.sync()
    inject = f"inject={point.call}:signal=KILL:when={point.nth}"
    status = traced(plan.scene, home, ["-e", f"trace={point.call}", "-e", inject, "-o", "/dev/null"])
    disk.cut()
    if not os.WIFSIGNALED(status):
        return ["the run did not come to its point"]
    try:
        tree, wrong = forked(plan.scene.end, home, written)
    except AssertionError as error:
        return [str(error)]
    if not wrong and tree != plan.expected:
        return [f"another end: {p}" for p in {*tree, *plan.expected} if tree.get(p) != plan.expected.get(p)]
    return [str(line) for line in wrong]


def main(kind: str, cuts: int, work: Path) -> None:
    """See the module's docstring."""
    disk = Disk(kind, work)
    try:
        known = list(plans(disk))
        done: Counter[str] = Counter()
        found = {}
        for number in range(cuts):
            plan = known[number % len(known)]
            turn, turns = number // len(known), -(-cuts // len(known))
            point = plan.points[(2 * turn + 1) * len(plan.points) // (2 * turns)]
            wrong = cut_off(disk, plan, point, work / "safe" if number % 2 else None)
            done[plan.name] += 1
            if wrong:
                found[f"{plan.name}, cut {number}, {point.call} {point.nth}: {point.what}"] = wrong
        print(json.dumps({"cuts": cuts, "at": done, "wrong": found}))
    finally:
        disk.unmount()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).resolve())
