"""Claude Code's own lock of a file: a folder `<name>.lock` beside it, by the rules of npm's proper-lockfile.

Whoever can make the folder has the lock, and touches it every few seconds. One that was not touched for 10 seconds was
left behind by a crash.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import Changed
from claude_syncd.local.refusal import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STALE = 10.0
"""Seconds."""
TOUCH_EVERY = 3.0
"""Seconds."""
_PAUSES = (0.02, 0.05, 0.1, 0.2)  # seconds between tries: Claude Code holds it for as long as one append takes


@contextmanager
def claude_lock(
    file: Path,
    *,
    touch_every: float = TOUCH_EVERY,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of `file`. Blocks for less than a second. Raises Changed while somebody else has it, LocalError."""
    lock = file.with_name(f"{file.name}.lock")
    with refused("lock", file):
        for seconds in (*_PAUSES, None):
            if _made(lock) or (_removed_stale(lock) and _made(lock)):
                break
            if seconds is None:
                raise Changed(f"{file} is locked by Claude Code")
            pause(seconds)
        mine = lock.stat().st_ino
    ended = threading.Event()
    toucher = threading.Thread(target=_touch, args=(lock, mine, ended, touch_every), name="claude-lock", daemon=True)
    toucher.start()
    try:
        yield
    finally:
        ended.set()
        toucher.join()
        with suppress(OSError):
            if lock.stat().st_ino == mine:  # held for too long while the machine slept, it may be somebody else's
                lock.rmdir()


def _made(lock: Path) -> bool:
    try:
        lock.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _removed_stale(lock: Path) -> bool:
    """Whether the lock was left behind by a crash, and is gone now."""
    try:
        if time.time() - lock.stat().st_mtime > STALE:
            lock.rmdir()
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False  # not a folder, or not empty: no lock of this kind, and not ours to remove
    return False


def _touch(lock: Path, mine: int, ended: threading.Event, every: float) -> None:
    while not ended.wait(every):
        with suppress(OSError):
            if lock.stat().st_ino == mine:
                os.utime(lock)
