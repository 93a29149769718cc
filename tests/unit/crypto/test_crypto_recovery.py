import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.crypto.keys import age_identity
from claude_syncd.crypto.recovery import format_code, looks_like_code, new_code, parse_code, recovery_identity

SECRETS = st.binary(min_size=20, max_size=20)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@given(SECRETS)
def test_a_code_reads_back(secret: bytes) -> None:
    code = format_code(secret)
    assert len(code.split("-")) == 9
    assert parse_code(code) == secret


@given(SECRETS, st.randoms())
def test_a_code_reads_back_however_it_is_typed(secret: bytes, random: object) -> None:
    code = format_code(secret)
    typed = code.lower().replace("0", "o").replace("1", "l").replace("-", "  ")
    assert parse_code(f" {typed}\n") == secret
    assert parse_code(code.replace("-", "").replace("1", "I").replace("0", "O")) == secret


@given(SECRETS, st.integers(0, 35), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(secret: bytes, place: int, char: str) -> None:
    digits = format_code(secret).replace("-", "")
    mistyped = digits[:place] + char + digits[place + 1 :]
    assert looks_like_code(mistyped)
    assert parse_code(mistyped) == (secret if mistyped == digits else None)


@pytest.mark.parametrize(
    "text", ["", "correct horse battery staple", "0" * 35, "0" * 37, "u" * 36, "ü" * 36, "correct horse " * 500]
)
def test_a_passphrase_is_not_taken_for_a_code(text: str) -> None:
    assert not looks_like_code(text)
    assert parse_code(text) is None


def test_the_randomness_is_the_callers() -> None:
    assert new_code(lambda count: bytes(range(count))) == format_code(bytes(range(20)))
    assert new_code() != new_code()


def test_only_160_bits_make_a_code() -> None:
    with pytest.raises(ValueError, match="160"):
        format_code(bytes(19))


def test_the_identity_is_the_documented_one() -> None:
    digest = hashlib.blake2b(b"recovery", key=bytes(20), digest_size=32, person=b"claude-syncd-v1").digest()
    assert recovery_identity(bytes(20)) == age_identity(digest)
