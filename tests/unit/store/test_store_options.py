"""Options that contradict themselves are refused wherever they come from, and secrets are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claude_syncd.errors import ConfigError
from claude_syncd.store.options import S3Options, WebDavOptions

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: S3Options("bucket", access_key_id="key-id"), "go together"),
        (lambda: S3Options("bucket", secret_access_key="hush"), "go together"),
        (lambda: S3Options("bucket", session_token="hush"), "session_token needs"),
        (lambda: WebDavOptions("https://dav.example", username="ann"), "go together"),
        (lambda: WebDavOptions("https://dav.example", username="a", password="hush", token="hush"), "either"),
    ],
)
def test_half_a_credential_and_two_are_refused(make: Callable[[], object], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as raised:
        make()
    assert "hush" not in str(raised.value)


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(S3Options("bucket", access_key_id="id", secret_access_key="hush", session_token="quiet"))
    shown += repr(WebDavOptions("https://dav.example", token="hush"))
    assert "id" in shown
    assert "hush" not in shown
    assert "quiet" not in shown
