"""Which files travel, and how each merges. An allow-list by scope, the user's patterns, the deny-list over all."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from claude_syncd.core.denylist import denied, denied_folder, denied_in
from claude_syncd.core.globs import Globs
from claude_syncd.core.model import FileClass

__all__ = ["Rules", "Scope", "classify", "classify_portable", "denied"]


class Scope(StrEnum):
    """How much of `~/.claude` travels; each holds the one before."""

    SESSIONS = "sessions"  # conversations, memory, prompt history
    PORTABLE = "portable"  # and what the user wrote: instructions, agents, skills, settings
    FULL = "full"  # and plugins, plans, todos, tasks, hooks, file history


_FILES: dict[Scope, tuple[str, ...]] = {
    Scope.SESSIONS: ("history.jsonl",),
    Scope.PORTABLE: ("CLAUDE.md", "keybindings.json", "settings.json"),
    Scope.FULL: ("loop.md", "settings.local.json"),
}
_FOLDERS: dict[Scope, tuple[str, ...]] = {
    Scope.SESSIONS: ("paste-cache",),
    Scope.PORTABLE: (
        "agent-memory", "agents", "commands", "output-styles", "rules", "skills", "themes", "workflows",
    ),
    Scope.FULL: ("artifacts", "file-history", "hooks", "plans", "plugins", "routines", "tasks", "todos"),
}  # fmt: skip
_ORDER = tuple(Scope)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,240}")
_SIDE_FOLDERS = ("subagents", "tool-results", "workflows")
# Downloads that Claude Code fetches again from what settings.json names, and absolute paths to them.
_PLUGIN_CACHES = frozenset(
    {
        "blocklist.json", "cache", "data", "install-counts-cache.json", "installed_plugins.json",
        "known_marketplaces.json", "marketplaces", "repos",
    }
)  # fmt: skip

_ANY = re.compile(r"(?s:.+)")
_TRANSCRIPT = re.compile(_UUID.pattern + r"\.jsonl")
_SIDECAR = re.compile(r"custom-title\.json|archived\.json")

# Left out unless an include names them: what tools build, fetch or log, and what usually holds secrets.
_JUNK_FOLDERS = frozenset(
    {"node_modules", ".git", "dist", "build", ".next", ".turbo", ".venv", "__pycache__", ".hg", ".svn"}
)
_JUNK_FILES = re.compile(r"\.env(?:\..*)?|.*\.(?:log|pyc|swp|swo)|.*~|\.orphaned_at", re.DOTALL)

_TEXT = (
    ".md", ".mdx", ".markdown", ".txt", ".rst", ".py", ".sh", ".bash", ".zsh", ".fish", ".js", ".mjs", ".cjs",
    ".ts", ".rb", ".pl", ".toml", ".yaml", ".yml", ".css", ".html",
)  # fmt: skip
# What Claude Code's own cleanup deletes by age: gone from a disk is not deleted (DESIGN section 5).
_SWEPT = ("paste-cache", "file-history", "plans", "tasks", "todos")


class _Folder(NamedTuple):
    """The verdict on one folder."""

    never: bool  # denied or excluded: nothing below it travels
    taken: re.Pattern[str] | None = None  # names of the files directly in it that the scope takes
    deeper: bool = False  # the scope takes files further down
    junk: tuple[str, ...] = ()  # the parts of its path that only an include which names them lifts
    own: bool = False  # Claude Code's own: *.log and the like belong there


class Rules:
    """Which files of `~/.claude` travel. Paths are relative to it, "/" between parts, as on this device.

    `include` and `exclude` are patterns (see `globs.Globs`). The deny-list wins over excludes, excludes over includes,
    includes over the scope.
    """

    def __init__(self, scope: Scope, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> None:
        self.scope = scope
        upto = _ORDER[: _ORDER.index(scope) + 1]
        self._files = re.compile("|".join(re.escape(f) for s in upto for f in _FILES[s]))
        self._folders = frozenset(f for s in upto for f in _FOLDERS[s])
        self._include = Globs(include)
        self._exclude = Globs(exclude)
        self._folder = lru_cache(maxsize=1 << 15)(self._judge)

    def selects(self, rel: str) -> bool:
        """Whether the file `rel` travels."""
        folder, _, name = rel.rpartition("/")
        verdict = self._folder(folder)
        if verdict.never or denied_in(folder, name) or self._exclude.match(rel):
            return False
        junk = verdict.junk
        if not verdict.own and _JUNK_FILES.fullmatch(name):
            junk = (*junk, name)
        if not junk and verdict.taken is not None and verdict.taken.fullmatch(name):
            return True
        return self._include.match(rel) and all(self._include.names(rel, part) for part in junk)

    def descends(self, rel_dir: str) -> bool:
        """Whether anything below the folder `rel_dir` could travel; "" is the top."""
        verdict = self._folder(rel_dir)
        if verdict.never:
            return False
        if not verdict.junk and (verdict.deeper or verdict.taken is not None):
            return True
        return self._include.below(rel_dir, verdict.junk)

    @staticmethod
    def denied(rel: str) -> bool:
        """Whether the file or folder `rel` never travels, whatever the rules: see denylist."""
        return denied(rel)

    @staticmethod
    def classify(rel: str) -> FileClass:
        """How the file `rel` merges: see the function of that name."""
        return classify(rel)

    def _judge(self, folder: str) -> _Folder:
        if denied_folder(folder) or (folder and self._exclude.match(folder + "/")):
            return _Folder(never=True)
        if not folder:
            return _Folder(never=False, taken=self._files, deeper=True)
        parts = folder.split("/")
        if parts[0] == "projects":
            return _project(parts)
        junk = tuple(part for part in parts if part in _JUNK_FOLDERS)
        if parts[0] not in self._folders or (parts[0] == "plugins" and _PLUGIN_CACHES.intersection(parts[1:2])):
            return _Folder(never=False, junk=junk)
        if folder == "plugins":
            return _Folder(never=False, taken=_PLUGIN_FILES, deeper=True, junk=junk)
        return _Folder(never=False, taken=_ANY, deeper=True, junk=junk)


_PLUGIN_FILES = re.compile(f"(?!(?:{'|'.join(map(re.escape, sorted(_PLUGIN_CACHES)))})$).+", re.DOTALL)


def _project(parts: list[str]) -> _Folder:
    """The verdict on a folder of `projects`; what Claude Code wrote there has no junk."""
    nothing = _Folder(never=False, own=True)
    if len(parts) == 1:
        return _Folder(never=False, deeper=True, own=True)
    if not _KEY.fullmatch(parts[1]):
        return nothing
    if len(parts) == 2:
        return _Folder(never=False, taken=_TRANSCRIPT, deeper=True, own=True)
    if parts[2] == "memory":
        junk = tuple(part for part in parts[3:] if part.startswith(".") or part == "node_modules")
        return _Folder(never=False, taken=_ANY, deeper=True, junk=junk)
    if not _UUID.fullmatch(parts[2]):
        return nothing
    if len(parts) == 3:
        return _Folder(never=False, taken=_SIDECAR, deeper=True, own=True)
    return _Folder(never=False, taken=_ANY, deeper=True, own=True) if parts[3] in _SIDE_FOLDERS else nothing


def classify(rel: str) -> FileClass:
    """How the file `rel` (relative to `~/.claude`; the project's name may be the vault's) merges."""
    parts = rel.split("/")
    first = parts[0]
    if len(parts) == 1:
        if rel == "history.jsonl":
            return FileClass.HISTORY
        if rel.endswith(".json"):
            return FileClass.SETTINGS
        return FileClass.TEXT if rel.endswith(".md") else FileClass.OTHER
    if first == "projects" and len(parts) > 2:
        return _classify_project(parts[2:])
    if first in _SWEPT:
        return FileClass.SIDE
    if first == "themes" and rel.endswith(".json"):
        return FileClass.SETTINGS
    return FileClass.TEXT if rel.endswith(_TEXT) else FileClass.OTHER


def classify_portable(path: str) -> FileClass:
    """`classify` for a portable path."""
    root, _, rel = path.partition("/")
    return FileClass.CONFLICT if root == "conflicts" else classify(rel)


def _classify_project(parts: list[str]) -> FileClass:
    """`parts` follow the project folder's."""
    if len(parts) == 1:
        return FileClass.TRANSCRIPT if _TRANSCRIPT.fullmatch(parts[0]) else FileClass.OTHER
    if parts[0] == "memory":
        return FileClass.TEXT if parts[-1].endswith(_TEXT) else FileClass.OTHER
    if not _UUID.fullmatch(parts[0]):
        return FileClass.OTHER
    transcript = parts[1] == "subagents" and parts[-1].endswith(".jsonl")
    return FileClass.TRANSCRIPT if transcript else FileClass.SIDE
