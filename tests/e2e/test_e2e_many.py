"""Far more files at once than the kernel has hints for: all of them arrive."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from machines import differences
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab import Lab
    from machines import Machine

FOLDERS = 12
MAKERS = 4
MAKE = """
import os, sys
root, maker, count, folders = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.stdin.read(1)
for number in range(count):
    name = f"{root}/skills/s{number % folders}/notes/{maker}-{number}.md"
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(handle, f"# Note {number} of maker {maker}\\n".encode())
    os.close(handle)
"""


def make(root: Path, files: int, *, then: Callable[[], None] = lambda: None) -> None:
    """`files` small files below `root`, as fast as this computer makes them; `then` is called as they begin."""
    for number in range(FOLDERS):
        (root / f"skills/s{number}/notes").mkdir(parents=True)
    makers = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", MAKE, root, str(number), str(files // MAKERS), str(FOLDERS)],
            stdin=subprocess.PIPE,
        )
        for number in range(MAKERS)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write(b".")
        maker.stdin.close()
    then()
    assert [maker.wait() for maker in makers] == [0] * MAKERS


def make_at_once(machine: Machine, files: int) -> None:
    """Half of the files are created in the tree one by one; the others come into it with their folders meanwhile, in
    one rename each. So all of 60,000 are there within a second or two.
    """
    aside = machine.home / "aside"
    make(aside, files // 2)

    def move() -> None:
        for number in range(FOLDERS):
            (aside / f"skills/s{number}").rename(machine.tree / f"skills/moved{number}")

    make(machine.tree, files // 2, then=move)


@pytest.mark.parametrize("files", [2400, pytest.param(60_000, marks=pytest.mark.long)])
def test_files_that_appear_at_once_all_arrive(folder_lab: Lab, files: int) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    folder_lab.prepare()
    a.init()
    b.init()
    a.start()
    make_at_once(a, files)

    def pulled() -> int:
        done = b.json("pull", timeout=300)
        assert done["conflicts"] == 0
        return sum(path.is_file() for path in (b.tree / "skills").rglob("*.md"))

    # B asks again and again: what has arrived by then is whole, and in the end it is all.
    wait_until(lambda: pulled() == files, 300, f"B has all {files} files", [a, b])
    assert differences([a, b]) == []
    assert len(a.snapshot()) == files
    wait_until(lambda: a.json("status")["state"] == "idle", 60, "A has nothing left to do", [a])
    status = a.json("status")
    assert (status["pending"]["upload"], status["problems"]) == (0, [])
    a.stop()
    # Nothing was missed that a full scan would find.
    assert a.sync()["uploaded"] == 0
