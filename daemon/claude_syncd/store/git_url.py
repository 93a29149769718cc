"""Which repositories a git store may talk to, and how they are shown.

An allow-list: git itself also takes `ext::` (a command to run), options in the place of a URL, and more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from claude_syncd.errors import StoreRefused

_PRINTABLE = re.compile(r"[!-~]+")
_PATH = re.compile(r"[^\x00-\x1f\x7f]+")
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%a-z]+\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_HTTP = re.compile(rf"(?P<origin>https?://{_HOST}(?::[0-9]{{1,5}})?)(?:/.*)?")
_SSH = re.compile(rf"ssh://(?:{_USER}@)?{_HOST}(?::[0-9]{{1,5}})?/.+")
_SCP = re.compile(rf"(?:{_USER}@)?(?:{_HOST}|\[{_HOST}:[0-9]{{1,5}}\]):(?![:-])(?!.*@.*:).+")
_USERINFO = re.compile(r"(?<=://)[^/\s'\"]*@")
_UP_TO_HOST = re.compile(r"^([a-z]+://)?.*@", re.DOTALL)

_FORMS = "use https://…, ssh://…, user@host:path, or the absolute path of a bare repository"


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository. `url` is what git is given; `origin` is scheme, host and port (http); `path` where it is a path."""

    kind: Literal["http", "ssh", "path"]
    url: str
    origin: str = ""
    path: Path | None = None


def parse_remote(url: str) -> Remote:
    """The repository that `url` names. Raises StoreRefused for forms that are not allowed."""
    if url.startswith(("/", "~/", "file:///")):
        path = Path(url.removeprefix("file://")).expanduser()
        if not _PATH.fullmatch(url):
            raise StoreRefused("the repository's path has control characters in it", hint=_FORMS)
        return Remote("path", str(path), path=path)
    if not _PRINTABLE.fullmatch(url) or url.startswith("-"):
        raise StoreRefused(f"not a URL of a git repository: {shown(url)!r}", hint=_FORMS)
    if url.startswith(("http://", "https://")):
        if "@" in urlsplit(url).netloc:
            # It would stand in the process list, and in git's own messages.
            raise StoreRefused(
                f"the URL of the repository has a user name or password in it: {shown(url)}",
                hint="leave it out of url; set username, and password (a token), in config.toml",
            )
        found = _HTTP.fullmatch(url)
        if found:
            return Remote("http", url, origin=found["origin"])
    elif _is_ssh(url):
        return Remote("ssh", url)
    raise StoreRefused(f"not a URL of a git repository that can be used: {shown(url)!r}", hint=_FORMS)


def shown(url: str) -> str:
    """`url` as it may be shown: without user name and password, except the user of ssh, who is no secret.

    Also what is no URL: perhaps it was meant to be one, and has a password in it.
    """
    if url.startswith(("/", "~/")):
        return Path(url).expanduser().as_uri()
    return url if _HTTP.fullmatch(url) or _is_ssh(url) else _UP_TO_HOST.sub(r"\1", url)


def redacted(text: str) -> str:
    """`text` with user names and passwords taken out of every URL in it."""
    return _USERINFO.sub("", text)


def _is_ssh(url: str) -> bool:
    return (_SSH if "://" in url else _SCP).fullmatch(url) is not None
