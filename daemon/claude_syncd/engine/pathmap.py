"""Portable paths and where they are on this device."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.core.model import FileClass
from claude_syncd.core.portable import WINDOW, Projects, Root, cwd_of_transcript, to_local, to_portable
from claude_syncd.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.core.rules import Rules
    from claude_syncd.local.state import State


@dataclass(frozen=True, slots=True)
class Spot:
    """A path on this device: `rel` below the folder of `root`."""

    root: Root
    rel: str
    file_class: FileClass


class PathMap:
    """Maps both ways. A project's portable name, once decided, stays: a later hint never renames a project."""

    def __init__(self, *, rules: Rules, state: State, homes: tuple[str, ...], tree: Path) -> None:
        """`homes`: spellings of the user's home folder, the real path first."""
        self.home = homes[0] if homes else ""
        self._rules = rules
        self._state = state
        self._projects = Projects(homes, lambda key: recorded_folders(tree, key))
        self._decided: set[str] = set()
        for portable in state.projects().values():
            self._projects.learn(portable)
            self._decided.add(portable)

    def portable(self, rel: str) -> str | None:
        """The portable path of a selected file of the tree; None for a name that can't travel."""
        if not unicodedata.is_normalized("NFC", rel):
            rel = unicodedata.normalize("NFC", rel)
        try:
            return to_portable(rel, self.project_of)
        except FormatError:
            return None

    def spot(self, path: str) -> Spot | None:
        """Where a portable path belongs here; None where it is out of scope, denied or unsafe."""
        try:
            root, rel = to_local(path, self._local_project)
        except FormatError:
            return None
        if root is Root.CONFLICTS:
            inner = self.spot(rel.partition("/")[2])
            if inner is None or inner.root is Root.CONFLICTS:
                return None
            return Spot(root, rel, FileClass.CONFLICT)
        if not self._rules.selects(rel):  # which nothing denied ever is
            return None
        return Spot(root, rel, self._rules.classify(rel))

    def project_of(self, key: str) -> str:
        """The portable name of the project folder `key`."""
        portable = self._projects.portable(key)
        self._remember(key, portable)
        return portable

    def project_place(self, portable: str) -> str | None:
        """The project folder of a name of the vault; None where it has no place here. Decides nothing."""
        return self._projects.place(portable)

    def worked_in(self, key: str) -> str | None:
        """The absolute folder that the project folder `key` belongs to, as far as its transcripts tell."""
        return self._projects.worked_in(key)

    def _local_project(self, portable: str) -> str:
        key = self._projects.local(portable)
        self._remember(key, portable)
        return key

    def _remember(self, key: str, portable: str) -> None:
        if portable not in self._decided:
            self._state.set_project(key, portable)
            self._decided.add(portable)


def recorded_folders(tree: Path, key: str) -> list[str]:
    """The folders recorded in up to 8 transcripts of a project."""
    found = []
    try:
        transcripts = sorted((tree / "projects" / key).glob("*.jsonl"))[:8]
    except OSError:
        return []
    for transcript in transcripts:
        try:
            with transcript.open("rb") as file:
                head = file.read(WINDOW)
                file.seek(max(file.seek(0, os.SEEK_END) - WINDOW, 0))
                cwd = cwd_of_transcript(head, file.read(WINDOW))
        except OSError:
            continue
        if cwd is not None:
            found.append(cwd)
    return found
