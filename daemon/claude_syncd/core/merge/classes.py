"""Which merge a portable path gets: `rules.classify_portable` told apart further."""

from __future__ import annotations

from enum import StrEnum

from claude_syncd.core.model import FileClass
from claude_syncd.core.rules import classify_portable


class MergeClass(StrEnum):
    """How two contents of a path are merged."""

    TRANSCRIPT = "transcript"  # transcript.merge_heads
    SIDE = "side"  # written once; two contents are a conflict
    HISTORY = "history"  # history.union
    SETTINGS = "settings"  # settings.merge, and outgoing and incoming between the vault and this device
    JSON = "json"  # settings.merge: key bindings, themes
    TEXT = "text"  # text.merge
    MEMORY_INDEX = "memory-index"  # text.merge with union
    OTHER = "other"  # the newer wins, the other is kept


_BY_FILE_CLASS = {
    FileClass.TRANSCRIPT: MergeClass.TRANSCRIPT,
    FileClass.SIDE: MergeClass.SIDE,
    FileClass.HISTORY: MergeClass.HISTORY,
    FileClass.TEXT: MergeClass.TEXT,
}
_SETTINGS = frozenset({"tree/settings.json", "tree/settings.local.json"})


def merge_class(path: str) -> MergeClass:
    """The merge for a portable path."""
    file_class = classify_portable(path)
    if file_class is FileClass.SETTINGS:
        return MergeClass.SETTINGS if path in _SETTINGS else MergeClass.JSON
    if file_class is FileClass.TEXT and path.endswith("/MEMORY.md"):
        parts = path.split("/")
        if parts[1] == "agent-memory" or (parts[1] == "projects" and parts[3] == "memory"):
            return MergeClass.MEMORY_INDEX
    return _BY_FILE_CLASS.get(file_class, MergeClass.OTHER)
