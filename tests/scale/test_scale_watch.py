"""More changes at once than the kernel has room for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from claude_syncd.local.scan import Problem, scan
from claude_syncd.local.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.local.hints import Hints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

MAKERS = 4
EACH = 15_000
MAKE = """
import os, sys
input()
for number in range(int(sys.argv[3])):
    os.close(os.open(f"{sys.argv[1]}/d{number % 10}/{sys.argv[2]}-{number}", os.O_CREAT | os.O_WRONLY, 0o600))
"""


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """In memory where there is such a place: it has to be fast to overflow the kernel's queue."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder).resolve()


class Follower:
    """Does with hints what the engine does: looks at the files that are named, scans the folders that are named."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: set[str] = set()
        self.scans_of_everything = 0
        self.changed = threading.Condition()

    def scan(self, under: str) -> None:
        problems: list[Problem] = []
        walk = scan(self.root, wanted=lambda _: True, descends=lambda _: True, under=under, problems=problems)
        found = {one.path for one in walk}
        assert problems == []
        with self.changed:
            self.known |= found
            self.scans_of_everything += under == ""
            self.changed.notify_all()

    def follow(self, hints: Hints) -> None:
        for folder in hints.rescan:
            self.scan(folder)
        with self.changed:
            self.known |= {path for path in hints.paths if (self.root / path).exists()}
            self.changed.notify_all()


def test_60_000_files_at_once_are_all_found_in_the_end(fast_folder: Path) -> None:
    root = fast_folder
    for number in range(10):
        (root / f"d{number}").mkdir()
    follower = Follower(root)
    watcher = Watcher(root, descends=lambda _: True, deliver=follower.follow)
    watcher.start()
    try:
        makers = [
            subprocess.Popen(
                [sys.executable, "-S", "-c", MAKE, str(root), str(number), str(EACH)], stdin=subprocess.PIPE
            )
            for number in range(MAKERS)
        ]
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write(b"\n")
            maker.stdin.close()
        assert [maker.wait() for maker in makers] == [0] * MAKERS
        with follower.changed:
            assert follower.changed.wait_for(lambda: len(follower.known) == MAKERS * EACH, 120), len(follower.known)
        assert watcher.problem is None
        (root / "d3/afterwards").touch()
        with follower.changed:
            assert follower.changed.wait_for(lambda: "d3/afterwards" in follower.known, 60)
    finally:
        watcher.stop()


def test_folders_made_while_the_queue_overflows_are_watched_in_the_end(fast_folder: Path) -> None:
    """A tree of 3,000 folders and 30,000 files is unpacked; then each folder still gives hints."""
    root = fast_folder
    follower = Follower(root)
    watcher = Watcher(root, descends=lambda _: True, deliver=follower.follow)
    watcher.start()
    try:
        unpack = """
import os, sys
for number in range(3000):
    folder = f"{sys.argv[1]}/p{number % 50}/{number}/deep"
    os.makedirs(folder)
    for file in range(10):
        os.close(os.open(f"{folder}/{file}", os.O_CREAT | os.O_WRONLY, 0o600))
"""
        subprocess.run([sys.executable, "-S", "-c", unpack, str(root)], check=True)
        with follower.changed:
            assert follower.changed.wait_for(lambda: len(follower.known) == 30_000, 120), len(follower.known)
        late = {f"p{number % 50}/{number}/deep/late" for number in range(0, 3000, 100)}
        for path in late:
            (root / path).touch()
        with follower.changed:
            assert follower.changed.wait_for(lambda: late <= follower.known, 60), late - follower.known
    finally:
        watcher.stop()
