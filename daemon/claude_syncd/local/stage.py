"""A file on its way into the tree: written under a temporary name in the folder where it will be."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import Changed
from claude_syncd.local.beneath import STAGED_PREFIX, identity_of, open_file, opened_folder, opened_root, parts_of
from claude_syncd.local.reading import read_chunks
from claude_syncd.local.refusal import refused

if TYPE_CHECKING:
    from pathlib import Path

_NO_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF})


def staged_name() -> str:
    """A name that nothing else has and that every scan passes over."""
    return f"{STAGED_PREFIX}{secrets.token_hex(8)}.tmp"


class Staged:
    """The temporary file (0600) of one target path. Made by `Applier.stage`; ends with its commit, or with `discard`.

    Not for several threads at once. Methods raise LocalError.
    """

    def __init__(self, root: Path, path: str, folder_fd: int) -> None:
        """Create it in the open folder of its target. Raises OSError."""
        self.path = path
        self.name = staged_name()
        self.parts = parts_of(path)
        self._root = root
        self._hash = hashlib.sha256()
        self._hashed: int | None = 0  # so far everything was written in order; None: it was not
        self._digest = ""
        self._gone = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd: int | None = os.open(self.name, flags, 0o600, dir_fd=folder_fd)
        self.inode = identity_of(os.fstat(self._fd)).inode

    def write_at(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`, in any order."""
        fd = self._open_fd()
        if self._hashed == offset:
            self._hash.update(data)
            self._hashed += len(data)
        else:
            self._hashed = None
        with refused("write", self._root, self.path):
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, offset)
                offset += written
                view = view[written:]

    def copy_prefix(self, source: str, length: int, *, root: Path | None = None) -> None:
        """Begin with the first `length` bytes of the file `source` of this tree, or of `root`.

        The bytes are shared where the file system can do that.

        Raises Changed when that file is gone or shorter.
        """
        fd = self._open_fd()
        self._hashed = None
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
        """SHA-256 (hex) of what was written; nothing can be written afterwards, and no descriptor stays open."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with refused("read", self._root, self.path):
                try:
                    size = os.fstat(fd).st_size
                    if self._hashed == size:
                        self._digest = self._hash.hexdigest()
                    else:
                        whole = hashlib.sha256()
                        for data in read_chunks(fd, 0, size):
                            whole.update(data)
                        self._digest = whole.hexdigest()
                finally:
                    os.close(fd)
        return self._digest

    def close(self) -> None:
        """Give back the descriptor; nothing can be written afterwards."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

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
            if os.lstat(self.name, dir_fd=folder_fd).st_ino == self.inode:
                os.unlink(self.name, dir_fd=folder_fd)

    def _open_fd(self) -> int:
        if self._fd is None:
            raise Changed(f"{self.path} is already complete")
        return self._fd


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
