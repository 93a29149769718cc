"""Where things are: the watched tree and the state folder (DESIGN section 6). Imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Places:
    """The two folders that everything else hangs on, and the user's home folder; all absolute."""

    tree: Path
    state: Path
    user_home: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Places:
        """`$CLAUDE_CONFIG_DIR` else `~/.claude`; `$CLAUDE_SYNC_HOME` else `~/.claude-sync`."""
        user_home = Path(environ.get("HOME") or Path.home())
        tree = environ.get("CLAUDE_CONFIG_DIR")
        state = environ.get("CLAUDE_SYNC_HOME")
        return cls(
            tree=Path(tree).expanduser().absolute() if tree else user_home / ".claude",
            state=Path(state).expanduser().absolute() if state else user_home / ".claude-sync",
            user_home=user_home,
        )

    @property
    def config(self) -> Path:
        """Settings, 0600."""
        return self.state / "config.toml"

    @property
    def key(self) -> Path:
        """The vault key, 0600."""
        return self.state / "vault.key"

    @property
    def device(self) -> Path:
        """This device's id and name, JSON, 0600."""
        return self.state / "device.json"

    @property
    def database(self) -> Path:
        """The state database."""
        return self.state / "state.db"

    @property
    def outbox(self) -> Path:
        """Sealed log entries on their way."""
        return self.state / "outbox"

    @property
    def mirrors(self) -> Path:
        """What is known of each store where the vault is in several, JSON."""
        return self.state / "mirrors.json"

    @property
    def trash(self) -> Path:
        """What was overwritten or deleted here."""
        return self.state / "trash"

    @property
    def conflicts(self) -> Path:
        """The kept sides of conflicts; synced like any file."""
        return self.state / "conflicts"

    @property
    def log(self) -> Path:
        """The daemon's log, JSON lines."""
        return self.state / "log" / "claude-syncd.log"

    @property
    def crash(self) -> Path:
        """Where the daemon was when native code crashed it, until the next one has told."""
        return self.state / "log" / "crash"

    @property
    def socket(self) -> Path:
        """The control socket, 0600."""
        return self.state / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the one process that works on this state folder."""
        return self.state / "lock"
