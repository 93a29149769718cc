"""The listening socket: private from its first moment, never over a living daemon's, gone when the server ends."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
import tempfile
from typing import TYPE_CHECKING

from claude_syncd.control.reach import reach
from claude_syncd.errors import AlreadyRunning, LocalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BACKLOG = 128
_PROBE_SECONDS = 2.0

# How to ask who is at the other end: level, option, the answer's first fields (the second is the user id), its size.
if sys.platform == "linux":
    _CREDENTIALS = (socket.SOL_SOCKET, socket.SO_PEERCRED, "=iII", 12)  # struct ucred: pid, uid, gid
else:
    _CREDENTIALS = (0, 1, "=II", 76)  # SOL_LOCAL, LOCAL_PEERCRED, struct xucred: version, uid, groups


class Listener:
    """A socket that listens at `path`. It takes back only a name that is still its own."""

    def __init__(self, path: Path) -> None:
        """Raises AlreadyRunning when a daemon answers at `path`, LocalError when it can't be put there."""
        self._path = path
        try:
            if _alive(path):
                raise AlreadyRunning(f"another daemon already listens on {path}")
            self.socket, self._identity = _listen(path)
        except OSError as error:
            raise LocalError(f"can't listen on {path}: {error.strerror or error}") from error

    def withdraw(self) -> None:
        """Take back the name; callable more than once."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()

    def close(self) -> None:
        """Take back the name and the socket."""
        self.withdraw()
        self.socket.close()


def peer_uid(ask: Callable[[int, int, int], bytes | int]) -> int:
    """Give the user id of a connection's other end; `ask` is the connection's `getsockopt`. Raises OSError."""
    level, name, form, size = _CREDENTIALS
    answer = ask(level, name, size)
    if isinstance(answer, int) or len(answer) < struct.calcsize(form):
        raise OSError("the kernel gave no credentials")
    return int(struct.unpack_from(form, answer)[1])


def _alive(path: Path) -> bool:
    """Whether somebody accepts connections at `path`. OSError when what is there is no socket."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(0, "something that is no socket is in the way")
    with reach(str(path)) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(name)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # its queue of connections is full: busy, not dead
    return True


def _listen(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    """Bind in a fresh 0700 folder beside `path`, narrow the mode, and move it to `path` when it listens.

    So nobody else can connect at any moment, a stale socket is replaced atomically, and whoever sees the name is
    answered. (The process-wide umask is left alone: other threads create files meanwhile.)
    """
    folder = tempfile.mkdtemp(prefix=".control-", dir=path.parent)
    fresh = os.path.join(folder, "s")  # noqa: PTH118 - mkdtemp gives a str
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reach(fresh) as name:
            listening.bind(name)
        os.chmod(fresh, 0o600)  # noqa: PTH101 - mkdtemp gives a str
        listening.listen(_BACKLOG)
        listening.setblocking(False)
        os.rename(fresh, path)  # noqa: PTH104 - mkdtemp gives a str
        return listening, _identity(path)
    except BaseException:
        listening.close()
        with contextlib.suppress(OSError):
            os.unlink(fresh)  # noqa: PTH108 - mkdtemp gives a str
        raise
    finally:
        os.rmdir(folder)  # noqa: PTH106 - mkdtemp gives a str


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
