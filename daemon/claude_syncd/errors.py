"""The tree of errors.

    SyncError                  everything that this project raises on purpose
    ├── UsageError             the command's words are wrong (exit code 2)
    ├── NotSetUp               no vault is configured on this device (exit code 4)
    ├── NoDaemon               the command needs a running daemon (exit code 3)
    ├── Held                   waiting for an answer from the user (exit code 5)
    ├── ConfigError            a setting is wrong
    ├── AlreadyRunning         another process works on this state folder
    ├── StateBroken            the state database can't be used; it is rebuilt
    ├── LocalError             this device's disk: full, read-only, permission
    │   └── Changed            a file changed while it was worked on; the next round sees it again
    ├── StoreError             a store said no, or nothing
    │   ├── ObjectMissing      no object of that name
    │   ├── AlreadyExists      `if_absent` found an object of that name
    │   ├── StoreUnavailable   passing: network, timeout, 5xx, throttled (retry)
    │   └── StoreRefused       lasting: credentials, permission
    │       └── NoSuchPlace    no such folder, bucket or repository
    └── VaultError             what a store returned can't be trusted or read
        ├── IntegrityError     authentication failed: altered, swapped, truncated or forged
        ├── FormatError        authenticated but malformed, or of an unknown version
        └── WrongKey           passphrase, recovery code or key does not open this vault

Each answers: does a retry help (`retry`), is the store merely out of reach (`offline`), and what should the user do
now (`hint`).
"""

from __future__ import annotations

from typing import ClassVar


class SyncError(Exception):
    """Anything this project raises on purpose; `str()` is one line fit for a user and free of secrets."""

    retry: ClassVar[bool] = False
    offline: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = "run `claude-syncctl logs` for details"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint if hint is not None else self.default_hint


class UsageError(SyncError):
    """The command's words are wrong."""

    exit_code = 2
    default_hint = "see `claude-syncctl --help`"


class NotSetUp(SyncError):
    """No vault is configured on this device."""

    exit_code = 4
    default_hint = "run `claude-syncctl init`"


class NoDaemon(SyncError):
    """The command needs a running daemon."""

    exit_code = 3
    default_hint = "start it with `claude-syncctl service start`, or run `claude-syncd`"


class Held(SyncError):
    """Syncing waits for an answer from the user."""

    exit_code = 5
    default_hint = "look at `claude-syncctl status`, then answer with `claude-syncctl resume --accept`"


class ConfigError(SyncError):
    """A setting is wrong."""

    default_hint = "correct config.toml or the CLAUDE_SYNC_* variable that it names"


class AlreadyRunning(SyncError):
    """Another process works on this state folder."""

    default_hint = "use `claude-syncctl`, or stop the other process first"


class StateBroken(SyncError):
    """The state database can't be used; it is rebuilt from the vault and the disk."""


class LocalError(SyncError):
    """This device's disk refused: full, read-only, no permission."""

    retry = True
    default_hint = "check free space and permissions of the folder that it names"


class Changed(LocalError):
    """A file changed while it was worked on; nothing was done and the next round sees it again."""


class StoreError(SyncError):
    """A store said no, or nothing."""


class ObjectMissing(StoreError):
    """There is no object of that name."""


class AlreadyExists(StoreError):
    """A conditional put found an object of that name."""


class StoreUnavailable(StoreError):
    """The store can't be reached or is overloaded; passing."""

    retry = True
    offline = True
    default_hint = "check the connection; a running daemon tries again by itself"

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        """`retry_after` is in seconds, from the server, where it said so."""
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class StoreRefused(StoreError):
    """The store refuses for a lasting reason: credentials, permission, no such bucket."""

    default_hint = "check the store's settings and credentials in config.toml"


class NoSuchPlace(StoreRefused):
    """The folder, bucket or repository that is to hold the vault is not there; setting up may make it."""


class VaultError(SyncError):
    """What a store returned can't be trusted or read."""

    default_hint = "nothing on this device was changed; see docs/threat-model.md"


class IntegrityError(VaultError):
    """Authentication failed: altered, swapped, truncated, replayed or forged."""


class FormatError(VaultError):
    """Authenticated but malformed, beyond bounds, or of an unknown version."""


class WrongKey(VaultError):
    """The passphrase, recovery code or key does not open this vault."""

    default_hint = "check the passphrase; a recovery code works in its place"
