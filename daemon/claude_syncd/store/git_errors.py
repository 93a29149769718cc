"""The one table that turns what git says into errors of ours.

Git has one exit code for everything, so its English words count (LC_ALL=C). What a server says (`remote: ...`) decides
as well; only lines of git's own are shown, and those without user names, passwords and control characters.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, NamedTuple

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.git_url import redacted

if TYPE_CHECKING:
    from claude_syncd.store.git_run import Done
    from claude_syncd.store.git_url import Remote

SHOWN = 160
"""Characters of git's own words in a message."""


class MirrorBroken(StoreUnavailable):
    """The private copy is damaged, incomplete or of another hash; it has to be made anew."""

    def __init__(self, message: str, *, hashes: str | None = None) -> None:
        """`hashes`: the kind of hash that the repository has, where that is what's wrong."""
        super().__init__(message, hint="it is made anew by itself; if this goes on, check the disk")
        self.hashes = hashes


class _Meaning(NamedTuple):
    kind: type[StoreError]
    what: str
    hint: str | None = None
    arrived: bool = True


_CREDENTIALS = {
    "http": "set username, and password (a token that may write), in config.toml, or a credential helper of git's",
    "ssh": "`git ls-remote` with this URL must work without a question: give the key to the host, and to ssh-agent or "
    "~/.ssh/config",
    "path": "check the owner and permissions of the repository's folder",
}
_NO_REPOSITORY = "create it there (empty and private), correct the URL, or let the account or key see it"
_CONNECTION = "check the connection and the URL's host; a running daemon tries again by itself"
_WRITE = "give the account, token or key permission to write to this repository"
_RULES = "let the host take pushes to this branch: branch protection, hooks, rules; also forced ones, to squash"
_SPACE = "squash the history, delete other branches, or ask the host for more space"
_TRUST = "trust it with `git config --global --add safe.directory PATH`"
_CERTIFICATE = "for a server of your own set http.sslCAInfo in git's configuration; else a login page may be in the way"

_LOCAL: tuple[tuple[_Meaning, tuple[str, ...]], ...] = (
    (
        _Meaning(StoreUnavailable, "a disk is full", "free some space"),
        ("No space left on device", "Out of diskspace", "Disk quota exceeded"),
    ),
    (_Meaning(StoreRefused, "the file system is read-only", "mount it for writing"), ("Read-only file system",)),
)
_UNKNOWN = _Meaning(StoreUnavailable, "git failed", "`git ls-remote` with this URL may tell more")
NOT_GIT = _Meaning(
    StoreUnavailable, "the answer is not one of git", "check the URL, and that no login page is in the way"
)
_DAMAGED = _Meaning(StoreRefused, "the repository is damaged", "run `git fsck` in the repository, or use a new one")

# In this order: the first row that has a word of what git said.
_TABLE: tuple[tuple[_Meaning, tuple[str, ...]], ...] = (
    *_LOCAL,
    (_Meaning(StoreRefused, "the repository belongs to another user", _TRUST), ("detected dubious ownership",)),
    (
        _Meaning(
            StoreRefused, "the URL leads to a transport that is not allowed", "check url.*.insteadOf in ~/.gitconfig"
        ),
        ("transport '.*' not allowed",),
    ),
    # Who asks.
    (
        _Meaning(
            StoreRefused, "the host's key is not known, or not the one it was", "connect with ssh once and compare it"
        ),
        ("Host key verification failed", "No .* host key is known"),
    ),
    (
        _Meaning(StoreRefused, "there are no credentials"),
        ("terminal prompts disabled", "could not read (Username|Password)"),
    ),
    (
        _Meaning(StoreRefused, "the credentials were not accepted"),
        ("Authentication failed", "error: 401", "Invalid username or"),
    ),
    (
        _Meaning(StoreRefused, "no key of this device was accepted"),
        (r"Permission denied \(", "Too many authentication failures"),
    ),
    (_Meaning(StoreRefused, "the repository is archived", "unarchive it, or use another one"), ("archived",)),
    (
        _Meaning(StoreRefused, "permission to write is denied", _WRITE),
        ("read[ -]only", "Write access", "denied to", "not allowed to (push|upload)", "You are not authorized"),
    ),
    # What the host does not take.
    (
        _Meaning(StoreRefused, "the push or the repository is too large for the host", _SPACE),
        (r"(over|exceed\w*) .*(quota|limit|maximum)", "size limit", "too large", "(error:|HTTP) 413", "GH001"),
    ),
    (
        _Meaning(StoreRefused, "the host does not take this push", _RULES),
        (
            *("hook declined", "protected branch", "rule violations", "GH006", "GH013", "prohibited by Gerrit"),
            *("deny updating", "denying (non-fast-forward|ref)", r"remote rejected.*\(non-fast-forward", "force-push"),
            "currently checked out",
        ),
    ),
    (_Meaning(StoreRefused, "permission denied", _WRITE), ("(error:|HTTP) 403",)),
    # Where it is.
    (
        _Meaning(StoreUnavailable, "the host's name is not known", _CONNECTION, arrived=False),
        (
            *("Could not resolve", "Name or service not known", "nodename nor servname"),
            "Temporary failure in name resolution",
        ),
    ),
    (
        _Meaning(StoreUnavailable, "there is no connection", _CONNECTION, arrived=False),
        (
            *("Connection refused", "Failed to connect", "Couldn't connect", "(Connection|Operation) timed out"),
            *("Network is unreachable", "No route to host"),
        ),
    ),
    (
        _Meaning(StoreUnavailable, "there is no trusted connection", _CERTIFICATE, arrived=False),
        ("certificate", "SSL", "TLS", "gnutls"),
    ),
    (
        _Meaning(StoreRefused, "the proxy wants a password", "check http.proxy in ~/.gitconfig"),
        ("error: 407", "response 407", "HTTP code 407"),
    ),
    (
        _Meaning(
            StoreUnavailable, "the answer is not one of git", "check the URL, and that no login page is in the way"
        ),
        ("not valid: is this a git repository",),
    ),
    (
        _Meaning(StoreRefused, "there is no such repository", _NO_REPOSITORY),
        (
            *("repository .*not found", "does not appear to be a git repository", "error: (404|410)"),
            "project you were looking for",
        ),
    ),
    (
        _Meaning(StoreUnavailable, "the host is overloaded or has a problem"),
        ("(error:|HTTP) (408|429|5[0-9][0-9])", "Too many (requests|connections)", "rate limit"),
    ),
    # Broken connections and repositories.
    (
        _Meaning(StoreRefused, "permission denied", _CREDENTIALS["path"]),
        ("insufficient permission", "Permission denied", "unable to create temporary"),
    ),
    (
        _Meaning(StoreUnavailable, "another push is under way there", "a lock that was left there is in the way, else"),
        ("cannot lock ref", r"Unable to create '.*\.lock'"),
    ),
    (
        _DAMAGED,
        (
            *("corrupt", "bad (object|tree|blob|pack)", "unable to read", "missing (blob|tree|commit|necessary)"),
            *("not our ref", "unpacker error", "did not send all necessary objects"),
        ),
    ),
    (
        _Meaning(StoreUnavailable, "the connection broke"),
        (
            *("hung up", "early EOF", "Connection (reset|closed)", "RPC failed", "Broken pipe"),
            *("unexpected disconnect", "transfer closed", "kex_exchange"),
        ),
    ),
)
_PATTERNS = tuple((meaning, re.compile("|".join(words), re.IGNORECASE)) for meaning, words in _TABLE)
_OWN_LINE = re.compile(r"^(?:fatal|error): (?!failed to push some refs|Could not read from remote)(.+)$", re.MULTILINE)


def arrived(done: Done) -> bool:
    """Whether the request that failed had reached the host: not so if no connection came about."""
    return done.silent or _meaning(done.said).arrived


def suspect(done: Done) -> bool:
    """Whether the mirror itself may be to blame for what failed at the host."""
    return not done.silent and _meaning(done.said) in {_UNKNOWN, _DAMAGED}


def translate(done: Done, remote: Remote, address: str) -> StoreError:
    """Our error for a command that failed at the repository `remote`, shown as `address`."""
    if done.silent:
        return StoreUnavailable(f"{address}: there was no answer in time")
    kind, what, hint, _ = _meaning(done.said)
    if kind is StoreRefused and hint is None:
        hint = _CREDENTIALS[remote.kind]
    if remote.path is not None and hint == _NO_REPOSITORY:
        # Most likely the mount point of a disk that isn't there.
        kind, hint = StoreUnavailable, f"mount the disk; a new repository is made by `git init --bare {remote.path}`"
    return kind(f"{address}: {what}{_detail(done.said)}", hint=hint)


def local_failure(done: Done) -> StoreError:
    """Our error for a command that failed in the mirror: if it wasn't ended, or the disk to blame, MirrorBroken."""
    if done.silent or done.code in {-signal.SIGKILL, -signal.SIGTERM}:
        return StoreUnavailable("git was ended before it had done its work", hint="it is tried again")
    for meaning, words in _PATTERNS[: len(_LOCAL)]:
        if words.search(done.said):
            return meaning.kind(f"the private copy of the repository is stuck: {meaning.what}", hint=meaning.hint)
    return MirrorBroken(f"the private copy of the repository is damaged{_detail(done.said)}")


def _meaning(said: str) -> _Meaning:
    said = "\n".join(line for line in said.splitlines() if " packet: " not in line)
    return next((meaning for meaning, words in _PATTERNS if words.search(said)), _UNKNOWN)


def _detail(said: str) -> str:
    """The last line of git's own, fit to be shown."""
    lines = _OWN_LINE.findall(redacted(said))
    plain = "".join(char for char in lines[-1] if char.isprintable())[:SHOWN] if lines else ""
    return f" ({plain})" if plain else ""
