"""System calls that Python has no function for. Each says so when this system has none, and callers then do without."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Final

_EXCHANGE: Final = 2
_NOREPLACE: Final = 1
_TRIM_THRESHOLD: Final = -1  # of mallopt
_MMAP_THRESHOLD: Final = -3
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})

_LIBC = ctypes.CDLL(None, use_errno=True)


class Unsupported(Exception):
    """This system or file system has no such call."""


def can_sync_filesystem() -> bool:
    """Whether this system has `sync_filesystem`."""
    return hasattr(_LIBC, "syncfs")


def sync_filesystem(folder_fd: int) -> None:
    """Make everything that was written to the file system of `folder_fd` durable. Raises OSError."""
    if _LIBC.syncfs(ctypes.c_int(folder_fd)) != 0:
        raise _last_error()


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, up to 256 MiB, until `give_back_memory`: a bulk transfer frees and takes
    megabytes for each blob, and new pages cost more than the work in them. Nothing where it is not glibc's.
    """
    call = getattr(_LIBC, "mallopt", None)
    if call is not None:
        call(ctypes.c_int(_TRIM_THRESHOLD), ctypes.c_int(256 * 1024 * 1024))
        call(ctypes.c_int(_MMAP_THRESHOLD), ctypes.c_int(32 * 1024 * 1024))


def give_back_memory() -> None:
    """Return freed memory to the system."""
    call = getattr(_LIBC, "malloc_trim", None)
    if call is not None:
        call(ctypes.c_size_t(0))


def exchange(folder_fd: int, one: str, other: str) -> None:
    """Let two files of one folder trade names, atomically. Raises OSError, Unsupported."""
    _rename(folder_fd, one, other, _EXCHANGE)


def rename_to_new(folder_fd: int, old: str, new: str) -> None:
    """Rename within a folder, failing with FileExistsError rather than replace. Raises OSError, Unsupported."""
    _rename(folder_fd, old, new, _NOREPLACE)


def _rename(folder_fd: int, old: str, new: str, flags: int) -> None:
    call = getattr(_LIBC, "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        raise Unsupported
    fd = ctypes.c_int(folder_fd)
    if call(fd, os.fsencode(old), fd, os.fsencode(new), ctypes.c_uint(flags)) != 0:
        error = _last_error()
        if error.errno in _UNSUPPORTED:
            raise Unsupported from error
        raise error


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
