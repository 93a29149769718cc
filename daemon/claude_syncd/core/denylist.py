"""What never travels, in no scope and whatever a user includes: secrets, and what belongs to one machine only.

Checked on push and on pull. Names are compared as `names.fold` sees them, so that no spelling of a denied name
that some file system takes for it gets past.
"""

from __future__ import annotations

import re
from functools import lru_cache

from claude_syncd.core.names import MAX_DEPTH, fold

# Directly under ~/.claude, files and folders.
_TOP = frozenset(
    {
        # secrets, and what holds them
        ".config.json", "access-audit", "antproto.json", "api-dumps", "backups", "daemon", "debug", "dump-prompts",
        "hfi-auth.json", "ide", "jobs", "logs", "mcp-discovery-cache", "mcp-needs-auth-cache.json",
        "mcp-skill-archives", "session-env", "sessions", "shares", "shell-snapshots", "startup-perf", "state",
        "statsig", "telemetry", "traces",
        # processes, sockets, this host
        "bridge-spawn", "ccr", "chrome", "cowork_plugins", "dev-mods", "local", "local-settings",
        "project-settings", "remote", "remote-control", "scratch", "seed-admin", "server-sessions.json",
        "storage-v2", "systemd", "teams", "agent-memory-local",
        # caches, markers, figures that can't be added up; `.last-cleanup` would move another machine's cleanup
        ".deep-link-register-failed", ".last-cleanup", ".last-update-result.json", ".npm-cache-cleanup",
        ".version-cleanup", "active-time.json", "cache", "gh-pr-status-cache.json", "image-cache",
        "stats-cache.json", "usage-data",
    }
)  # fmt: skip
_TOP_BEGINS = ("daemon.log", "feedback", "policy-limits", "remote-settings")

# Anywhere.
_BEGINS = (".credentials.json", ".session_ingress_token", ".claude.json", ".csync-", "._")
_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_TEMPORARY = re.compile(r"\.tmp(?![a-z])")
# As Dropbox, Syncthing, Nextcloud, Resilio and others name the copies they make of a file changed twice.
_COPY = re.compile(r"conflicted copy|case conflict|\.sync-conflict-|_conflict-\d|\.conflict(?:[.-]|$)")

# In Claude Code's own folders: server-managed, derived (with byte offsets), set aside, or of one machine.
_BELOW = re.compile(
    r"""
    (?:skills|plugins)/(?:synced|\.trash|\.staging)
    | projects/[^/]+/(?:
        sessions-index\.json | bridge-pointer\.json | \.session-aliases
        | [^/]+\.(?:ccr-tip|precompact|desktop-released|dir-sync|dir-sync-empty|cloud-worktrees)\.json
        | [^/]+\.jsonl\.compact\.tmp\.[^/]* | [^/]+\.superseded-[^/]* | [^/]+\.orphaned-[^/]*
        | tiny_memory | bagel | cloud-snapshots | connector-downloads
        | [0-9a-f-]{36}/(?:
            resume-head\.jsonl | precompact\.json | sent-prefix\.json | ccr-tip\.json | [^/]+\.cast
            | remote-agents | mcp-tasks
        )
    )
    """,
    re.VERBOSE,
)


def denied(rel: str) -> bool:
    """Whether `rel`, a file or folder relative to `~/.claude` ("/" between parts), never travels."""
    folder, _, name = rel.rpartition("/")
    return denied_folder(folder) or denied_in(folder, name)


@lru_cache(maxsize=1 << 15)
def denied_folder(folder: str) -> bool:
    """`denied` for a folder, remembered; "" is the top."""
    if folder.count("/") >= MAX_DEPTH:  # too deep for the vault, and for the stack
        return True
    return folder != "" and denied(folder)


def denied_in(folder: str, name: str) -> bool:
    """Whether `name` is denied in `folder`, itself not denied."""
    if name in ("", ".", ".."):
        return True
    name = fold(name)
    if name.startswith(_BEGINS) or name.endswith(".lock") or name in _NAMES:
        return True
    if ".tmp" in name and _TEMPORARY.search(name):
        return True
    if "conflict" in name and _COPY.search(name):
        return True
    if not folder:
        return name in _TOP or name.startswith(_TOP_BEGINS)
    above = _ruled(folder)
    return above is not None and _BELOW.fullmatch(above + name) is not None


@lru_cache(maxsize=1 << 15)
def _ruled(folder: str) -> str | None:
    """`folder` as `_BELOW` spells it, with a "/"; None where `_BELOW` says nothing of the names directly in it."""
    parts = [fold(part) for part in folder.split("/")]
    if (len(parts) == 1 and parts[0] in ("skills", "plugins")) or (parts[0] == "projects" and 1 < len(parts) <= 3):
        return "/".join(parts) + "/"
    return None
