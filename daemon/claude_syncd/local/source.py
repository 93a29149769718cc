"""The seam between a watcher and what the system has for watching folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from claude_syncd.local.links import Allowed


class Listener(Protocol):
    """What a Source is told to watch, and whom it tells, from its own thread.

    `root`: the tree. What `descends` says no to is not watched. `allowed`: where links may lead.
    """

    root: Path
    descends: Callable[[str], bool]
    allowed: Allowed

    def changed(self, path: str) -> None:
        """A file changed."""

    def folder_changed(self, folder: str) -> None:
        """Anything may have happened in a folder, "" for the whole tree."""

    def has_problem(self, problem: str | None) -> None:
        """The source cannot see everything; None takes that back."""


class Source(Protocol):
    """Where a watcher's hints come from."""

    def start(self) -> None:
        """Begin; returns when all folders that are there are watched."""

    def stop(self) -> None:
        """End, and wait for its threads."""
