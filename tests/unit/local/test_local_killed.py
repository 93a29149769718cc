"""Killed between any two steps, nothing is lost: a child process is, before each call that it makes into C in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIO = """
import os, shutil, signal, sys
from pathlib import Path
from claude_syncd.local import syscalls
from claude_syncd.local.apply import Applier, Commit
from claude_syncd.local.scan import look
from claude_syncd.local.trash import Trash

work = Path(sys.argv[1])
batch, stride = map(int, sys.argv[2:])
tree = work / "tree"
# Those of os and ctypes are the only ones that change anything on the disk, so these are enough.
STEPS = {os.open, os.close, os.mkdir, os.link, os.rename, os.unlink, os.rmdir, os.utime, os.fchmod, os.fsync,
         os.pwrite, os.lstat, os.fstat, os.listdir, os.dup}

def act():
    applier = Applier(tree, Trash(work / "trash"))
    items = []
    for i in range(batch):
        staged = applier.stage(f"d/old{i}")
        staged.write_at(0, b"new %d" % i)
        items.append(Commit(staged, 1, 0o600, look(tree, f"d/old{i}").identity))
    staged = applier.stage("made/here/fresh")
    staged.write_at(0, b"fresh")
    items.append(Commit(staged, 1, 0o600, None))
    results = applier.commit(items)
    assert not any(isinstance(result, Exception) for result in results), results
    applier.remove("gone/soon/f", look(tree, "gone/soon/f").identity)

def child(last):
    count = 0
    def profile(frame, event, function):
        nonlocal count
        if (event == "c_call" and function in STEPS) or (event == "call" and frame.f_code.co_name == "_last_error"):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(profile)
    act()
    sys.setprofile(None)
    os._exit(0)

def content(folder):
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]

last = 0
done = False
while not done:
    last += stride
    shutil.rmtree(work, ignore_errors=True)
    (tree / "d").mkdir(parents=True)
    (tree / "gone/soon").mkdir(parents=True)
    (tree / "gone/soon/f").write_bytes(b"removed")
    for i in range(batch):
        (tree / f"d/old{i}").write_bytes(b"old %d" % i)
    pid = os.fork()
    if pid == 0:
        child(last)
    done = os.WIFEXITED(os.waitpid(pid, 0)[1])
    before_cleaning = content(tree) + (content(work / "trash") if (work / "trash").exists() else [])
    Applier(tree, Trash(work / "trash")).clean_leftovers(lambda _: True)
    assert not list(tree.rglob(".csync-*")), last
    trash = content(work / "trash") if (work / "trash").exists() else []
    for i in range(batch):
        now = (tree / f"d/old{i}").read_bytes()
        assert now == b"new %d" % i or now == b"old %d" % i, (last, now)
        assert b"old %d" % i in [now, *trash], last
    assert b"removed" in content(tree) + trash, last
    fresh = tree / "made/here/fresh"
    assert not fresh.exists() or fresh.read_bytes() == b"fresh", last
assert (tree / "made/here/fresh").exists() and not (tree / "gone/soon").exists() and (tree / "gone").exists()
print(last)
"""


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """In memory where there is such a place: nothing here is about power failures, and there are many rounds."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize(("batch", "stride", "steps"), [(2, 1, 60), (16, 7, 400)])
def test_killed_at_every_step(fast_folder: Path, batch: int, stride: int, steps: int) -> None:
    """The larger batch is made durable all at once; it is killed at every seventh step, to save time."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", SCENARIO, str(fast_folder / "work"), str(batch), str(stride)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "daemon")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > steps
