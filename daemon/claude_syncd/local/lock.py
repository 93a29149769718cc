"""One process per state folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from claude_syncd.errors import AlreadyRunning
from claude_syncd.local.refusal import refused
from claude_syncd.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


_log = get_logger(__name__)


class Lock:
    """An advisory lock on a file (0600) that holds the owner's pid; the kernel lets go of it when its process dies.
    Who takes it and finds a pid logs that its owner ended without releasing it.

    The file stays when the lock is released: to remove it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take it, or raise AlreadyRunning at once. Raises LocalError when the file can't be made."""
        with refused("lock", self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _pid(os.pread(fd, 32, 0))
                os.close(fd)
                who = f" (pid {owner})" if owner else ""
                raise AlreadyRunning(f"another process{who} works on {self.path.parent}") from None
            except OSError:
                os.close(fd)
                raise
            self._fd = fd
            if left := _pid(os.pread(fd, 32, 0)):
                _log.warning("the process before this one ended without a word: killed, crashed, or no power", pid=left)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of it; more than once does no harm."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def owner_of(path: Path) -> int | None:
    """The pid of the process that holds the lock now, 0 when it left no pid; None when nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(os.pread(fd, 32, 0)) or 0
        return None
    finally:
        os.close(fd)


def _pid(text: bytes) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isdigit() else None
