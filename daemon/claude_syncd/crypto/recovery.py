"""The recovery code: 160 random bits that a person can print, read out and type in again."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from claude_syncd.crypto.keys import age_identity, derive

if TYPE_CHECKING:
    from collections.abc import Callable

CODE_BYTES: Final = 20
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_CHECK_CHARS: Final = 4
_CODE_CHARS: Final = CODE_BYTES * 8 // 5 + _CHECK_CHARS
_TOLERATED: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\t": None, "\n": None})


def new_code(random: Callable[[int], bytes] = os.urandom) -> str:
    """A fresh code: nine groups of four characters with dashes; the last group is a checksum."""
    return format_code(random(CODE_BYTES))


def format_code(secret: bytes) -> str:
    """The code of `secret` (20 bytes)."""
    if len(secret) != CODE_BYTES:
        raise ValueError("a recovery code has 160 bits")
    text = _digits(int.from_bytes(secret, "big"), _CODE_CHARS - _CHECK_CHARS) + _check(secret)
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def parse_code(text: str) -> bytes | None:
    """The 20 bytes of a code, whatever its case, spaces and dashes, with O for 0 and I or L for 1.

    None if the text is no code or its checksum is wrong; `looks_like_code` tells these apart.
    """
    if not looks_like_code(text):
        return None
    digits = text.upper().translate(_TOLERATED)
    value = 0
    for char in digits[:-_CHECK_CHARS]:
        value = value << 5 | _ALPHABET.index(char)
    secret = value.to_bytes(CODE_BYTES, "big")
    return secret if _check(secret) == digits[-_CHECK_CHARS:] else None


def looks_like_code(text: str) -> bool:
    """Whether the text has the length and the characters of a code, right or mistyped."""
    digits = text.upper().translate(_TOLERATED)
    return len(digits) == _CODE_CHARS and all(char in _ALPHABET for char in digits)


def recovery_identity(secret: bytes) -> str:
    """The age identity that the recovery slot is encrypted to."""
    return age_identity(derive(secret, "recovery"))


def _check(secret: bytes) -> str:
    digest = blake2b(secret, digest_size=8, person=b"claude-syncd-rc").digest()
    return _digits(int.from_bytes(digest, "big") >> (64 - 5 * _CHECK_CHARS), _CHECK_CHARS)


def _digits(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 5 * (count - 1 - i) & 31] for i in range(count))
