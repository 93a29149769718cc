"""The vault's keys: what is derived from the vault key, and the text form that slots and `vault.key` share.

The text is an age identity file, so `age -d -i vault.key` opens any blob; docs/format.md describes it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from claude_syncd.crypto import bech32
from claude_syncd.errors import FormatError, LocalError, WrongKey

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES: Final = 32
MAX_EPOCH: Final = 0xFFFF
MAX_KEY_TEXT: Final = 64 * 1024

_PERSON: Final = b"claude-syncd-v1"
_TITLE: Final = "# claude-syncd vault key, version 1. Keep it secret: it opens the whole vault."
_LINES: Final = re.compile(
    r"# vault: (?P<vault>[0-9a-f]{32})\n# header: (?P<header>[0-9a-f]{64})\n"
    r"(?P<epochs>(?:# epoch [1-9][0-9]{0,4}: [0-9a-f]{64}\nAGE-SECRET-KEY-1[0-9A-Z]{58}\n){1,64})"
)
_EPOCH: Final = re.compile(r"# epoch ([0-9]+): ([0-9a-f]{64})\n(AGE-SECRET-KEY-1[0-9A-Z]+)\n")


def derive(key: bytes, label: str) -> bytes:
    """32 bytes for one purpose: BLAKE2b-256 of `label`, keyed with `key`."""
    return blake2b(label.encode("ascii"), key=key, digest_size=KEY_BYTES, person=_PERSON).digest()


def age_identity(secret: bytes) -> str:
    """The age X25519 identity `AGE-SECRET-KEY-1...` whose scalar is `secret` (32 bytes)."""
    if len(secret) != KEY_BYTES:
        raise ValueError("an X25519 secret has 32 bytes")
    return bech32.encode("age-secret-key-", secret).upper()


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The vault key of one epoch with what is derived from it. `repr` shows the epoch only."""

    epoch: int
    secret: bytes = field(repr=False)
    identity: str = field(init=False, repr=False)
    mac: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.epoch <= MAX_EPOCH or len(self.secret) != KEY_BYTES:
            raise ValueError("epochs are 1 to 65535, and a vault key has 32 bytes")
        object.__setattr__(self, "identity", age_identity(derive(self.secret, "age")))
        object.__setattr__(self, "mac", derive(self.secret, "mac"))


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """All that it takes to read and write one vault. `repr` is free of secrets.

    `header` is the SHA-256 (hex) of the vault.json that the keys belong to; `ring` ascends by epoch.
    """

    vault_id: str
    header: str
    ring: tuple[EpochKey, ...]

    def __post_init__(self) -> None:
        epochs = [key.epoch for key in self.ring]
        if not epochs or epochs != sorted(set(epochs)):
            raise ValueError("a key ring has at least one epoch, each once, ascending")

    @property
    def epoch(self) -> int:
        """The epoch that is written with: the newest."""
        return self.ring[-1].epoch

    @property
    def current(self) -> EpochKey:
        """The key that is written with."""
        return self.ring[-1]

    def at(self, epoch: int) -> EpochKey:
        """The key of `epoch`; WrongKey if this ring lacks it."""
        for key in self.ring:
            if key.epoch == epoch:
                return key
        raise WrongKey(
            f"this device has no vault key of epoch {epoch}",
            hint="the vault key was rotated: run `claude-syncctl init` again to fetch the new one",
        )


def encode_keys(keys: VaultKeys) -> bytes:
    """The text form: an age identity file with the vault's id, header digest and keys in its comments."""
    lines = [_TITLE, f"# vault: {keys.vault_id}", f"# header: {keys.header}"]
    for key in keys.ring:
        lines += [f"# epoch {key.epoch}: {key.secret.hex()}", key.identity]
    return ("\n".join(lines) + "\n").encode("ascii")


def decode_keys(data: bytes, what: str) -> VaultKeys:
    """Reads what `encode_keys` wrote. Raises FormatError, which calls the text `what`."""
    broken = FormatError(f"{what} is not a claude-syncd vault key", hint="restore it, or join the vault again")
    if len(data) > MAX_KEY_TEXT:
        raise broken
    title, _, rest = data.decode("ascii", errors="replace").partition("\n")
    match = _LINES.fullmatch(rest)
    if title != _TITLE or match is None:
        raise broken
    ring = []
    for epoch, secret, identity in _EPOCH.findall(match["epochs"]):
        try:
            key = EpochKey(int(epoch), bytes.fromhex(secret))
        except ValueError:
            raise broken from None
        if key.identity != identity:
            raise broken
        ring.append(key)
    try:
        return VaultKeys(match["vault"], match["header"], tuple(ring))
    except ValueError:
        raise broken from None


def save_keys(path: Path, keys: VaultKeys, *, replace: bool = False) -> None:
    """Write the vault.key file (0600), durable when this returns.

    Raises LocalError, also if the file exists and `replace` is not set. Blocks.
    """
    target = path.with_name(path.name + ".new") if replace else path
    try:
        if replace:
            target.unlink(missing_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode_keys(keys))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            target.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise LocalError(
            f"{path} holds a vault key already",
            hint="it is the only way into its vault unless you have the passphrase or the recovery code; "
            "`--force` replaces it",
        ) from None
    except OSError as error:
        raise LocalError(f"can't write {path}: {error.strerror}") from error


def load_keys(path: Path) -> VaultKeys:
    """Read the vault.key file. Raises LocalError (not there, not readable) or FormatError. Blocks."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_TEXT + 1)
    except OSError as error:
        raise LocalError(f"can't read {path}: {error.strerror}", hint="run `claude-syncctl init`") from error
    return decode_keys(data, str(path))
