from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from claude_syncd.errors import AlreadyRunning, LocalError
from claude_syncd.local.lock import Lock, owner_of

HOLD = """
import sys
from pathlib import Path
from claude_syncd.local.lock import Lock
Lock(Path(sys.argv[1])).acquire()
print("held", flush=True)
input()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    with Lock(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert owner_of(path) == os.getpid()
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
            Lock(path).acquire()
    assert owner_of(path) is None
    lock = Lock(path)
    lock.acquire()
    lock.release()
    lock.release()


def test_the_kernel_frees_it_when_the_owner_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "daemon")}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=str(owner.pid)):
            Lock(path).acquire()
        assert owner_of(path) == owner.pid
        owner.send_signal(signal.SIGKILL)
    with Lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError):
        Lock(tmp_path / "file" / "lock").acquire()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError):
        Lock(tmp_path / "link").acquire()
    assert not (tmp_path / "elsewhere").exists()
    assert owner_of(tmp_path / "nothing") is None
