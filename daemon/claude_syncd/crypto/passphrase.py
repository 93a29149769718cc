"""From a passphrase to an age identity: Argon2id with bounded parameters."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from claude_syncd.crypto.keys import KEY_BYTES, age_identity
from claude_syncd.errors import FormatError, UsageError

MIN_MEMORY_KIB: Final = 64 * 1024
MAX_MEMORY_KIB: Final = 2 * 1024 * 1024
MAX_TIME: Final = 16
MAX_PARALLELISM: Final = 16
MAX_PASSPHRASE_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Argon2:
    """Cost of Argon2id (version 1.3). Memory in KiB. Raises FormatError beyond the bounds, whoever asks."""

    memory_kib: int = 256 * 1024
    time: int = 3
    parallelism: int = 4

    def __post_init__(self) -> None:
        if (
            not MIN_MEMORY_KIB <= self.memory_kib <= MAX_MEMORY_KIB
            or not 1 <= self.time <= MAX_TIME
            or not 1 <= self.parallelism <= MAX_PARALLELISM
        ):
            raise FormatError("the vault's key-derivation parameters are outside of what is safe")


def passphrase_identity(passphrase: str, salt: str, cost: Argon2) -> str:
    """The age identity of `passphrase` (NFKC-normalised, UTF-8). `salt` is taken as ASCII text.

    Takes about a second and `cost.memory_kib` of memory; releases the GIL. Raises UsageError for a passphrase
    that is empty or too long.
    """
    from argon2.low_level import Type, hash_secret_raw  # noqa: PLC0415 - costs 15 ms and is needed once per vault

    secret = unicodedata.normalize("NFKC", passphrase).encode()
    if not 1 <= len(secret) <= MAX_PASSPHRASE_BYTES:
        raise UsageError("a passphrase has 1 to 1024 bytes", hint="choose another passphrase")
    raw = hash_secret_raw(
        secret,
        salt.encode("ascii"),
        time_cost=cost.time,
        memory_cost=cost.memory_kib,
        parallelism=cost.parallelism,
        hash_len=KEY_BYTES,
        type=Type.ID,
    )
    return age_identity(raw)
