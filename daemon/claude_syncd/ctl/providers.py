"""Who may hold a vault, what has to be known about each, and what an answer may look like. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from claude_syncd.errors import SyncError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from claude_syncd.local.home import Places

    # Gives the value that a text stands for. Raises UsageError for what can't be one.
    Check: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of place. Keys are those of its `[store]` section, and `account_id`.

    `flag` chooses it by the value of `key`. `needed`: keys without which nothing works. `asked`: what the wizard asks,
    in this order, unless it was given. `known`: values that nobody need give; `{key}` in one stands for another value.
    `usual`: what the wizard proposes. `optional`: what else may be given. `credentials`: the name of their kind.
    """

    name: str
    title: str
    kind: str
    flag: str
    key: str
    asked: tuple[str, ...]
    credentials: str = ""
    needed: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, str] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    @property
    def may_give(self) -> tuple[str, ...]:
        """Every key that may be given."""
        return tuple(dict.fromkeys((self.key, *self.needed, *self.asked, *self.optional)))

    def flag_of(self, key: str) -> str:
        """The option that gives the value of `key`."""
        return self.flag if key == self.key else f"--{key.replace('_', '-')}"


_OF_S3 = ("prefix", "region", "endpoint", "path_style", "ca_bundle")


def _s3(name: str, title: str, asked: tuple[str, ...], **facts: Mapping[str, str]) -> Provider:
    needed = tuple(key for key in asked if key != "region" or "region" not in facts.get("usual", {}))
    flag = "--r2" if name == "r2" else "--s3"
    return Provider(name, title, "s3", flag, "bucket", asked, "s3", needed, optional=_OF_S3, **facts)


AWS = _s3("aws", "Amazon S3", ("bucket", "region"), usual={"region": "us-east-1"})
OTHER = _s3("other", "another server that speaks S3", ("endpoint", "bucket"), known={"region": "us-east-1"})
FOLDER = Provider(
    "folder",
    "a folder: a disk, a NAS or share, a folder that another tool syncs",
    "folder",
    "--folder",
    "path",
    ("path",),
)
GCS = Provider(
    "gcs",
    "Google Cloud Storage",
    "gcs",
    "--gcs",
    "bucket",
    ("bucket",),
    "gcs",
    optional=("prefix", "project_id", "endpoint", "region"),
)
GIT = Provider(
    "git",
    "a git repository: GitHub, GitLab, your own, any",
    "git",
    "--git",
    "url",
    ("url",),
    "git",
    optional=("branch", "prefix", "username"),
)
WEBDAV = Provider(
    "webdav",
    "WebDAV: Nextcloud, ownCloud, Apache, a NAS",
    "webdav",
    "--webdav",
    "url",
    ("url",),
    "webdav",
    optional=("prefix", "username", "ca_bundle"),
)

PROVIDERS: tuple[Provider, ...] = (
    FOLDER,
    _s3(
        "r2",
        "Cloudflare R2",
        ("account_id", "bucket"),
        known={"region": "auto", "endpoint": "https://{account_id}.r2.cloudflarestorage.com"},
    ),
    AWS,
    GCS,
    GIT,
    WEBDAV,
    _s3("b2", "Backblaze B2", ("bucket", "region"), known={"endpoint": "https://s3.{region}.backblazeb2.com"}),
    _s3(
        "wasabi",
        "Wasabi",
        ("bucket", "region"),
        known={"endpoint": "https://s3.{region}.wasabisys.com", "region": "us-east-1"},
        usual={"region": "us-east-1"},
    ),
    _s3("minio", "MinIO", ("endpoint", "bucket"), known={"region": "us-east-1"}),
    _s3("ceph", "Ceph (RADOS Gateway)", ("endpoint", "bucket"), known={"region": "us-east-1"}),
    _s3("garage", "Garage", ("endpoint", "bucket"), known={"region": "garage"}),
    OTHER,
)
S3_NAMES = tuple(provider.name for provider in PROVIDERS if provider.kind == "s3")
FLAGS = tuple(dict.fromkeys(provider.flag for provider in PROVIDERS))

QUESTIONS: Mapping[str, str] = {
    "path": "Which folder?",
    "account_id": "Your Cloudflare account id (32 letters and digits):",
    "bucket": "Which bucket?",
    "region": "Which region is the bucket in?",
    "endpoint": "The server's address, https://…:",
    "prefix": "Where in there? (a path; empty: at the top)",
    "branch": "Which branch, of its own?",
    "username": "User name:",
    "ca_bundle": "A file of certificates to trust:",
    "project_id": "Which project of Google Cloud's?",
}
URLS: Mapping[str, str] = {
    "git": "The repository's URL (https://…, user@host:path, or a path):",
    "webdav": "The folder's URL (Nextcloud: https://HOST/remote.php/dav/files/USER/FOLDER):",
}


def find(name: str) -> Provider:
    """The provider of that name. Raises UsageError."""
    for provider in PROVIDERS:
        if provider.name == name:
            return provider
    raise UsageError(f"no provider is called {name!r}", hint=f"one of {', '.join(S3_NAMES)}")


def question(provider: Provider, key: str) -> str:
    """What to ask for the value of `key`."""
    if provider.name == "b2" and key == "region":
        return "Which region? (in the bucket's endpoint, as us-west-004)"
    return URLS[provider.kind] if key == "url" else QUESTIONS[key]


def check(provider: Provider, key: str, places: Places) -> Check:
    """What tells whether a text can be the value of `key`."""
    if key == "url":
        return (lambda text: _git_url(text, places)) if provider.kind == "git" else _webdav_url
    if key == "path":
        return lambda text: str(_outside(Path(text).expanduser().absolute(), places))
    return _CHECKS.get(key, _text)


def _text(text: str) -> str:
    if not text or not text.isprintable() or len(text) > 500:
        raise UsageError("a line of text is needed")
    return text


def _matching(pattern: str, what: str, hint: str) -> Check:
    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise UsageError(f"{text!r} is no {what}", hint=hint)
        return text

    return checked


def _bucket(text: str) -> str:
    if "/" in text:
        raise UsageError(f"{text!r} is no bucket's name", hint="give the name alone; a path in it goes to --prefix")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,220}", text):
        raise UsageError(f"{text!r} is no bucket's name", hint="it has letters, digits, dots and dashes")
    return text


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_one = urlsplit(""), False
    if parts.scheme not in {"https", "http"} or not parts.hostname or not port_is_one or not text.isprintable():
        raise UsageError(f"{_without_user(text)!r} is no address", hint="it begins with https:// (or http://)")
    if "@" in parts.netloc:
        raise UsageError("that address has a user name or password in it", hint="leave it out; it is given apart")
    if parts.query or parts.fragment:
        raise UsageError(f"{text!r} is more than an address", hint="leave out what follows ? or #")
    return text.rstrip("/")


def _prefix(text: str) -> str:
    parts = [part for part in text.split("/") if part]
    if any(part in {".", ".."} or not part.isprintable() for part in parts) or len(text) > 400:
        raise UsageError(f"{text!r} is no path to put a vault at", hint="for example: backup/claude")
    return "/".join(parts)


def _file(text: str) -> str:
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="check the path")
    return str(path)


def _webdav_url(text: str) -> str:
    _endpoint(text)
    return text


def _git_url(text: str, places: Places) -> str:
    from claude_syncd.store.git_url import parse_remote  # noqa: PLC0415 - only with git

    try:
        remote = parse_remote(text)
    except SyncError as error:
        raise UsageError(str(error), hint=error.hint) from None
    return text if remote.path is None else str(_outside(remote.path, places))


def _outside(path: Path, places: Places) -> Path:
    if path.resolve().is_relative_to(places.tree.resolve()):
        raise UsageError(
            f"{path} is inside {places.tree}: the vault would hold itself", hint="choose a folder outside of it"
        )
    return path


def _without_user(text: str) -> str:
    return re.sub(r"(?<=//)[^/@]*@", "", text)


_CHECKS: Mapping[str, Check] = {
    "bucket": _bucket,
    "account_id": _matching("[0-9A-Za-z]{1,64}", "Cloudflare account id", "it is in the dashboard's address"),
    "region": _matching("[A-Za-z0-9][A-Za-z0-9-]{0,62}", "region", "for example eu-central-1"),
    "endpoint": _endpoint,
    "prefix": _prefix,
    "branch": _matching(
        r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)|[./]$))[A-Za-z0-9][A-Za-z0-9._/-]{0,199}",
        "branch's name",
        "for example claude-sync",
    ),
    "project_id": _matching("[a-z0-9.:-]{1,100}", "project's id", "it is in the console's address"),
    "ca_bundle": _file,
}
