"""What the tests know of Claude Code's folder by themselves: project keys, and which files are synced."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SYNCED_FILES = frozenset({"CLAUDE.md", "settings.json", "keybindings.json", "history.jsonl"})
SYNCED_FOLDERS = frozenset(
    {"rules", "agents", "commands", "output-styles", "workflows", "themes", "agent-memory", "paste-cache"}
)
SYNCED_OF_SESSION = frozenset({"subagents", "tool-results", "workflows", "custom-title.json", "archived.json"})


def encode(cwd: str) -> str:
    """The project key of a working directory, as Claude Code makes it (paths of up to 200 characters)."""
    return re.sub(r"[^A-Za-z0-9]", lambda m: "-" * (len(m[0].encode("utf-16-le")) // 2), cwd)


def portable(relative: str, home: str) -> str:
    """The path with its project key told from the home folder: `projects/~-dev-app/...`."""
    mine = f"projects/{encode(home)}"
    if relative.startswith((f"{mine}-", f"{mine}/")):
        return f"projects/~{relative[len(mine) :]}"
    return relative


def on_device(portable_path: str, home: str) -> str:
    """The inverse of `portable`."""
    if portable_path.startswith("projects/~"):
        return f"projects/{encode(home)}{portable_path[len('projects/~') :]}"
    return portable_path


def travels(relative: str) -> bool:
    """Whether the file at this path below the config folder is synced."""
    path = PurePosixPath(relative)
    parts = path.parts
    if any(part.startswith(".") or ".tmp" in part or part.endswith(".lock") for part in parts):
        return False
    if len(parts) == 1:
        return relative in SYNCED_FILES
    if parts[0] == "skills":
        return parts[1] != "synced"
    if parts[0] != "projects":
        return parts[0] in SYNCED_FOLDERS
    if len(parts) == 3:
        return path.suffix == ".jsonl" and UUID.fullmatch(path.stem) is not None
    if len(parts) > 3 and parts[2] == "memory":
        return True
    return len(parts) > 3 and UUID.fullmatch(parts[2]) is not None and parts[3] in SYNCED_OF_SESSION
