"""Hints about what changed in the tree, as the system reports it. A hint may be missing: the scan is the truth."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from claude_syncd.local.beneath import STAGED_PREFIX
from claude_syncd.local.hints import Gathered, Hints
from claude_syncd.local.links import Allowed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from claude_syncd.local.source import Listener, Source

__all__ = ["Hints", "Watcher"]

_GATHER_SECONDS = 0.05


class Watcher:
    """Watches the tree `root` and everything that a scan would enter.

    `deliver` gets hints from the watcher's thread, what comes within 50 ms together; it must not raise and not block
    for long. What `descends` says no to is not watched. `follow` as in `scan`. `source`: another one than the best.
    """

    def __init__(
        self,
        root: Path,
        *,
        descends: Callable[[str], bool],
        follow: tuple[Path, ...] = (),
        deliver: Callable[[Hints], None],
        source: Callable[[Listener], Source] | None = None,
    ) -> None:
        self.root = root
        self.descends = descends
        self.follow = follow
        self.allowed = Allowed.of(root, follow)
        self._deliver = deliver
        self._new_source = source or _best_source
        self._gathered = Gathered()
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._problem: str | None = None
        self._source: Source | None = None
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str | None:
        """Why hints are missing, fit for a user; while it is not None the caller has to look by itself."""
        return self._problem

    def start(self) -> None:
        """Begin to watch; takes as long as a walk through the folders. Never raises for the disk: see `problem`."""
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()
        self._source = self._new_source(self)
        try:
            self._source.start()
        except OSError as error:
            self.has_problem(f"cannot watch {self.root}: {error.strerror or error}; looking regularly instead")

    def stop(self) -> None:
        """Stop watching and wait for all threads; hints that were not delivered yet are dropped."""
        if self._source is not None:
            self._source.stop()
            self._source = None
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def changed(self, path: str) -> None:
        """A source reports a file."""
        if path.rpartition("/")[2].startswith(STAGED_PREFIX):
            return
        with self._wake:
            self._gathered.add_path(path)
            self._wake.notify_all()

    def folder_changed(self, folder: str) -> None:
        """A source reports that anything may have happened in a folder, "" for the whole tree."""
        with self._wake:
            self._gathered.add_folder(folder)
            self._wake.notify_all()

    def has_problem(self, problem: str | None) -> None:
        """A source reports that it cannot see everything; None takes that back."""
        self._problem = problem

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._gathered or self._stopping.is_set())
            if self._stopping.wait(_GATHER_SECONDS):
                return
            with self._wake:
                hints = self._gathered.take()
            self._deliver(hints)


def _best_source(watcher: Listener) -> Source:
    """Folder by folder with inotify, else what watchdog has for this system."""
    system: str = sys.platform
    if system == "linux":
        from claude_syncd.local.inotify import FolderByFolder  # noqa: PLC0415 (watchdog is imported when needed)

        return FolderByFolder(watcher)
    from claude_syncd.local.observer import Recursive  # noqa: PLC0415 (as above)

    return Recursive(watcher)
