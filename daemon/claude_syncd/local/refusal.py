"""What a disk refuses, told to the user: the one table from OSError to LocalError."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.errors import Changed, LocalError

if TYPE_CHECKING:
    import os

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})

_REFUSALS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space on the disk that holds it; it is tried again by itself"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or ask for a larger quota"),
    errno.EFBIG: ("the file is larger than the file system or a limit allows", "raise the limit (`ulimit -f`)"),
    errno.EROFS: ("the file system is read-only", "mount it writable, or look at `dmesg` for a failing disk"),
    errno.EACCES: ("permission denied", "give your user permission, for example `chmod -R u+rwX` on that folder"),
    errno.EPERM: ("not permitted", "look at owner and attributes of that folder (`ls -ld`, `lsattr -d`)"),
    errno.EIO: ("the disk reports an error", "look at `dmesg`: the disk may be failing"),
    errno.EMFILE: ("too many open files", "raise the limit (`ulimit -n`)"),
    errno.ENFILE: ("too many open files in the whole system", "close other programs"),
    errno.ELOOP: ("a symbolic link stands in the way", "replace the link by a real file or folder"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "rename it where it comes from"),
    errno.EISDIR: ("a folder stands in the way", "move the folder away"),
    errno.EILSEQ: ("this file system does not accept the name", "rename it where it comes from"),
}


def local_error(error: OSError, doing: str, where: str | os.PathLike[str]) -> LocalError:
    """`error` for a user: "cannot <doing> <where>: <reason>". What vanished meanwhile becomes Changed."""
    if error.errno in _GONE:
        return Changed(f"cannot {doing} {where}: it vanished meanwhile")
    reason, hint = _REFUSALS.get(error.errno or 0, (error.strerror or type(error).__name__, ""))
    return LocalError(f"cannot {doing} {where}: {reason}", hint=hint or None)


class refused:  # noqa: N801 - reads as a verb: `with refused("write", root, path)`
    """Turn an OSError raised inside into the LocalError that names what was done and where.

    A class, and the path put together only when it is needed: this surrounds each write of each file.
    """

    __slots__ = ("_doing", "_path", "_root")

    def __init__(self, doing: str, root: str | os.PathLike[str], path: str = "") -> None:
        """`path` is below `root`; without it `root` is where it happens."""
        self._doing = doing
        self._root = root
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise local_error(error, self._doing, Path(self._root, self._path)) from error
