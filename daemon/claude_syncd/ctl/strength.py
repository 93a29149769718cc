"""How hard a passphrase is to guess, roughly and rather too low than too high.

Whoever has the vault's objects can try passphrases at the price of one Argon2id each, so the passphrase carries
the whole weight; a careless one is refused where it is made.
"""

from __future__ import annotations

import itertools
import math
import re

from claude_syncd.errors import UsageError

MINIMUM_BITS = 40

_WORD_BITS = 12.0  # a word picked from a few thousand
_WORD_LENGTH = 7  # letters that such a word explains
_MORE_LETTERS = 2.0  # bits per letter beyond
_YEAR = re.compile(r"(?:19|20)\d\d")
_PARTS = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]")
_COMMON = frozenset(
    {
        "password",
        "passwort",
        "passphrase",
        "qwerty",
        "qwertz",
        "azerty",
        "asdf",
        "asdfgh",
        "zxcvbn",
        "letmein",
        "welcome",
        "admin",
        "iloveyou",
        "secret",
        "changeme",
        "dragon",
        "monkey",
        "football",
        "baseball",
        "master",
        "sunshine",
        "princess",
        "claude",
        "claudesync",
        "sync",
        "test",
        "abc",
        "abcdef",
    }
)


def estimated_bits(passphrase: str) -> float:
    """The estimate in bits: words count as words, repeats and sequences for almost nothing."""
    bits = 0.0
    seen: set[str] = set()
    for part in _PARTS.findall(passphrase):
        folded = part.lower()
        bits += 1.0 if folded in seen else _part_bits(part)
        if len(part) > 1:
            seen.add(folded)
    # Few different characters can't carry much, however they are put together.
    different = len(set(passphrase))
    return min(bits, len(passphrase) * math.log2(different + 1)) if 2 * different <= len(passphrase) else bits


def require_strong(passphrase: str) -> None:
    """Raises UsageError, which says why, for a passphrase below 40 bits."""
    bits = estimated_bits(passphrase)
    if bits < MINIMUM_BITS:
        raise UsageError(
            f"this passphrase is too easy to guess: about {bits:.0f} bits, and {MINIMUM_BITS} are needed, "
            "because it is all that protects the vault from whoever sees the store",
            hint="take four or more words picked at random, or 12 random letters and digits, "
            "or let --generate-key make a key without a passphrase",
        )


def _part_bits(part: str) -> float:
    if part.isascii() and part.isdigit():
        if _YEAR.fullmatch(part):
            return 7.0
        return _surprises(part) * math.log2(10)
    if part.isascii() and part.isalpha():
        if part.lower() in _COMMON:
            return 5.0
        case = 0.0 if part.islower() or part.isupper() or part.istitle() else float(len(part)) * 0.5
        by_letter = _surprises(part.lower()) * math.log2(26)
        as_word = _WORD_BITS + _MORE_LETTERS * max(0, len(part) - _WORD_LENGTH)
        return min(by_letter, as_word) + case
    if part.isspace() or part in "-_.,":
        return 0.5  # what separates words
    return 5.0 if part.isascii() else 7.0


def _surprises(text: str) -> int:
    """Characters that do not just repeat the one before or go one step up or down from it; at least one."""
    return 1 + sum(abs(ord(b) - ord(a)) > 1 for a, b in itertools.pairwise(text))
