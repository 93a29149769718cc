"""Which passphrases are taken and which are refused."""

from __future__ import annotations

import pytest

from claude_syncd.ctl.strength import MINIMUM_BITS, estimated_bits, require_strong
from claude_syncd.errors import UsageError


@pytest.mark.parametrize(
    "passphrase",
    [
        "correct horse battery staple",
        "korrekt-pferd-batterie-klammer",
        "kX9$mQ2!vLw8",
        "x7Kq2vPm9Zt4",
        "0c2f9d71b83e6a45",
        "日本語の長い合言葉です",
        "9473016258 4419027365",
    ],
)
def test_taken(passphrase: str) -> None:
    require_strong(passphrase)


@pytest.mark.parametrize(
    "passphrase",
    [
        "",
        "hunter2",
        "password123456",
        "Password-Password-Password-Password",
        "sunshine2024!",
        "iloveyouforever",
        "correct-horse",
        "test test test test test test",
        "123456789012345678901234567890",
        "abcdefghijklmnopqrstuvwxyz",
        "a" * 200,
        "ab" * 50,
        "密码密码密码",
        "01.02.1990",
    ],
)
def test_refused_without_repeating_it(passphrase: str) -> None:
    with pytest.raises(UsageError, match="too easy to guess") as caught:
        require_strong(passphrase)
    assert not passphrase or passphrase not in f"{caught.value} {caught.value.hint}"


def test_longer_is_not_weaker() -> None:
    words = ["zebra", "kettle", "ocean", "violin", "granite"]
    bits = [estimated_bits(" ".join(words[:count])) for count in range(1, 6)]
    assert bits == sorted(bits)
    assert bits[-1] > MINIMUM_BITS
