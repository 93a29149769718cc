"""What was overwritten or deleted on this device: `<day>/<random>/<path>`, hard links where that is possible.

What was overwritten last of a path on a day is `<day>/latest/<path>`. A later version that begins with it takes its
place: a session that grows by many small pulls would fill the disk with its own beginnings.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.local.beneath import OpenFolders, fsync, fsync_folders, opened_root, parts_of
from claude_syncd.local.refusal import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EACCES})
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CHUNK = 1024 * 1024
_LATEST = "latest"


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A day's folder as it was found: `changed_ns` is no time but tells whether it has changed, `since` when (lived) it
    was first found so.
    """

    changed_ns: int
    since: int


class Trash:
    """The folder (0700) that keeps them. Methods raise LocalError."""

    def __init__(self, folder: Path, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.folder = folder
        self._now_ns = now_ns

    def slot(self) -> Slot:
        """A new empty place in it for one batch; nothing is written before something is kept."""
        day = datetime.fromtimestamp(self._now_ns() / 1e9, tz=UTC).date()
        return Slot(self.folder, day.isoformat())

    def expire(self, known: Mapping[str, Seen], *, lived: int, retention: int) -> dict[str, Seen]:
        """Delete for good the days' folders that have stayed as they are for `retention` seconds; those that are left,
        to be given as `known` the next time. `lived`: seconds as core/elapsed.py counts them.
        """
        left: dict[str, Seen] = {}
        with refused("clean up the trash", self.folder):
            for entry in self.folder.iterdir() if self.folder.is_dir() else ():
                if not _DAY.fullmatch(entry.name) or entry.is_symlink() or not entry.is_dir():
                    continue
                seen = Seen(entry.stat().st_mtime_ns, lived)
                before = known.get(entry.name)
                if before is None or before.changed_ns != seen.changed_ns:
                    left[entry.name] = seen
                elif lived - before.since <= retention:
                    left[entry.name] = before
                else:
                    import shutil  # noqa: PLC0415 - 4 ms, which a start without old trash need not pay

                    shutil.rmtree(entry)
        return left


class Slot:
    """One batch's place in the trash. Raises OSError; `keep` and `take` are named after what the tree is left with."""

    def __init__(self, trash: Path, day: str) -> None:
        self._trash = trash
        self._day = day
        self._prefix = (day, secrets.token_hex(8))
        self._touched: set[tuple[str, ...]] = set()

    def keep(self, folder_fd: int, name: str, path: str) -> Path:
        """Keep the file `name` of an open folder, which stays in the tree, as `path`; where it is kept."""
        parts = (self._day, _LATEST, *parts_of(path))
        try:
            with self._opened(parts[:-1]) as kept_fd:
                self._keep_latest(folder_fd, name, kept_fd, path)
        except (NotADirectoryError, IsADirectoryError):  # what is a folder now was a file that day, or the reverse
            parts = self._free(path)
            with self._opened(parts[:-1]) as kept_fd:
                _link(folder_fd, name, kept_fd, parts[-1])
        return self._trash.joinpath(*parts)

    def _keep_latest(self, folder_fd: int, name: str, kept_fd: int, path: str) -> None:
        latest, fresh = parts_of(path)[-1], f".{secrets.token_hex(8)}"
        _link(folder_fd, name, kept_fd, fresh)
        try:
            if not _begins_with(kept_fd, fresh, latest):
                aside = self._free(path)
                with self._opened(aside[:-1]) as aside_fd:
                    os.rename(latest, aside[-1], src_dir_fd=kept_fd, dst_dir_fd=aside_fd)
            os.rename(fresh, latest, src_dir_fd=kept_fd, dst_dir_fd=kept_fd)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=kept_fd)  # it failed, or both are one file
        os.utime(self._trash / self._day)  # see `expire`

    def take(self, folder_fd: int, name: str, path: str) -> Path:
        """Move the file `name` of an open folder out of the tree, atomically; where it is kept.

        Raises OSError with EXDEV when the trash is on another file system.
        """
        parts = self._free(path)
        with self._opened(parts[:-1]) as kept_fd:
            os.rename(name, parts[-1], src_dir_fd=folder_fd, dst_dir_fd=kept_fd)
        return self._trash.joinpath(*parts)

    def sync(self) -> None:
        """Make what was kept so far durable."""
        if self._touched:
            with opened_root(self._trash) as trash_fd, OpenFolders(trash_fd) as folders:
                fsync_folders(folders, self._touched | {()})
            self._touched.clear()

    @contextmanager
    def _opened(self, parts: tuple[str, ...]) -> Iterator[int]:
        """The folder of the trash, made where it is missing, while something is put into it."""
        with opened_root(self._made()) as trash_fd, OpenFolders(trash_fd) as folders:
            yield folders.at(parts, lambda _parent, _name: None)
            self._touched |= folders.made_in | {parts}

    def _made(self) -> Path:
        self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._trash

    def _free(self, path: str) -> tuple[str, ...]:
        """Where to keep `path`; a second file of that name in one batch gets a place of its own."""
        parts = (*self._prefix, *parts_of(path))
        if os.path.lexists(self._trash.joinpath(*parts)):
            self._prefix = (self._day, secrets.token_hex(8))
            parts = (*self._prefix, *parts_of(path))
        return parts


def _link(folder_fd: int, name: str, kept_fd: int, kept_name: str) -> None:
    try:
        os.link(name, kept_name, src_dir_fd=folder_fd, dst_dir_fd=kept_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(folder_fd, name, kept_fd, kept_name)


def _begins_with(folder_fd: int, name: str, beginning: str) -> bool:
    """Whether the file `name` begins with all of the file `beginning`, which may be missing. Raises IsADirectoryError
    where that is no file.
    """
    with ExitStack() as stack:
        descriptors = []
        for one in (beginning, name):
            try:
                fd = os.open(one, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder_fd)
            except FileNotFoundError:
                return True
            stack.callback(os.close, fd)
            descriptors.append(fd)
        before, after = map(os.fstat, descriptors)
        if not stat.S_ISREG(before.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), beginning)
        if before.st_size > after.st_size:
            return False
        for offset in range(0, before.st_size, _CHUNK):
            length = min(_CHUNK, before.st_size - offset)
            piece, same = (os.pread(fd, length, offset) for fd in descriptors)
            if len(piece) != length or piece != same:
                return False
        return True


def _copy(folder_fd: int, name: str, kept_fd: int, kept_name: str) -> None:
    """A durable private copy, for a trash on another file system. Leaves nothing behind when it fails."""
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder_fd)
    try:
        status = os.fstat(source)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(kept_name, flags, 0o600, dir_fd=kept_fd)
        try:
            while data := os.read(source, _CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(target, view) :]
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            fsync(target)
        except OSError:
            with suppress(OSError):
                os.unlink(kept_name, dir_fd=kept_fd)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)
