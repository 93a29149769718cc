"""What stands at a target's name, and how a staged file takes that name: in one step, and never over a surprise."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from claude_syncd.errors import Changed, LocalError
from claude_syncd.local.beneath import folded, identity_of
from claude_syncd.local.syscalls import Unsupported, exchange, rename_to_new

if TYPE_CHECKING:
    from claude_syncd.core.model import Identity


class Names:
    """The names in one folder, to refuse one that some file systems take for another that is there."""

    def __init__(self, folder_fd: int) -> None:
        self._by_folded: dict[str, set[str]] = {}
        for name in os.listdir(folder_fd):
            self.add(name)

    def add(self, name: str) -> None:
        """One more name is in it."""
        self._by_folded.setdefault(folded(name), set()).add(name)

    def refuse(self, name: str) -> None:
        """Raise LocalError when `name` is not there but one that differs only in case or normalisation is."""
        there = self._by_folded.get(folded(name), set())
        if there and name not in there:
            raise LocalError(
                f"the name {name!r} collides with {min(there)!r} in the same folder",
                hint="rename one of the two on the device where it was made",
            )


def changed(path: str) -> Changed:
    """The error for a file that is not what it was when it was decided about."""
    return Changed(f"{path} changed meanwhile; it is looked at again")


def identity_at(folder_fd: int, name: str) -> Identity | None:
    """What is at `name`: None for nothing. Raises LocalError when it is a link, OSError."""
    try:
        status = os.lstat(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        raise LocalError(
            f"{name} is a symbolic link; it is not written through",
            hint="replace the link by the file itself, or leave it out of the sync",
        )
    if not stat.S_ISREG(status.st_mode):
        raise LocalError(f"something that is no regular file stands in the way of {name}", hint="move it away")
    return identity_of(status)


def same_content(now: Identity | None, expected: Identity) -> bool:
    """Whether it is the same content; linking it into the trash changed its ctime."""
    return now is not None and (now.device, now.inode, now.size, now.mtime_ns) == (
        expected.device,
        expected.inode,
        expected.size,
        expected.mtime_ns,
    )


def take_new_name(folder_fd: int, staged: str, target: str) -> None:
    """Rename, but never over something. Raises Changed, LocalError where that is no regular file, OSError."""
    try:
        try:
            rename_to_new(folder_fd, staged, target)
        except Unsupported:
            os.link(staged, target, src_dir_fd=folder_fd, dst_dir_fd=folder_fd, follow_symlinks=False)
            os.unlink(staged, dir_fd=folder_fd)
    except FileExistsError:
        identity_at(folder_fd, target)
        raise changed(target) from None


def replace(folder_fd: int, staged: str, target: str, path: str, expected: Identity, mine: Identity) -> None:
    """Let the temporary file trade names with its target, and look at what was displaced before it goes.

    So even a file that somebody put there at the last moment is not lost: it gets its name back.
    """
    try:
        exchange(folder_fd, staged, target)
    except Unsupported:
        # Without an exchange there is a moment between looking and renaming, as short as can be.
        if not same_content(identity_at(folder_fd, target), expected):
            raise changed(path) from None
        os.rename(staged, target, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        return
    displaced = identity_of(os.lstat(staged, dir_fd=folder_fd))
    if same_content(displaced, expected):
        os.unlink(staged, dir_fd=folder_fd)
        return
    exchange(folder_fd, staged, target)
    if not same_content(identity_of(os.lstat(staged, dir_fd=folder_fd)), mine):
        # Written to within that moment: its temporary name keeps it until the next start moves it to the trash.
        os.rename(staged, staged.replace(".tmp", ".late.tmp"), src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    raise changed(path)
