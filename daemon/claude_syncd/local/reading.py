"""Reading files that others write to: what is in one now, how far it is complete, whether it only grew.

Nothing here writes. All reads go through `open_for_read`, which never passes through a link that leads out.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from claude_syncd.errors import Changed
from claude_syncd.local.beneath import OpenFolders, open_file, open_name, opened_root, parts_of
from claude_syncd.local.links import Allowed, Where
from claude_syncd.local.refusal import refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1024 * 1024
_BACKWARDS = 64 * 1024


class BytesRead:
    """Counts the bytes that were read from files."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def read_at(self, file_fd: int, size: int, offset: int) -> bytes:
        """At most `size` bytes at `offset`; fewer only where the file ends. Raises OSError."""
        data = os.pread(file_fd, size, offset)
        self.count += len(data)
        if 0 < len(data) < size:  # a short read is allowed anywhere, so ask again before taking it for the end
            rest = self.read_at(file_fd, size - len(data), offset + len(data))
            return data + rest
        return data


@contextmanager
def open_for_read(root: Path, path: str, follow: tuple[Path, ...] = ()) -> Iterator[int]:
    """A descriptor, for reading, of the regular file at `path`, for as long as the block lasts.

    Links are passed through only where `scan` would follow them. Raises Changed when it is gone, else LocalError.
    OSErrors of the block are translated too.
    """
    with refused("read", root, path):
        file_fd = _open(root, path, follow)
        try:
            yield file_fd
        finally:
            os.close(file_fd)


class Opener:
    """`open_for_read` for many files of one tree, best sorted: each folder is opened once. Leave its block in the end.

    Not for several threads at once. A folder that is moved away meanwhile is read where it is now.
    """

    def __init__(self, root: Path, follow: tuple[Path, ...] = ()) -> None:
        self._root, self._follow = root, follow
        self._open = ExitStack()
        self._folders: OpenFolders | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._folders = None
        self._open.close()

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """See `open_for_read`."""
        with refused("read", self._root, path):
            if self._folders is None:
                self._folders = self._open.enter_context(OpenFolders(self._open.enter_context(opened_root(self._root))))
            parts = parts_of(path)
            try:
                file_fd = open_name(self._folders.at(parts[:-1]), parts[-1])
            except FileNotFoundError:
                raise
            except OSError:
                file_fd = _open(self._root, path, self._follow)  # there is a link in it
            try:
                yield file_fd
            finally:
                os.close(file_fd)


def _open(root: Path, path: str, follow: tuple[Path, ...]) -> int:
    parts = parts_of(path)
    try:
        with opened_root(root) as root_fd:
            return open_file(root_fd, parts)
    except FileNotFoundError:
        raise
    except OSError as error:
        real = _through_links(root, parts, follow)
        if real is None:
            raise error from None
    base, inner = real
    with opened_root(base) as base_fd:
        return open_file(base_fd, inner)


def _through_links(root: Path, parts: tuple[str, ...], follow: tuple[Path, ...]) -> tuple[str, tuple[str, ...]] | None:
    """Where `parts` really is, as an allowed folder and a path without links in it.

    None when there is no link in it, or one that is not to be followed.
    """
    allowed = Allowed.of(root, follow)
    where = Where(allowed.roots[0])
    for part in parts:
        if os.path.islink(f"{where.real}/{part}"):  # noqa: PTH114 (paths are strings here, for speed)
            jumped = allowed.jump(where, part)
            if jumped is None:
                return None
            where = jumped
        else:
            where = where.into(part)
    base = allowed.base_of(where.real)
    if base is None or not where.jumps or where.real == base:
        return None
    return base, tuple(where.real[len(base.rstrip("/")) + 1 :].split("/"))


def complete_size(file_fd: int, size: int, counter: BytesRead | None = None) -> int:
    """The offset after the last newline within the first `size` bytes; 0 when there is none. Raises OSError."""
    counter = counter or BytesRead()
    end = size
    while end > 0:
        start = max(0, end - _BACKWARDS)
        newline = counter.read_at(file_fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def read_chunks(file_fd: int, start: int, stop: int, counter: BytesRead | None = None) -> Iterator[bytes]:
    """The bytes from `start` to `stop`, at most 1 MiB at a time. Raises Changed when the file ends before."""
    counter = counter or BytesRead()
    while start < stop:
        data = counter.read_at(file_fd, min(CHUNK, stop - start), start)
        if not data:
            raise Changed("a file shrank while it was read")
        start += len(data)
        yield data


def is_prefix(short_fd: int, size: int, long_fd: int, long_size: int) -> bool:
    """Whether the first `size` bytes of one file are also the first of the other. Raises OSError, Changed."""
    if size > long_size:
        return False
    pairs = zip(read_chunks(short_fd, 0, size), read_chunks(long_fd, 0, size), strict=True)
    return all(ours == theirs for ours, theirs in pairs)


def common_prefix(one_fd: int, one_size: int, other_fd: int, other_size: int) -> int:
    """How many bytes both files begin with alike. Raises OSError, Changed."""
    same = 0
    size = min(one_size, other_size)
    for ours, theirs in zip(read_chunks(one_fd, 0, size), read_chunks(other_fd, 0, size), strict=True):
        if ours != theirs:
            return same + next((at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
        same += len(ours)
    return same
