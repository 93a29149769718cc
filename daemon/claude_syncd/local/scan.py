"""What is in the tree: a walk that is fast and never takes "could not look" for "is not there"."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.core.model import Identity
from claude_syncd.errors import LocalError
from claude_syncd.local.beneath import STAGED_PREFIX, identity_of, unfit_name
from claude_syncd.local.links import Allowed, Where
from claude_syncd.local.refusal import local_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: its path relative to the tree in posix form, what `stat` says, its permission bits."""

    path: str
    identity: Identity
    mode: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the scan could not read or does not take. `path` is relative; "" is the tree itself.

    `blind`: nothing is known about `path` and what lies under it: that nothing was found there does not mean that
    it was deleted.
    """

    path: str
    message: str
    blind: bool

    def hides(self, path: str) -> bool:
        """Whether the absence of `path` from the scan says nothing."""
        return self.blind and (self.path in {"", path} or path.startswith(self.path + "/"))


def root_identity(root: Path) -> tuple[int, int]:
    """Device and inode of the tree's real folder: another pair means another tree. Raises LocalError."""
    try:
        status = root.stat()
    except OSError as error:
        raise local_error(error, "look at", root) from error
    return status.st_dev, status.st_ino


def scan(
    root: Path,
    *,
    wanted: Callable[[str], bool],
    descends: Callable[[str], bool],
    follow: tuple[Path, ...] = (),
    under: str = "",
    problems: list[Problem],
) -> Iterator[Found]:
    """Every regular file that is `wanted`, in the folders that `descends` says yes to, in no particular order.

    `under` limits the walk to that folder or file (which need not exist). Folders that vanish meanwhile are empty.
    What can't be read, and names that can't be synced, are appended to `problems`; both are complete only when the
    iterator is exhausted. A link is followed when it leads into the tree or into one of `follow` and not round in a
    circle. Sockets, fifos and devices are ignored. Raises LocalError when the tree itself is not there.
    """
    if not root.is_dir():
        raise LocalError(f"the folder {root} is not there", hint="mount or restore it, or set CLAUDE_CONFIG_DIR")
    before = root_identity(root)
    walk = Walk(root, Allowed.of(root, follow), descends, problems)
    start: list[tuple[str, Where]] = []
    if under == "":
        start.append(("", Where(walk.allowed.roots[0])))
    else:
        found = walk.reach(under)
        if isinstance(found, Found):
            if wanted(under):
                yield found
        elif found is not None and descends(under):
            start.append((under, found))
    yield from walk.files(start, wanted)
    # Moved away or unmounted in the middle, every folder that was still to come looked as if it had been deleted.
    try:
        same = root_identity(root) == before
    except LocalError:
        same = False
    if not same:
        problems.append(Problem("", f"the folder {root} was replaced while it was scanned", blind=True))


def look(root: Path, path: str, follow: tuple[Path, ...] = ()) -> Found | None:
    """The file at `path` under the same rules, or None when `scan` would not find it. Raises LocalError."""
    return Looker(root, follow).look(path)


class Looker:
    """Looks at single files of one tree, whose real path and that of `follow` are found out once.

    So is where the folders are that it passes through: make one for a batch of files, not for longer. Not for several
    threads at once.
    """

    def __init__(self, root: Path, follow: tuple[Path, ...] = ()) -> None:
        self._root = root
        self._allowed = Allowed.of(root, follow)
        self._passed: dict[str, Where] = {}

    def look(self, path: str) -> Found | None:
        """See `look`."""
        problems: list[Problem] = []
        found = Walk(self._root, self._allowed, lambda _: True, problems).reach(path, self._passed)
        if problems and problems[0].blind:
            raise LocalError(problems[0].message)
        return found if isinstance(found, Found) else None


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that `scan` would enter, or, `is_link`, a link to a file that it would read.

    `path` is relative to the tree ("" the tree itself), `real` the real path, of a link the target's.
    """

    path: str
    real: str
    is_link: bool = False


def places(root: Path, *, allowed: Allowed, descends: Callable[[str], bool], under: str = "") -> Iterator[Place]:
    """Everything that must be watched to see each change in the folder or link `under`, itself included."""
    walk = Walk(root, allowed, descends, [])
    start: Where | Found | None = Where(allowed.roots[0]) if under == "" else walk.reach(under)
    if isinstance(start, Found):
        real = os.path.realpath(f"{allowed.roots[0]}/{under}")
        if real != f"{allowed.roots[0]}/{under}":
            yield Place(under, real, is_link=True)
    elif start is not None and (under == "" or descends(under)):
        pending = [(under, start)]
        while pending:
            path, where = pending.pop()
            yield Place(path, where.real)
            for link_path, entry in walk.entries(path, where, pending):
                if entry.is_symlink() and isinstance(walk.reach(link_path), Found):
                    yield Place(link_path, os.path.realpath(entry.path), is_link=True)


def leftovers(root: Path, descends: Callable[[str], bool]) -> list[str]:
    """Our own temporary files in the folders that `scan` would enter, by their paths relative to the tree."""
    walk = Walk(root, Allowed.of(root), descends, [])
    for _ in walk.files([("", Where(walk.allowed.roots[0]))], lambda _: False):
        pass
    return walk.staged


class Walk:
    """The rules of a walk through one tree. `staged`: our own temporary files that it passed over."""

    def __init__(self, root: Path, allowed: Allowed, descends: Callable[[str], bool], problems: list[Problem]) -> None:
        self.root = root
        self.allowed = allowed
        self._descends = descends
        self._problems = problems
        self.staged: list[str] = []

    def files(self, pending: list[tuple[str, Where]], wanted: Callable[[str], bool]) -> Iterator[Found]:
        """Every wanted file in the folders `pending` and below."""
        while pending:
            path, where = pending.pop()
            for entry_path, entry in self.entries(path, where, pending):
                if not wanted(entry_path):
                    continue
                found = self._file(entry_path, entry)
                if found is not None:
                    yield found

    def entries(
        self, path: str, where: Where, pending: list[tuple[str, Where]]
    ) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """What lies in one folder and is no folder; folders to enter are appended to `pending`."""
        prefix = path + "/" if path else ""
        try:
            with os.scandir(where.real) as listing:
                for entry in listing:
                    name = entry.name
                    if name.startswith(STAGED_PREFIX):
                        self.staged.append(prefix + name)
                        continue
                    unfit = unfit_name(name)
                    if unfit is not None:
                        self._problems.append(Problem(prefix + name, f"{prefix + name!r} {unfit}", blind=False))
                        continue
                    entry_path = prefix + name
                    if entry.is_dir(follow_symlinks=False):
                        if self._descends(entry_path):
                            pending.append((entry_path, where.into(name)))
                    elif entry.is_symlink() and _leads_to_folder(entry):
                        self._enter_link(entry_path, name, where, pending)
                    else:
                        yield entry_path, entry
        except (FileNotFoundError, NotADirectoryError):
            return  # gone meanwhile: empty; whether it was the tree itself is seen at the end
        except OSError as error:
            self._blind(path, str(local_error(error, "read the folder", where.real)))

    def reach(self, path: str, passed: dict[str, Where] | None = None) -> Found | Where | None:
        """The one file or folder at `path`, by the same rules, without listing anything. `passed`: folders that need
        not be looked at again, by their paths; those that are passed through are added.
        """
        where = Where(self.allowed.roots[0])
        parts = path.split("/")
        begin = 0
        if passed is not None and (parent := passed.get(path.rpartition("/")[0])) is not None:
            where, begin = parent, len(parts) - 1
        for depth, name in enumerate(parts[begin:], start=begin + 1):
            if name.startswith(STAGED_PREFIX) or unfit_name(name) is not None:
                return None
            here = "/".join(parts[:depth])
            is_link = False
            try:
                status = os.lstat(f"{where.real}/{name}")
                is_link = stat.S_ISLNK(status.st_mode)
                if is_link:
                    status = os.stat(f"{where.real}/{name}")  # noqa: PTH116 (paths are strings here, for speed)
                    jumped = self.allowed.jump(where, name)
                    if jumped is None:
                        self._blind(here, f"the link {here} leads out of the tree; it is not followed")
                        return None
                    target = jumped
                else:
                    target = where.into(name)
            except (FileNotFoundError, NotADirectoryError):
                if is_link:
                    self._blind(here, f"the link {here} leads nowhere")
                return None
            except OSError as error:
                self._blind(here, str(local_error(error, "read", self.root / here)))
                return None
            if stat.S_ISDIR(status.st_mode):
                where = target
                if passed is not None:
                    passed[here] = where
            elif stat.S_ISREG(status.st_mode) and depth == len(parts):
                return Found(path, identity_of(status), stat.S_IMODE(status.st_mode))
            else:
                return None
        return where

    def _enter_link(self, path: str, name: str, where: Where, pending: list[tuple[str, Where]]) -> None:
        if not self._descends(path):
            return
        jumped = self.allowed.jump(where, name)
        if jumped is None:
            self._blind(path, f"the link {path} leads out of the tree or round in a circle; it is not followed")
        else:
            pending.append((path, jumped))

    def _file(self, path: str, entry: os.DirEntry[str]) -> Found | None:
        try:
            if entry.is_symlink():
                found = self.reach(path)
                return found if isinstance(found, Found) else None
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._blind(path, str(local_error(error, "read", entry.path)))
            return None
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            return None
        return Found(
            path,
            Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
            mode & 0o7777,
        )

    def _blind(self, path: str, message: str) -> None:
        self._problems.append(Problem(path, message, blind=True))


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:
        return False  # a circle, or no permission: `reach` says which
