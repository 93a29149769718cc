"""Opening what lies beneath a folder without ever passing through a symbolic link.

Paths are relative, in posix form. Every component is opened relative to the folder before it with O_NOFOLLOW, so
a folder that someone swaps for a link meanwhile leads nowhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import unicodedata
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from claude_syncd.core.model import Identity
from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGED_PREFIX = ".csync-"
"""Our own temporary files begin with this; nothing of that name is ever synced."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Control characters (also the C1 ones), and the lone surrogates that stand for bytes that are not UTF-8. A
# backslash separates folders elsewhere.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\\\\/]")
_MAX_NAME = 255
_MAX_PATH = 3072  # bytes; leaves room below PATH_MAX for the folder that it lies in


def unfit_name(name: str) -> str | None:
    """Why a file or folder of this name can't be synced, or None."""
    if name.isascii() and name.isprintable() and "\\" not in name and "/" not in name:
        unfit = False
    else:
        unfit = _UNFIT.search(name) is not None
    if unfit:
        return "has a control character, a backslash or bytes that are not UTF-8 in its name"
    if name in {"", ".", ".."}:
        return "is not a name"
    if len(name) * 4 > _MAX_NAME and len(name.encode("utf-8")) > _MAX_NAME:
        return "has a name of more than 255 bytes"
    return None


def parts_of(path: str) -> tuple[str, ...]:
    """The components of a relative path. Raises LocalError for one that could lead anywhere else or has unfit names."""
    parts = tuple(path.split("/"))
    for part in parts:
        unfit = unfit_name(part)
        if unfit is not None:
            raise LocalError(f"refusing the path {path!r}: a part of it {unfit}", hint="nothing was written")
    if len(path.encode("utf-8")) > _MAX_PATH:
        raise LocalError(f"refusing the path {path[:80]!r}...: it is too long", hint="nothing was written")
    return parts


def folded(name: str) -> str:
    """Equal for two names that some file systems take for one (case, Unicode normalisation)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def identity_of(status: os.stat_result) -> Identity:
    """What `stat` says, as a value."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@contextmanager
def opened_root(root: str | os.PathLike[str]) -> Iterator[int]:
    """A descriptor of the folder `root`; the root itself may be a symbolic link. Raises OSError."""
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield root_fd
    finally:
        os.close(root_fd)


def open_folder(root_fd: int, parts: tuple[str, ...]) -> int:
    """A new descriptor of the folder `parts` beneath `root_fd`.

    Raises OSError: ENOENT, and ENOTDIR or ELOOP when a component is a link or no folder.
    """
    folder_fd = os.dup(root_fd)
    for part in parts:
        try:
            next_fd = os.open(part, _FOLDER, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
        folder_fd = next_fd
    return folder_fd


@contextmanager
def opened_folder(root: str | os.PathLike[str], parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of the folder `parts` beneath `root`, for as long as the block lasts. Raises OSError."""
    with opened_root(root) as root_fd:
        folder_fd = open_folder(root_fd, parts)
    try:
        yield folder_fd
    finally:
        os.close(folder_fd)


def open_file(root_fd: int, parts: tuple[str, ...]) -> int:
    """A new descriptor, for reading, of the regular file `parts` beneath `root_fd`.

    Raises OSError: ENOENT, ELOOP for a link, EISDIR or EINVAL for anything that is no regular file.
    """
    folder_fd = open_folder(root_fd, parts[:-1])
    try:
        return open_name(folder_fd, parts[-1])
    finally:
        os.close(folder_fd)


def open_name(folder_fd: int, name: str) -> int:
    """As `open_file`, of what is right in the open folder."""
    # O_NONBLOCK: opening a fifo that someone put there must not wait for a writer.
    file_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder_fd)
    if not stat.S_ISREG(os.fstat(file_fd).st_mode):
        os.close(file_fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return file_fd


class OpenFolders:
    """Descriptors of folders beneath one root, for a batch of files: each folder is opened once, from its parent.

    Not for several threads at once. Close it, or leave its block, in the end.
    """

    def __init__(self, root_fd: int, *, at_once: int = 256) -> None:
        """`root_fd` stays the caller's; at most about `at_once` others are open."""
        self._root_fd = root_fd
        self._at_once = at_once
        self._fds: dict[tuple[str, ...], int] = {}
        self.made_in: set[tuple[str, ...]] = set()
        """Folders in which one was made: not durable before they are fsynced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def at(self, parts: tuple[str, ...], make: Callable[[int, str], None] | None = None) -> int:
        """The folder's descriptor, which stays this object's and is good until the next call.

        With `make` a folder that is not there is made, 0700; `make(parent descriptor, name)` is asked before each.
        Raises OSError: ENOENT, and ENOTDIR or ELOOP when a component is a link or no folder.
        """
        if not parts:
            return self._root_fd
        known = self._fds.get(parts)
        if known is not None:
            return known
        if len(self._fds) >= self._at_once:
            self.close()
        parent_fd, name = self.at(parts[:-1], make), parts[-1]
        try:
            folder_fd = os.open(name, _FOLDER, dir_fd=parent_fd)
        except FileNotFoundError:
            if make is None:
                raise
            make(parent_fd, name)
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent_fd)
            self.made_in.add(parts[:-1])
            folder_fd = os.open(name, _FOLDER, dir_fd=parent_fd)
        self._fds[parts] = folder_fd
        return folder_fd

    def close(self) -> None:
        """Give back all descriptors."""
        while self._fds:
            os.close(self._fds.popitem()[1])


def fsync(fd: int) -> None:
    """Make a file or folder durable, on systems that want to be asked twice as well. Raises OSError."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def fsync_folders(folders: OpenFolders, names: set[tuple[str, ...]]) -> None:
    """Make the entries of these folders durable; those that vanished meanwhile need nothing. Raises OSError."""
    for parts in sorted(names):
        with suppress(FileNotFoundError, NotADirectoryError):
            fsync(folders.at(parts))
