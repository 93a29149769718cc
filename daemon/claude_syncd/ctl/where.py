"""Where the state folder is, for a client that must start fast: what local/home.py says, without what it imports."""

# pathlib and the rest of local/home.py take 10 ms to import:
# ruff: noqa: PTH109, PTH110, PTH111, PTH118
from __future__ import annotations

import os


def state_folder() -> str:
    """Give `$CLAUDE_SYNC_HOME`, else `~/.claude-sync`; absolute."""
    told = os.environ.get("CLAUDE_SYNC_HOME")
    if told:
        return os.path.join(os.getcwd(), os.path.expanduser(told))
    return os.path.join(os.environ.get("HOME") or os.path.expanduser("~"), ".claude-sync")


def control_socket() -> str:
    """Give the control socket's path."""
    return os.path.join(state_folder(), "control.sock")


def log_file() -> str:
    """Give the path of the daemon's log."""
    return os.path.join(state_folder(), "log", "claude-syncd.log")


def is_set_up() -> bool:
    """Whether `init` has been here: the device has an id, and a vault is configured."""
    folder = state_folder()
    return all(os.path.exists(os.path.join(folder, name)) for name in ("device.json", "config.toml"))
