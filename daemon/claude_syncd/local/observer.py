"""Systems without inotify (macOS): one recursive watch by watchdog. Targets of links out of the tree are not seen."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from claude_syncd.local.source import Listener

# Without a filter, opening and closing are events too, and a scan of 4,100 folders overflows its own watch.
_FILTER: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class Recursive(FileSystemEventHandler):
    """The Source for every other system."""

    def __init__(self, watcher: Listener) -> None:
        super().__init__()
        self._watcher = watcher
        self._root = watcher.allowed.roots[0]
        self._observer = Observer()

    def start(self) -> None:
        """See Source."""
        # A race on `mkdir -p` makes it warn with a text of up to 0.7 MB, time and again, and it means nothing.
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        self._observer.schedule(self, self._root, recursive=True, event_filter=_FILTER)
        self._observer.start()

    def stop(self) -> None:
        """See Source."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """What watchdog calls, in its thread."""
        for raw in (event.src_path, event.dest_path):
            if raw:
                self._hint(os.fsdecode(raw), is_folder=event.is_directory)

    def _hint(self, real: str, *, is_folder: bool) -> None:
        if real == self._root:
            self._watcher.folder_changed("")
            return
        if not real.startswith(self._root + "/"):
            return
        path = real[len(self._root) + 1 :]
        folder = path if is_folder else path.rpartition("/")[0]
        parts = folder.split("/") if folder else []
        if not all(self._watcher.descends("/".join(parts[:depth])) for depth in range(1, len(parts) + 1)):
            return
        if is_folder:
            self._watcher.folder_changed(path)
        else:
            self._watcher.changed(path)
