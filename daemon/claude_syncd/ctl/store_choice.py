"""Which store `init` is to use: what its options and the environment say about that."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from claude_syncd.ctl import credentials, providers
from claude_syncd.ctl.options import Option
from claude_syncd.ctl.providers import AWS, OTHER, PROVIDERS, Provider
from claude_syncd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claude_syncd.ctl.options import Given
    from claude_syncd.local.home import Places

OPTIONS = (
    Option("--folder", "a folder as the store: a disk, a share, a folder that another tool syncs", metavar="PATH"),
    Option("--s3", "a bucket of S3, or of a server that speaks it (--provider, --endpoint)", metavar="BUCKET"),
    Option("--provider", "whose S3 it is; sets region and endpoint", choices=providers.S3_NAMES),
    Option("--r2", "a bucket of Cloudflare R2; needs --account-id", metavar="BUCKET"),
    Option("--account-id", "the Cloudflare account", metavar="ID"),
    Option("--gcs", "a bucket of Google Cloud Storage", metavar="BUCKET"),
    Option("--git", "a git repository: https, ssh, or a path", metavar="URL"),
    Option("--webdav", "a folder on a WebDAV server", metavar="URL"),
    Option("--also", "one more store for the vault of this device: it is copied there, and kept alike from then on"),
    Option("--prefix", "where in the bucket, repository or folder", metavar="PREFIX"),
    Option("--region", "the bucket's region", metavar="REGION"),
    Option("--endpoint", "the server's address, https://...", metavar="URL"),
    Option("--path-style", "bucket in the path, not in the host name; so by itself with --endpoint"),
    Option("--ca-bundle", "certificates to trust instead of the system's", metavar="FILE"),
    Option("--project-id", "the project of Google Cloud's to make the bucket in", metavar="ID"),
    Option("--branch", "the repository's branch that holds the vault; claude-sync if not given", metavar="NAME"),
    Option("--username", "who you are there; the password comes from elsewhere, or is asked for", metavar="NAME"),
    Option("--profile", "the profile of ~/.aws to use", metavar="NAME"),
    Option("--access-key-id", "the secret comes from AWS_SECRET_ACCESS_KEY or is asked for", metavar="ID"),
    Option("--credentials-file", "a file with access key or password; of Google, the account's key", metavar="FILE"),
    Option("--keychain", "keep the secrets in the system's keychain, not in config.toml"),
    Option("--create", "make the bucket, or the repository if it is a path, where it is missing"),
)
_FLAGS = {option.name for option in OPTIONS} - set(providers.FLAGS) - {"--create", "--also", "--provider"}
_CREDENTIALS = {
    "s3": {"--credentials-file", "--keychain", "--profile", "--access-key-id"},
    "gcs": {"--credentials-file"},
    "git": {"--credentials-file", "--keychain"},
    "webdav": {"--credentials-file", "--keychain"},
    "": set[str](),
}
_NOT_SETTINGS = {"account_id"}


@dataclass(slots=True)
class Choice:
    """A provider and what is known so far. `values` are checked. `access`: settings that let one in; None if nothing is
    known about that. `asked`: the provider was chosen at the terminal.
    """

    provider: Provider
    values: dict[str, Any]
    access: dict[str, str] | None = field(default=None, repr=False)
    keychain: bool = False
    asked: bool = False

    def missing(self) -> list[str]:
        """The keys without which nothing works."""
        return [key for key in self.provider.needed or (self.provider.key,) if key not in self.values]

    def section(self) -> dict[str, Any]:
        """The `[store]` section for config.toml; None for what is not set. Raises UsageError if a value is missing."""
        for key in self.missing():
            raise UsageError(f"{self.provider.flag_of(key)} needs a value", hint=providers.question(self.provider, key))
        known = {key: self.known(key) for key in self.provider.known}
        found = {"kind": self.provider.kind, **known, **self.values, **(self.access or {})}
        return {key: value for key, value in found.items() if key not in self._left_out()}

    def note_overwriting(self) -> None:
        """The server was seen not to refuse to overwrite; the other kinds of store see to it by themselves."""
        if self.provider.kind in {"s3", "webdav"}:
            self.values["conditional_put"] = False

    def known(self, key: str) -> str:
        """What the provider's value of `key` is if nobody gives one; empty where that isn't known (yet)."""
        try:
            return self.provider.known.get(key, "").format(**{**self.provider.known, **self.values})
        except KeyError:
            return ""

    @property
    def region(self) -> str | None:
        """Where to make a bucket."""
        region: str | None = self.values.get("region")
        return region

    def _left_out(self) -> set[str]:
        # A bucket of Google's knows by itself where it is.
        return _NOT_SETTINGS | ({"region"} if self.provider.kind == "gcs" else set())


def from_options(given: Given, places: Places, ask: Callable[[str], str] | None) -> Choice | None:
    """What is known from the options and the environment; None if they name no store.

    `ask` asks for a secret; None if there is nobody. Raises UsageError, LocalError.
    """
    named = [name for name in providers.FLAGS if given.has(name)]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)}: one store at a time", hint="give one; `init --also` adds another later"
        )
    if not named:
        for name in (*_FLAGS, "--provider", "--create"):
            if given.has(name):
                raise UsageError(f"{name} goes with a store", hint="give one, for example --s3 BUCKET")
        return None
    provider = _provider(given, named[0])
    allowed = {provider.flag_of(key) for key in provider.may_give} | _CREDENTIALS[provider.credentials]
    for name in sorted(_FLAGS - allowed):
        if given.has(name):
            raise UsageError(f"{name} makes no sense with {provider.title.partition(':')[0]}")
    values = _values(given, provider, named[0], places)
    choice = Choice(provider, values, keychain=given.has("--keychain"))
    choice.access = access(given, choice, ask)
    return choice


def access(given: Given, choice: Choice, ask: Callable[[str], str] | None) -> dict[str, str] | None:
    """What options and environment say about access; None if nothing. Raises UsageError, LocalError."""
    provider, username = choice.provider, choice.values.pop("username", None)
    match provider.credentials:
        case "s3":
            return credentials.of_s3(given, ask)
        case "gcs":
            return credentials.of_gcs(given)
        case "git":
            if not is_http(choice.values["url"]):
                if username or given.has("--credentials-file"):
                    raise UsageError("user name and password are for https only", hint="ssh takes its keys")
                return {}
            return credentials.of_password(given, username, ask, default_user="git", tokens=False)
        case "webdav":
            return credentials.of_password(given, username, ask, default_user=None, tokens=True)
    return {}


def is_http(url: str) -> bool:
    """Whether user name and password are of use there."""
    return url.startswith(("https://", "http://"))


def notes(choice: Choice, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the user had better know about the choice, one sentence each."""
    found = []
    if "session_token" in (choice.access or {}):
        found.append("the session token expires, and the daemon stops then; a profile (--profile) is better for it")
    if choice.provider.credentials == "s3" and "access_key_id" not in (choice.access or {}):
        names = credentials.only_here(environ)
        if names:
            found.append(f"{', '.join(names)}: the daemon does not see what is set in this shell only")
    if choice.provider.kind == "git" and environ.get("SSH_AUTH_SOCK") and not is_http(choice.values["url"]):
        found.append("the daemon may not see this shell's ssh-agent; a key for it alone is best: docs/providers.md")
    return found


def _provider(given: Given, flag: str) -> Provider:
    told = given.value("--provider")
    if told is not None:
        if flag != "--s3":
            raise UsageError("--provider goes with --s3")
        return providers.find(told)
    if flag == "--s3":
        return OTHER if given.has("--endpoint") or _aws_endpoint() else AWS
    return next(provider for provider in PROVIDERS if provider.flag == flag)


def _values(given: Given, provider: Provider, flag: str, places: Places) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in provider.may_give:
        text = given.value(flag if key == provider.key else provider.flag_of(key))
        if key == "path_style":
            if text is not None:
                values[key] = True
            continue
        if text is None:
            text = from_environment(provider, key)
        if text is not None:
            values[key] = providers.check(provider, key, places)(text)
    return values


def from_environment(provider: Provider, key: str) -> str | None:
    """The value that this shell's environment has for `key`. The daemon would not see it: so it is kept."""
    found = os.environ.get(f"CLAUDE_SYNC_STORE__{key.upper()}")
    if not found and provider is AWS and key == "region":
        found = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not found and provider is OTHER and key == "endpoint":
        found = _aws_endpoint()
    if not found and provider is providers.GCS and key == "endpoint":
        found = os.environ.get("STORAGE_EMULATOR_HOST")
        found = f"http://{found}" if found and "://" not in found else found
    return found or None


def _aws_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
