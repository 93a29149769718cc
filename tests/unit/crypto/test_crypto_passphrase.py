import pytest

from claude_syncd.crypto.passphrase import Argon2, passphrase_identity
from claude_syncd.errors import FormatError, UsageError

CHEAP = Argon2(memory_kib=65_536, time=1, parallelism=2)
SALT = "ab" * 16


def test_the_default_cost_is_the_designs() -> None:
    assert Argon2() == Argon2(memory_kib=262_144, time=3, parallelism=4)


@pytest.mark.parametrize(
    "cost",
    [
        {"memory_kib": 65_535},
        {"memory_kib": 2_097_153},
        {"time": 0},
        {"time": 17},
        {"parallelism": 0},
        {"parallelism": 17},
    ],
)
def test_a_cost_beyond_bounds_is_refused(cost: dict[str, int]) -> None:
    with pytest.raises(FormatError, match="parameters"):
        Argon2(**cost)


def test_every_input_matters() -> None:
    identities = {
        passphrase_identity("correct horse", SALT, CHEAP),
        passphrase_identity("correct horse ", SALT, CHEAP),
        passphrase_identity("correct horse", "cd" * 16, CHEAP),
        passphrase_identity("correct horse", SALT, Argon2(memory_kib=65_536, time=2, parallelism=2)),
    }
    assert len(identities) == 4
    assert all(identity.startswith("AGE-SECRET-KEY-1") for identity in identities)


def test_the_same_passphrase_typed_on_another_keyboard_is_the_same() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert passphrase_identity(composed, SALT, CHEAP) == passphrase_identity(decomposed, SALT, CHEAP)


@pytest.mark.parametrize("passphrase", ["", "x" * 1025])
def test_an_empty_or_huge_passphrase_is_refused(passphrase: str) -> None:
    with pytest.raises(UsageError, match="1 to 1024"):
        passphrase_identity(passphrase, SALT, CHEAP)
