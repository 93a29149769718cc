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
from typing import TYPE_CHECKING

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
        # O_NONBLOCK: opening a fifo that someone put there must not wait for a writer.
        file_fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)
    if not stat.S_ISREG(os.fstat(file_fd).st_mode):
        os.close(file_fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return file_fd


def make_folders(
    root_fd: int,
    parts: tuple[str, ...],
    made_in: set[tuple[str, ...]],
    check: Callable[[int, str], None] | None = None,
) -> int:
    """Like `open_folder`, but folders that are not there are made, 0700.

    `check(folder descriptor, name)` is asked before each is made. The folders that got a new entry, which is not
    durable before they are fsynced, are added to `made_in`.
    """
    folder_fd = os.dup(root_fd)
    try:
        for depth, part in enumerate(parts):
            try:
                next_fd = os.open(part, _FOLDER, dir_fd=folder_fd)
            except FileNotFoundError:
                if check is not None:
                    check(folder_fd, part)
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=folder_fd)
                made_in.add(parts[:depth])
                next_fd = os.open(part, _FOLDER, dir_fd=folder_fd)
            os.close(folder_fd)
            folder_fd = next_fd
    except BaseException:
        os.close(folder_fd)
        raise
    return folder_fd


def fsync(fd: int) -> None:
    """Make a file or folder durable, on systems that want to be asked twice as well. Raises OSError."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, full)
            return
    os.fsync(fd)


def fsync_folders(root_fd: int, folders: set[tuple[str, ...]]) -> None:
    """Make the entries of these folders durable; those that vanished meanwhile need nothing. Raises OSError."""
    for parts in sorted(folders):
        try:
            folder_fd = open_folder(root_fd, parts)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            fsync(folder_fd)
        finally:
            os.close(folder_fd)
