"""A file on its way into the tree: written under a temporary name in the folder where it will be."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from claude_syncd.errors import Changed
from claude_syncd.local.beneath import (
    STAGED_PREFIX,
    fsync,
    identity_of,
    open_file,
    opened_folder,
    opened_root,
    parts_of,
)
from claude_syncd.local.reading import read_chunks
from claude_syncd.local.refusal import refused

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.core.model import Identity

_NO_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF})

_EARLY = 8
"""So many pieces (1 MiB at the most) of a file may be written before those that come before them."""

_LATEST_NS = 2**63 - 1  # of the year 2262; a time from a vault may be anything


_OURS = secrets.token_hex(8)
_numbers = count()


def staged_name() -> str:
    """A name that nothing else has and that every scan passes over."""
    return f"{STAGED_PREFIX}{_OURS}-{next(_numbers)}.tmp"


class Staged:
    """The temporary file (0600) of one target path. Made by `Applier.stage`; ends with its commit, or with `discard`.

    Not for several threads at once. Methods raise LocalError.
    """

    def __init__(self, root: Path, path: str, parts: tuple[str, ...], folder_fd: int) -> None:
        """Create it in the open folder of its target; `parts`: those of `path`. Raises OSError."""
        self.path = path
        self.name = staged_name()
        self.parts = parts
        self._root = root
        self._hash = hashlib.sha256()
        self._hashed: int | None = 0  # so far it is hashed; None: it has to be read again for that
        self._early: dict[int, bytes] = {}  # written, and hashed as soon as what is before it is
        self._whole = False
        self._gone = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd: int | None = os.open(self.name, flags, 0o600, dir_fd=folder_fd)
        self._inode = 0  # known from when it is closed on

    def write_at(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`, in any order."""
        fd = self._open_fd()
        self._take_in(offset, data)
        with refused("write", self._root, self.path):
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, offset)
                offset += written
                view = view[written:]

    def _take_in(self, offset: int, data: bytes) -> None:
        """Hash what is written in order, or nearly so."""
        if self._hashed is None:
            return
        if offset < self._hashed or offset in self._early or len(self._early) >= _EARLY:
            self._read_again()
            return
        self._early[offset] = data
        while (following := self._early.pop(self._hashed, None)) is not None:
            self._hash.update(following)
            self._hashed += len(following)

    def _read_again(self) -> None:
        self._hashed = None
        self._early.clear()

    def copy_prefix(self, source: str, length: int, *, root: Path | None = None) -> None:
        """Begin with the first `length` bytes of the file `source` of this tree, or of `root`.

        The bytes are shared where the file system can do that.

        Raises Changed when that file is gone or shorter.
        """
        fd = self._open_fd()
        self._read_again()
        source_root = root or self._root
        with refused("read", source_root, source):
            with opened_root(source_root) as root_fd:
                source_fd = open_file(root_fd, parts_of(source))
            try:
                copied = _copy_range(source_fd, fd, length)
                if copied < length:
                    for data in read_chunks(source_fd, copied, length):
                        self.write_at(copied, data)
                        copied += len(data)
            finally:
                os.close(source_fd)

    def sha256(self) -> str:
        """SHA-256 (hex) of what was written; nothing can be written afterwards, but for `write_again`."""
        if not self._whole:
            fd = self._open_fd()
            self._whole = True
            with refused("read", self._root, self.path):
                size = os.fstat(fd).st_size
                if self._hashed != size:
                    self._hash = hashlib.sha256()
                    for data in read_chunks(fd, 0, size):
                        self._hash.update(data)
        return self._hash.hexdigest()

    def write_again(self) -> None:
        """What was written turned out to be wrong: take more."""
        self._whole = False
        self._read_again()

    def finish(self, mtime_ns: int, mode: int, *, durable: bool) -> Identity:
        """Give it its time and permission bits, and close it; `durable`: bring it to the disk first. Raises OSError."""
        fd, self._whole = self._fd, True
        if fd is None:
            raise Changed(f"{self.path} is already complete")
        set_meta(fd, mtime_ns, mode)
        if durable:
            fsync(fd)
        return self._closed(fd)

    def close(self) -> None:
        """Give back the descriptor; nothing can be written afterwards."""
        if self._fd is not None:
            with suppress(OSError):
                self._closed(self._fd)

    def _closed(self, fd: int) -> Identity:
        try:
            identity = identity_of(os.fstat(fd))
        finally:
            os.close(fd)
            self._fd = None
        self._inode = identity.inode
        return identity

    def placed(self) -> None:
        """It has its target's name now: there is nothing left to discard."""
        self.close()
        self._gone = True

    def discard(self) -> None:
        """Remove the temporary file, if it is still there. Never raises for a file."""
        self.close()
        if self._gone:
            return
        with suppress(OSError), opened_folder(self._root, self.parts[:-1]) as folder_fd:
            if os.lstat(self.name, dir_fd=folder_fd).st_ino == self._inode:
                os.unlink(self.name, dir_fd=folder_fd)

    def _open_fd(self) -> int:
        if self._fd is None or self._whole:
            raise Changed(f"{self.path} is already complete")
        return self._fd


def set_meta(file_fd: int, mtime_ns: int, mode: int) -> None:
    """Set an open file's time, in ns, cut to what file systems can hold, and its permission bits. Raises OSError.

    The time first: a process that dies in between is told by the mode that the file is not done yet.
    """
    mtime_ns = min(max(mtime_ns, 0), _LATEST_NS)
    os.utime(file_fd, ns=(mtime_ns, mtime_ns))
    os.fchmod(file_fd, (mode & 0o777) | 0o600)


def _copy_range(source_fd: int, target_fd: int, length: int) -> int:
    """Let the kernel copy what it can; how many bytes that was."""
    copied = 0
    call = getattr(os, "copy_file_range", None)
    while call is not None and copied < length:
        try:
            count = call(source_fd, target_fd, length - copied, copied, copied)
        except OSError as error:
            if error.errno in _NO_COPY:
                break
            raise
        if count == 0:
            break
        copied += count
    return copied
