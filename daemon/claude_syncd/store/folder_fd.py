"""Files and folders by open folder: nothing here follows a symbolic link, and every function raises plain OSError."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.store.base import ObjectInfo
from claude_syncd.store.names import RESERVED, check_size, is_part, span_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claude_syncd.store.base import Span

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""What link() answers where a file system has no hard links."""

_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def child_folder(folder: int, name: str, *, make: bool = False) -> int:
    """Open a folder inside a folder; the caller closes it. With `make` it is created, durably, where missing."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
            fsync_fd(folder)
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except NotADirectoryError:  # also what Linux says of a link
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


def new_file(folder: int, data: bytes) -> str:
    """Write `data` to a new file that only the owner may read, durably. Returns its name; leaves nothing on failure."""
    name = secrets.token_hex(16)
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        fsync_fd(file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(file)
    return name


def read_span(folder: int, file_name: str, name: str, span: Span | None) -> bytes:
    """Bytes of a file. Raises FileNotFoundError, also for a folder; StoreRefused for what is no plain file."""
    # O_NONBLOCK: a named pipe must not make us wait for its writer.
    file = os.open(file_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not stat.S_ISREG(status.st_mode):
            raise StoreRefused(f"{name} is not a plain file", hint="remove it from the store's folder")
        start, length = span_bounds(span, status.st_size)
        check_size(name, length)
        pieces: list[bytes] = []
        while length:
            piece = os.pread(file, length, start)
            if not piece:
                raise StoreUnavailable(f"{name} became shorter while it was read")
            pieces.append(piece)
            start += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(file)


def walk(folder: int, path: str, beginning: str) -> Iterator[ObjectInfo]:
    """Every object below `folder` whose first part begins with `beginning`, in no order; `path` is the folder's name.

    A file or folder that vanishes meanwhile is left out. Raises OSError ELOOP for a symbolic link, since whatever
    it leads to would otherwise be missing from the listing.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            name = path + entry.name
            if not entry.name.startswith(beginning) or not is_part(entry.name) or name == RESERVED:
                continue
            with suppress(FileNotFoundError):
                if entry.is_symlink():
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if entry.is_dir(follow_symlinks=False):
                    child = child_folder(folder, entry.name)
                    try:
                        yield from walk(child, name + "/", "")
                    finally:
                        os.close(child)
                elif entry.is_file(follow_symlinks=False):
                    yield ObjectInfo(name, entry.stat(follow_symlinks=False).st_size)


def remove_older(folder: int, than: float) -> None:
    """Remove the files of a folder last written before `than` (seconds since the epoch); failures are ignored."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < than:
                    os.unlink(entry.name, dir_fd=folder)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsync_fd(folder)
    finally:
        os.close(folder)


def fsync_fd(file: int) -> None:
    """Make an open file or folder durable; a file system that has no such thing for folders is accepted."""
    # On macOS plain fsync stops at the drive's cache.
    full: int | None = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(file, full)
            return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
