"""Names of sockets, short enough for the kernel: `sun_path` holds 108 bytes on Linux, 104 on macOS and the BSDs.

Imports nothing heavy: the client starts with it.
"""

# pathlib takes 3 ms to import, a seventh of the client's whole time:
# ruff: noqa: PTH106, PTH108, PTH112, PTH211
from __future__ import annotations

import os

TYPE_CHECKING = False  # typing takes 3 ms to import; type checkers know this name
if TYPE_CHECKING:
    from types import TracebackType

LIMIT = 103
"""Bytes that a name may have everywhere, the closing NUL not counted."""

_DESCRIPTORS = "/proc/self/fd"


class ThroughDescriptor:
    """Reaches `path` through an open descriptor of its folder; needs Linux's /proc."""

    def __init__(self, path: str) -> None:
        self._folder, self._name = os.path.split(path)
        self._descriptor = -1

    def __enter__(self) -> str:
        """Give the short name; OSError when the folder can't be opened."""
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"{_DESCRIPTORS}/{self._descriptor}/{self._name}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class ThroughLink:
    """Reaches `path` through a symbolic link to its folder, in a private temporary folder; works everywhere."""

    def __init__(self, path: str) -> None:
        self._folder, self._name = os.path.split(path)
        self._temporary = ""

    def __enter__(self) -> str:
        """Give the short name; OSError when there is no place for the link."""
        import tempfile  # noqa: PLC0415 - only here: it takes 5 ms to import

        self._temporary = tempfile.mkdtemp(prefix="claude-sync-")
        os.symlink(self._folder, f"{self._temporary}/f")
        return f"{self._temporary}/f/{self._name}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the link."""
        os.unlink(f"{self._temporary}/f")
        os.rmdir(self._temporary)


class _AsItIs:
    """A path that is short enough."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> str:
        return self._path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def reach(path: str) -> _AsItIs | ThroughDescriptor | ThroughLink:
    """Give, as a context, a name of the absolute `path` that `bind` and `connect` take."""
    if len(os.fsencode(path)) <= LIMIT:
        return _AsItIs(path)
    if os.path.isdir(_DESCRIPTORS):
        return ThroughDescriptor(path)
    return ThroughLink(path)
