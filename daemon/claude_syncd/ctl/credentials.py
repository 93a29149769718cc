"""Where `init` gets the store's credentials from: options, files and the environment, never from the command line.

A daemon that systemd or launchd starts does not see the environment of the shell that ran `init`, so what is found
there is kept. What the clouds' own files hold (a profile, application-default credentials) is read each time.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.errors import LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claude_syncd.ctl.options import Given

_MAX_FILE = 64 * 1024
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]+)\s*=\s*(.*?)\s*")
_SECTION = re.compile(r"\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]\s*")
_OURS = "CLAUDE_SYNC_STORE__"
_ONLY_IN_THIS_SHELL = (
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of S3 and its relatives; `repr` is free of secrets."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def settings(self) -> dict[str, str]:
        """As they stand in `[store]`."""
        found = {"access_key_id": self.access_key_id, "secret_access_key": self.secret_access_key}
        return {**found, "session_token": self.session_token} if self.session_token else found


def from_file(path: Path, profile: str = "default") -> Credentials:
    """What an AWS credentials file says for `profile`, or a file of `AWS_ACCESS_KEY_ID=...` lines.

    Raises LocalError, UsageError.
    """
    credentials = _taken(_settings(path, profile))
    if credentials is None:
        raise UsageError(
            f"{path} has no access key in it",
            hint="it should have lines aws_access_key_id = ... and aws_secret_access_key = ...",
        )
    return credentials


def from_environment(environ: Mapping[str, str] = os.environ) -> Credentials | None:
    """The keys in variables of ours (`CLAUDE_SYNC_STORE__ACCESS_KEY_ID`) or of AWS's; None where they say nothing."""
    ours = {name.removeprefix(_OURS).lower(): value for name, value in environ.items() if name.startswith(_OURS)}
    aws = {name.lower(): value for name, value in environ.items() if name.startswith("AWS_")}
    return _taken(ours) or _taken(aws)


def secret_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret key alone, for a key id that came from elsewhere."""
    return environ.get(f"{_OURS}SECRET_ACCESS_KEY") or environ.get("AWS_SECRET_ACCESS_KEY") or None


def profiles(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The profiles that AWS's files on this machine name; files that can't be read name none."""
    from configparser import Error, RawConfigParser  # noqa: PLC0415 - for the wizard only

    folder = Path(environ.get("HOME") or Path.home()) / ".aws"
    found: dict[str, None] = {}
    for variable, name in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")):
        parser = RawConfigParser(strict=False, allow_no_value=True)
        try:
            parser.read(environ.get(variable) or folder / name, encoding="utf-8")
        except (Error, OSError, UnicodeDecodeError):
            continue
        for section in parser.sections():
            if not section.startswith(("sso-session ", "services ", "plugins")):
                found[section.removeprefix("profile ").strip()] = None
    return tuple(found)


def of_s3(given: Given, ask: Callable[[str], str] | None) -> dict[str, str] | None:
    """What the options and the environment say about access to S3; None if they say nothing.

    `ask` asks for a secret; None if there is nobody. Raises UsageError, LocalError.
    """
    file, profile, key = (given.value(name) for name in ("--credentials-file", "--profile", "--access-key-id"))
    if file is not None:
        if key is not None:
            raise UsageError("--credentials-file and --access-key-id: give one of them")
        return from_file(Path(file).expanduser(), profile or "default").settings()
    if profile is not None:
        if key is not None:
            raise UsageError("--profile and --access-key-id: give one of them")
        return {"profile": profile}
    told = from_environment()
    if key is not None and (told is None or told.access_key_id != key):
        secret = secret_from_environment() or (ask("Secret access key:") if ask else None)
        if not secret:
            raise UsageError(
                "no secret for --access-key-id",
                hint="set AWS_SECRET_ACCESS_KEY, or use --credentials-file or --profile",
            )
        told = Credentials(key, secret)
    if told is None and os.environ.get("AWS_PROFILE"):
        return {"profile": os.environ["AWS_PROFILE"]}
    return told.settings() if told else None


def of_gcs(given: Given) -> dict[str, str] | None:
    """The credentials file that the options or the environment name; None if they name none. Raises UsageError."""
    named = given.value("--credentials-file") or _ours("credentials_file")
    named = named or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return {"credentials_file": str(readable(named))} if named else None


def of_password(
    given: Given, username: str | None, ask: Callable[[str], str] | None, *, default_user: str | None, tokens: bool
) -> dict[str, str] | None:
    """User name with password, or a token if such are known, from options, a file and the environment; None if there is
    nothing of the kind. `default_user`: who the password belongs to where nobody is named.

    Raises UsageError, LocalError.
    """
    found = {name: value for name in ("username", "password", "token") if (value := _ours(name))}
    if file := given.value("--credentials-file"):
        found = _settings(Path(file).expanduser(), "default")
        if not found.keys() & {"password", "token"}:
            raise UsageError(
                f"{file} has no password in it", hint="it should have lines username = ... and password = ..."
            )
    user = username or found.get("username") or default_user
    password, token = found.get("password"), found.get("token")
    if token and not password:
        # Those who know passwords only take a token as one.
        return {"token": token} if tokens else _named(user, token)
    if username and not password and ask:
        password = ask(f"Password of {username}:")
    if password and not user:
        raise UsageError("no user name for the password", hint="give --username NAME")
    if username and not password and default_user is None:
        raise UsageError(
            "no password for --username",
            hint=f"set {_OURS}PASSWORD, or use --credentials-file with a line password = ...",
        )
    return _named(user, password) if password else ({"username": username} if username else None)


def only_here(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Variables that AWS's chain looks at in this shell, and that a daemon does not see."""
    return tuple(name for name in _ONLY_IN_THIS_SHELL if environ.get(name))


def readable(text: str) -> Path:
    """The file that `text` names, absolute. Raises UsageError unless it can be read."""
    path = Path(text).expanduser().absolute()
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", hint="check the path and the permissions") from error


def _named(user: str | None, password: str) -> dict[str, str]:
    return {"username": user, "password": password} if user else {"password": password}


def _ours(key: str) -> str | None:
    return os.environ.get(f"{_OURS}{key.upper()}") or None


def _settings(path: Path, profile: str) -> dict[str, str]:
    """The settings in the section `profile`, and in no section; names in lower case. Raises LocalError."""
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
    return found


def _taken(found: Mapping[str, str]) -> Credentials | None:
    def value(name: str) -> str | None:
        return found.get(f"aws_{name}") or found.get(name) or None

    key, secret = value("access_key_id"), value("secret_access_key")
    return Credentials(key, secret, value("session_token")) if key and secret else None
