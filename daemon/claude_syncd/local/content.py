"""What is in a file, compared with the version that was last in sync, at the cost of the change and not of the file."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from claude_syncd.core.model import Kind, Local
from claude_syncd.errors import Changed
from claude_syncd.local.beneath import identity_of
from claude_syncd.local.reading import BytesRead, Opener, complete_size, open_for_read, read_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from claude_syncd.core.model import Base, Identity

REMEMBERED = 1024
"""Files whose hash can be continued."""

_HEAD = 64 * 1024
_TAIL = 128 * 1024
_SMALL = 256 * 1024  # hashed anew as fast as both edges of it are looked at
_MARKS = 4
_RACY_NS = 20_000_000
_COARSE_NS = 2_000_000_000  # FAT and some network file systems count in seconds, FAT in pairs of them


class Hash(Protocol):
    """A hashlib object in the middle of its work."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""

    def copy(self) -> Hash:
        """An independent one in the same state."""
        ...

    def hexdigest(self) -> str:
        """The hash of what was taken in, in hex."""
        ...


@dataclass(frozen=True, slots=True)
class Mark:
    """A known version: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str

    @classmethod
    def of(cls, base: Base | None) -> Self | None:
        """The content of a base; None for one that has no content."""
        return cls(base.size, base.sha256) if base is not None and base.kind is Kind.FILE else None


@dataclass(frozen=True, slots=True)
class Observation:
    """A file as it was read.

    `append_from`: the first so many bytes are the base's whole content, unchanged; None when they are not.
    `rest_sha256`: SHA-256 of the bytes from `append_from` (or from 0) to `local.size`, for whoever reads them again.
    `identity`: what `stat` said when the reading began; a file that grew meanwhile has another one by now.
    `racy`: the file was touched so recently that a later write of the same size might not show; look again.
    `torn`: the file ends in an unfinished line that is not part of the content.
    """

    local: Local
    identity: Identity
    append_from: int | None
    rest_sha256: str
    racy: bool
    torn: bool = False


@dataclass(frozen=True, slots=True)
class HashState:
    """A hash that can be continued at `size`, and what must not have changed for that to be right.

    `identity`: the whole file's, torn line included. `edges`: SHA-256 of the first 64 KiB and the last 128 KiB before
    `size`. `marks`: versions that are known to be a prefix, the file's own at that time first.
    """

    size: int
    sha: Hash
    identity: Identity
    edges: str
    marks: tuple[Mark, ...]


class Contents:
    """Observes the files of one tree; remembers the hashes of 1,024 growing ones. Safe to use from several threads."""

    def __init__(self, root: Path, follow: tuple[Path, ...] = (), *, remembered: int = REMEMBERED) -> None:
        self.root = root
        self.bytes_read = BytesRead()
        self._follow = follow
        self._remembered = remembered
        self._states: OrderedDict[str, HashState] = OrderedDict()
        self._lock = threading.Lock()

    def observe(
        self, path: str, *, now_ns: int, lines: bool = False, settled: bool = False, base: Mark | None = None
    ) -> Observation:
        """Read what is needed of the file at `path` to know its content.

        `lines`: only complete lines count (JSONL), unless `settled` says that nobody writes any more. `base`: the
        version to compare with. `now_ns`: the time before this call. Raises Changed when the file is gone or changed
        under the reading (with `lines`, in another way than by growing); LocalError when it can't be read.
        """
        with open_for_read(self.root, path, self._follow) as file_fd:
            status = os.fstat(file_fd)
            before = identity_of(status)
            size = before.size
            if lines and not settled:
                size = complete_size(file_fd, size, self.bytes_read)
            edges = self._edges(file_fd, size) if lines else None
            known = self._state(path) if lines else None
            if known is not None and not self._only_grew(file_fd, before, size, known, base):
                known = None
            hashed = self._hash(file_fd, size, known, base)
            self._check_unchanged(path, file_fd, before, size, edges)
        if edges is not None:
            self._remember(path, HashState(size, hashed.sha, before, edges, hashed.marks))
        return Observation(
            local=Local(
                size=size,
                sha256=hashed.marks[0].sha256,
                mtime_ns=before.mtime_ns,
                mode=stat.S_IMODE(status.st_mode) & 0o777,
            ),
            identity=before,
            append_from=hashed.append_from,
            rest_sha256=hashed.rest_sha256,
            racy=is_racy(before, now_ns),
            torn=size < before.size,
        )

    def read(self, path: str, start: int, stop: int, sha256: str) -> Iterator[bytes]:
        """The bytes from `start` to `stop`, at most 1 MiB at a time, which must have the hash `sha256` (hex).

        Raises Changed, after the last piece, when they do not: nothing of it may be recorded then.
        """
        sha = hashlib.sha256()
        with open_for_read(self.root, path, self._follow) as file_fd:
            for data in read_chunks(file_fd, start, stop, self.bytes_read):
                sha.update(data)
                yield data
        if sha.hexdigest() != sha256:
            raise Changed(f"{path} changed while it was read")

    def opener(self) -> Opener:
        """Opens the files of this tree for `stream`, many of them one after another."""
        return Opener(self.root, self._follow)

    def stream(
        self, path: str, *, now_ns: int, lines: bool = False, settled: bool = False, opener: Opener | None = None
    ) -> Stream:
        """The content of a file that nothing is known of, hashed while it is read; the words are those of `observe`."""
        opened = opener.opened(path) if opener is not None else open_for_read(self.root, path, self._follow)
        return Stream(self._streamed, path, opened, now_ns=now_ns, lines=lines, settled=settled)

    def _streamed(
        self,
        path: str,
        opened: AbstractContextManager[int],
        seen: list[Observation],
        *,
        now_ns: int,
        lines: bool,
        settled: bool,
    ) -> Iterator[bytes]:
        with opened as file_fd:
            status = os.fstat(file_fd)
            before = identity_of(status)
            size = complete_size(file_fd, before.size, self.bytes_read) if lines and not settled else before.size
            edges = self._edges(file_fd, size) if lines and size > _SMALL else None
            sha = hashlib.sha256()
            for data in read_chunks(file_fd, 0, size, self.bytes_read):
                sha.update(data)
                yield data
            digest = sha.hexdigest()
            if edges is None and lines:
                self._check_only_grew(path, file_fd, before, lambda: self._whole(file_fd, size) == digest)
            else:
                self._check_unchanged(path, file_fd, before, size, edges)
        if edges is not None:
            self._remember(path, HashState(size, sha, before, edges, (Mark(size, digest),)))
        mode = stat.S_IMODE(status.st_mode) & 0o777
        seen.append(
            Observation(
                local=Local(size=size, sha256=digest, mtime_ns=before.mtime_ns, mode=mode),
                identity=before,
                append_from=None,
                rest_sha256=digest,
                racy=is_racy(before, now_ns),
                torn=size < before.size,
            )
        )

    def forget(self, path: str) -> None:
        """Drop what is remembered of `path`; only time is lost."""
        with self._lock:
            self._states.pop(path, None)

    def _state(self, path: str) -> HashState | None:
        with self._lock:
            state = self._states.get(path)
            if state is not None:
                self._states.move_to_end(path)
            return state

    def _remember(self, path: str, state: HashState) -> None:
        with self._lock:
            self._states[path] = state
            self._states.move_to_end(path)
            while len(self._states) > self._remembered:
                self._states.popitem(last=False)

    def _only_grew(self, file_fd: int, now: Identity, size: int, known: HashState, base: Mark | None) -> bool:
        """Whether the hash can be continued: the same file, longer or untouched, and the same at both edges."""
        then = known.identity
        if (now.device, now.inode) != (then.device, then.inode) or size < known.size:
            return False
        untouched = (now.size, now.mtime_ns, now.ctime_ns) == (then.size, then.mtime_ns, then.ctime_ns)
        if now.size <= then.size and not untouched:
            return False
        if base is not None and base not in known.marks:
            return False
        return self._edges(file_fd, known.size) == known.edges

    def _hash(self, file_fd: int, size: int, known: HashState | None, base: Mark | None) -> _Hashed:
        """The hash of the first `size` bytes, continued from `known` if there is one, and how they begin."""
        append_from: int | None = None
        marks: tuple[Mark, ...]
        if known is not None:
            start, sha, marks = known.size, known.sha.copy(), known.marks
            if base is not None:
                append_from = base.size
        else:
            start, sha, marks = 0, hashlib.sha256(), ()
            if base is not None and base.size <= size:
                for data in read_chunks(file_fd, 0, base.size, self.bytes_read):
                    sha.update(data)
                start = base.size
                if sha.hexdigest() == base.sha256:
                    append_from = base.size
        rest = hashlib.sha256()
        if append_from is not None:
            # Grown and read since the base, but not pushed: that part belongs to the rest, too.
            for data in read_chunks(file_fd, append_from, start, self.bytes_read):
                rest.update(data)
        for data in read_chunks(file_fd, start, size, self.bytes_read):
            sha.update(data)
            if append_from is not None:
                rest.update(data)
        mark = Mark(size, sha.hexdigest())
        first = (mark,) if append_from is None or base is None or base == mark else (mark, base)
        return _Hashed(
            sha=sha,
            append_from=append_from,
            rest_sha256=mark.sha256 if append_from is None else rest.hexdigest(),
            marks=(*first, *(m for m in marks if m not in first))[:_MARKS],
        )

    def _edges(self, file_fd: int, size: int) -> str:
        sha = hashlib.sha256()
        for start, stop in ((0, min(_HEAD, size)), (max(0, size - _TAIL), size)):
            for data in read_chunks(file_fd, start, stop, self.bytes_read):
                sha.update(data)
        return sha.hexdigest()

    def _whole(self, file_fd: int, size: int) -> str:
        sha = hashlib.sha256()
        for data in read_chunks(file_fd, 0, size, self.bytes_read):
            sha.update(data)
        return sha.hexdigest()

    def _check_unchanged(self, path: str, file_fd: int, before: Identity, size: int, edges: str | None) -> None:
        self._check_only_grew(path, file_fd, before, lambda: edges is not None and self._edges(file_fd, size) == edges)

    @staticmethod
    def _check_only_grew(path: str, file_fd: int, before: Identity, same: Callable[[], bool]) -> None:
        """Raise Changed unless the file is as it was, or longer and, as `same` finds, otherwise the same: a transcript
        that is appended to all the time would never be read if growing were not allowed.
        """
        after = identity_of(os.fstat(file_fd))
        if after != before and not (after.size > before.size and same()):
            raise Changed(f"{path} changed while it was read")


class Stream:
    """A file's bytes, at most 1 MiB at a time; once all were taken `observation` says what they were.

    Iterating raises Changed, also after the last piece, and LocalError: then nothing of it may be recorded.
    """

    def __init__(
        self,
        read: Callable[..., Iterator[bytes]],
        path: str,
        opened: AbstractContextManager[int],
        *,
        now_ns: int,
        lines: bool,
        settled: bool,
    ) -> None:
        self._seen: list[Observation] = []
        self._chunks = read(path, opened, self._seen, now_ns=now_ns, lines=lines, settled=settled)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    @property
    def observation(self) -> Observation:
        """What was read. Only after the last piece."""
        return self._seen[0]


@dataclass(frozen=True, slots=True)
class _Hashed:
    sha: Hash
    append_from: int | None
    rest_sha256: str
    marks: tuple[Mark, ...]


def is_racy(identity: Identity, now_ns: int) -> bool:
    """Whether a write after `now_ns` could leave the same times in `stat`: they are too near to now."""
    coarse = identity.mtime_ns % 1_000_000_000 == 0 and identity.ctime_ns % 1_000_000_000 == 0
    window = _COARSE_NS if coarse else _RACY_NS
    return abs(now_ns - identity.ctime_ns) <= window or abs(now_ns - identity.mtime_ns) <= window
