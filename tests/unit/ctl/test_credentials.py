"""Access keys from files of both usual kinds and from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claude_syncd.ctl.credentials import Credentials, from_environment, from_file
from claude_syncd.errors import LocalError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

AWS = """\
# a comment
[default]
aws_access_key_id = AK1
aws_secret_access_key = s3cr=et/+1

[profile work]
aws_access_key_id=AK2
aws_secret_access_key=secret2
aws_session_token=token2
"""


@pytest.mark.parametrize(
    ("text", "profile", "expected"),
    [
        (AWS, "default", Credentials("AK1", "s3cr=et/+1")),
        (AWS, "work", Credentials("AK2", "secret2", "token2")),
        ("export AWS_ACCESS_KEY_ID='AK3'\nAWS_SECRET_ACCESS_KEY=\"x y\"\n", "default", Credentials("AK3", "x y")),
        ("access_key_id=AK4\r\nsecret_access_key=s\r\n", "default", Credentials("AK4", "s")),
    ],
)
def test_files(tmp_path: Path, text: str, profile: str, expected: Credentials) -> None:
    file = tmp_path / "credentials"
    file.write_bytes(text.encode())
    assert from_file(file, profile) == expected


@pytest.mark.parametrize("data", [b"", b"[other]\naws_access_key_id=a\naws_secret_access_key=b\n", b"\xff\xfe", b"a=b"])
def test_files_without_a_key(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "credentials"
    file.write_bytes(data)
    with pytest.raises(UsageError, match="no access key"):
        from_file(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        from_file(tmp_path / "none")


def test_environment() -> None:
    assert from_environment({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}) == (
        Credentials("a", "b", "c")
    )
    assert from_environment({"AWS_ACCESS_KEY_ID": "a"}) is None
    assert from_environment({}) is None


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Credentials("id", "hush", "hush"))
