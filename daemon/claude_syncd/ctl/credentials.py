"""Where `init` gets the store's credentials from: a file or the environment, never the command line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.errors import LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAX_FILE = 64 * 1024
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]+)\s*=\s*(.*?)\s*")
_SECTION = re.compile(r"\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]\s*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of S3 and its relatives; `repr` is free of secrets."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def from_file(path: Path, profile: str = "default") -> Credentials:
    """What an AWS credentials file says for `profile`, or a file of `AWS_ACCESS_KEY_ID=...` lines.

    Raises LocalError, UsageError.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE).decode()
    except OSError as error:
        raise LocalError(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    found: dict[str, str] = {}
    section = profile
    for line in text.splitlines():
        if header := _SECTION.fullmatch(line):
            section = header[1]
        elif section == profile and (setting := _LINE.fullmatch(line)):
            found[setting[1].lower()] = setting[2].strip("'\"")
    credentials = _taken(found)
    if credentials is None:
        raise UsageError(
            f"{path} has no access key in it",
            hint="it should have lines aws_access_key_id = ... and aws_secret_access_key = ...",
        )
    return credentials


def from_environment(environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """What `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` say; None where they say nothing."""
    return _taken({name.lower(): value for name, value in environ.items() if name.startswith("AWS_")})


def _taken(found: Mapping[str, str]) -> Credentials | None:
    def value(name: str) -> str | None:
        return found.get(f"aws_{name}") or found.get(name) or None

    key, secret = value("access_key_id"), value("secret_access_key")
    return Credentials(key, secret, value("session_token")) if key and secret else None


def secret_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """`AWS_SECRET_ACCESS_KEY` alone, for a key id that came from elsewhere."""
    return environ.get("AWS_SECRET_ACCESS_KEY") or None
