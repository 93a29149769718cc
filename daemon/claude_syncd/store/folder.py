"""A store in a folder: a local disk, a mounted share, or a folder that another tool carries around.

A put is: temporary file in `tmp/`, fsync, link or rename to its name, fsync of the folder. So a crash leaves whole
objects and, at worst, a leftover in `tmp/`, which no listing shows and which is removed when it is a day old.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.folder_fd import (
    NO_LINKS,
    child_folder,
    fsync_fd,
    fsync_folder,
    new_file,
    read_span,
    remove_older,
    walk,
)
from claude_syncd.store.names import RESERVED, check_size, name_parts, prefix_parts
from claude_syncd.store.report import OnRequest, unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from claude_syncd.store.base import ObjectInfo, Span

DAY = 24 * 3600.0
MARKS = (RESERVED, "vault.json")
"""A root that holds neither is no store: most likely the mount point of a disk that isn't there."""

_PLACE_ATTEMPTS = 5
_NOT_FOREIGN = {"lost+found"}

_CHECK_PERMISSION = "check the owner and permissions of the folder"
_CHECK_DISK = "check the disk or network share; it is tried again by itself"

# What a failed system call means: whether a retry helps, what happened, what to do.
_MEANING: dict[int, tuple[type[StoreError], str, str]] = {
    errno.ENOSPC: (StoreUnavailable, "the disk is full", "free some space on the disk of the folder"),
    errno.EDQUOT: (StoreUnavailable, "the quota is used up", "free some space or raise the quota"),
    errno.EFBIG: (StoreRefused, "the file system takes no file of that size", "use another file system"),
    errno.EROFS: (StoreRefused, "the file system is read-only", "mount it for writing"),
    errno.EACCES: (StoreRefused, "permission denied", _CHECK_PERMISSION),
    errno.EPERM: (StoreRefused, "operation not permitted", _CHECK_PERMISSION),
    errno.ELOOP: (StoreRefused, "a symbolic link is in the way", "replace the link by what it points to"),
    errno.EEXIST: (StoreRefused, "a file is where a folder should be", "remove the file"),
    errno.ENOTDIR: (StoreRefused, "a file is where a folder should be", "remove the file"),
    errno.EISDIR: (StoreRefused, "a folder is where an object should be", "remove the folder"),
    errno.EXDEV: (StoreRefused, "the folder spans several file systems", "keep a vault on one file system"),
    errno.ENAMETOOLONG: (StoreRefused, "the path is too long", "use a folder with a shorter path"),
}


class FolderStore:
    """Objects are files below `root`. `create()` once makes the root; without it every method says StoreUnavailable."""

    def __init__(self, root: Path, *, now: Callable[[], float] = time.time) -> None:
        """`root` is absolute; `now` is the wall clock in seconds, compared with the age of leftovers."""
        self._root = root
        self._now = now
        self._swept: float | None = None
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        """The root as a file URL."""
        return self._root.as_uri()

    async def create(self) -> None:
        """Make the root, or accept one that is empty or a store already. Raises StoreRefused for anything else."""
        await asyncio.to_thread(self._create)

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        parts = name_parts(name)
        check_size(name, len(data))
        try:
            await asyncio.to_thread(self._put, parts, data, if_absent)
        finally:
            self.on_request("put", len(data), 0)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        parts = name_parts(name)
        found = b""
        try:
            found = await asyncio.to_thread(self._get, parts, span)
        finally:
            self.on_request("get", 0, len(found))
        return found

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        folders, beginning = prefix_parts(prefix)
        try:
            return await asyncio.to_thread(self._list, folders, beginning)
        finally:
            self.on_request("list", 0, 0)

    async def delete(self, name: str) -> None:
        """See Store."""
        parts = name_parts(name)
        try:
            await asyncio.to_thread(self._delete, parts)
        finally:
            self.on_request("delete", 0, 0)

    async def drop_history(self) -> None:
        """See Store: there is none."""

    async def close(self) -> None:
        """Nothing is held open between calls."""

    # From here on everything runs in a thread.

    def _create(self) -> None:
        with self._translated():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            present = {path.name for path in self._root.iterdir()}
            foreign = {name for name in present - _NOT_FOREIGN if not name.startswith(".")}
            if foreign and not present.intersection(MARKS):
                raise StoreRefused(
                    f"the folder {self._root} holds other things ({min(foreign)!r})",
                    hint="choose a new or an empty folder",
                )
            with suppress(FileExistsError):
                (self._root / RESERVED).mkdir(mode=0o700)
            fsync_folder(self._root)
            fsync_folder(self._root.parent)

    def _put(self, parts: Sequence[str], data: bytes, if_absent: bool) -> None:
        with self._translated(), self._opened_root() as root:
            tmp = child_folder(root, RESERVED, make=True)
            try:
                self._sweep(tmp)
                temporary = new_file(tmp, data)
                try:
                    self._place(root, tmp, temporary, parts, if_absent)
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=tmp)
            finally:
                os.close(tmp)

    def _place(self, root: int, tmp: int, temporary: str, parts: Sequence[str], if_absent: bool) -> None:
        for attempt in range(_PLACE_ATTEMPTS):
            try:
                with _opened_parent(root, parts, make=True) as folder:
                    _name_file(tmp, temporary, folder, parts[-1], if_absent=if_absent)
                    fsync_fd(folder)
            except FileNotFoundError:  # a delete removed the emptied folder in between
                if attempt == _PLACE_ATTEMPTS - 1:
                    raise
            except FileExistsError:
                raise AlreadyExists(f"{'/'.join(parts)} exists already") from None
            else:
                return

    def _get(self, parts: Sequence[str], span: Span | None) -> bytes:
        name = "/".join(parts)
        with self._translated(), self._opened_root() as root:
            try:
                with _opened_parent(root, parts) as folder:
                    return read_span(folder, parts[-1], name, span)
            except (FileNotFoundError, NotADirectoryError):
                raise ObjectMissing(f"there is no {name} in {self._root}") from None

    def _list(self, folders: Sequence[str], beginning: str) -> Iterable[ObjectInfo]:
        if folders and folders[0] == RESERVED:
            return []
        with self._translated(), self._opened_root() as root:
            try:
                # One part more than there is: the parent of that part is the folder to begin in.
                with _opened_parent(root, [*folders, ""]) as folder:
                    found = walk(folder, "".join(f"{part}/" for part in folders), beginning)
                    return sorted(found, key=lambda info: info.name)
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _delete(self, parts: Sequence[str]) -> None:
        with self._translated(), self._opened_root() as root:
            with suppress(FileNotFoundError, NotADirectoryError), _opened_parent(root, parts) as folder:
                if stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                    return
                os.unlink(parts[-1], dir_fd=folder)
            for depth in range(len(parts) - 1, 0, -1):
                # Folders that are empty now go too; one that isn't, or that a put just filled, says so.
                with suppress(OSError), _opened_parent(root, parts[:depth]) as folder:
                    os.rmdir(parts[depth - 1], dir_fd=folder)

    def _sweep(self, tmp: int) -> None:
        """Remove leftovers of crashed puts, once a day."""
        now = self._now()
        if self._swept is None or now - self._swept >= DAY:
            self._swept = now
            remove_older(tmp, now - DAY)

    @contextmanager
    def _opened_root(self) -> Iterator[int]:
        """The root, held open so that a disk can't be unmounted. Raises StoreUnavailable if it is no store."""
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise self._absent() from None
        try:
            if not any(_exists(root, mark) for mark in MARKS):
                raise self._absent()
            yield root
        finally:
            os.close(root)

    def _absent(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the folder {self._root} is not there, or is not a store",
            hint="mount the disk or network share; if the folder is gone for good, run `claude-syncctl init`",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of the operating system into ours."""
        try:
            yield
        except OSError as error:
            unknown = (StoreUnavailable, os.strerror(error.errno or errno.EIO), _CHECK_DISK)
            kind, what, hint = _MEANING.get(error.errno or 0, unknown)
            raise kind(f"the folder {self._root} can't be used: {what}", hint=hint) from error


@contextmanager
def _opened_parent(root: int, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The folder that holds `parts[-1]`. Raises OSError; never goes through a symbolic link."""
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            child = child_folder(folder, part, make=make)
            os.close(folder)
            folder = child
        yield folder
    finally:
        os.close(folder)


def _name_file(tmp: int, temporary: str, folder: int, name: str, *, if_absent: bool) -> None:
    """Give the finished file its name. With `if_absent` raises FileExistsError if the name is taken."""
    if if_absent:
        try:
            os.link(temporary, name, src_dir_fd=tmp, dst_dir_fd=folder)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # No hard links here (exFAT, some shares): a check, then the rename. Two writers at once may both win.
            if _exists(folder, name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        else:
            return
    os.replace(temporary, name, src_dir_fd=tmp, dst_dir_fd=folder)


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
