"""What may have changed in the tree: hints gathered for a moment, and thinned out when there are too many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

MOST = 512
"""More hints than this at once mean: scan everything."""

MOST_IN_ONE_FOLDER = 128
"""More hints than this in one folder mean: scan that folder."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Files that may have changed, come or gone, and folders to scan ("" is the whole tree); paths are relative."""

    paths: frozenset[str]
    rescan: frozenset[str]


class Gathered:
    """Hints on their way. Not safe for several threads by itself."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._rescan: set[str] = set()
        self._per_folder: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether there is anything to deliver."""
        return bool(self._paths or self._rescan)

    def add_path(self, path: str) -> None:
        """The file at `path` may have changed."""
        if "" in self._rescan or path in self._paths:
            return
        folder = path.rpartition("/")[0]
        if folder in self._rescan:
            return
        self._paths.add(path)
        self._per_folder[folder] += 1
        if self._per_folder[folder] > MOST_IN_ONE_FOLDER:
            self.add_folder(folder)
        elif len(self._paths) > MOST:
            self.add_folder("")

    def add_folder(self, folder: str) -> None:
        """Anything in `folder` or below may have changed."""
        if "" in self._rescan:
            return
        self._rescan.add(folder)
        if folder == "" or len(self._rescan) > MOST_IN_ONE_FOLDER:
            self._rescan = {""}
            self._paths.clear()
            self._per_folder.clear()
        elif folder in self._per_folder:
            self._paths = {path for path in self._paths if path.rpartition("/")[0] != folder}
            del self._per_folder[folder]

    def take(self) -> Hints:
        """Everything gathered so far, which is then forgotten."""
        hints = Hints(frozenset(self._paths), frozenset(self._rescan))
        self._paths, self._rescan, self._per_folder = set(), set(), Counter()
        return hints
