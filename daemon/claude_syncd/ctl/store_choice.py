"""Which store `init` is to use: from its options, or from the answers of somebody at a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_syncd.ctl import credentials
from claude_syncd.ctl.credentials import Credentials
from claude_syncd.ctl.flags import ask, ask_secret, on_terminal
from claude_syncd.ctl.options import Option
from claude_syncd.errors import SyncError, UsageError

if TYPE_CHECKING:
    from claude_syncd.ctl.options import Given
    from claude_syncd.local.home import Places

OPTIONS = (
    Option("--folder", "a folder as the store: a disk, a share, a folder that another tool syncs", metavar="PATH"),
    Option("--s3", "a bucket of S3, or of a server that speaks it (--endpoint)", metavar="BUCKET"),
    Option("--r2", "a bucket of Cloudflare R2; needs --account-id", metavar="BUCKET"),
    Option("--account-id", "the Cloudflare account", metavar="ID"),
    Option("--gcs", "Google Cloud Storage (not in this release yet)", metavar="BUCKET"),
    Option("--git", "a git repository (not in this release yet)", metavar="URL"),
    Option("--webdav", "a WebDAV server (not in this release yet)", metavar="URL"),
    Option("--also", "a second store that mirrors the vault (not in this release yet)", metavar="STORE"),
    Option("--project-id", "for --gcs", metavar="ID"),
    Option("--prefix", "where in the bucket", metavar="PREFIX"),
    Option("--region", "the bucket's region", metavar="REGION"),
    Option("--endpoint", "the server's address, https://...", metavar="URL"),
    Option("--path-style", "bucket in the path, not in the host name"),
    Option("--ca-bundle", "certificates to trust instead of the system's", metavar="FILE"),
    Option("--profile", "the profile of ~/.aws to use", metavar="NAME"),
    Option("--access-key-id", "the secret comes from AWS_SECRET_ACCESS_KEY or is asked for", metavar="ID"),
    Option("--credentials-file", "take the access key from this file", metavar="FILE"),
)
_STORES = ("--folder", "--s3", "--r2", "--gcs", "--git", "--webdav")
_LATER = ("--gcs", "--git", "--webdav", "--also", "--project-id")
_BUCKET_ONLY = tuple(option.name for option in OPTIONS if option.name not in (*_STORES, *_LATER, "--account-id"))


def chosen_store(given: Given, places: Places) -> dict[str, Any]:
    """The `[store]` section for config.toml; None for what is not set. Raises UsageError, SyncError, LocalError."""
    for name in _LATER:
        if given.has(name):
            raise SyncError(f"{name} is not in this release yet", hint="use --folder, --s3 or --r2")
    named = [name for name in _STORES if given.has(name)]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: a vault is in one store", hint="give one of them")
    if not named and not on_terminal():
        raise UsageError("no store given", hint="give --folder PATH, --s3 BUCKET, or --r2 BUCKET --account-id ID")
    kind = named[0] if named else _asked_kind()
    if kind == "--folder":
        return _folder(given, places)
    return _bucket(given, kind)


def _asked_kind() -> str:
    answer = ask("Where should the vault be? 1) a folder  2) S3 or compatible  3) Cloudflare R2 [1]", "1")
    kinds = {"1": "--folder", "2": "--s3", "3": "--r2"}
    if answer not in kinds:
        raise UsageError(f"{answer!r} is none of 1, 2 and 3")
    return kinds[answer]


def _value(given: Given, name: str, question: str) -> str:
    """The option's value, or the answer to `question`."""
    value = given.value(name)
    if value is None and on_terminal():
        value = ask(question)
    if not value:
        raise UsageError(f"{name} needs a value")
    return value


def _folder(given: Given, places: Places) -> dict[str, Any]:
    for name in (*_BUCKET_ONLY, "--account-id"):
        if given.has(name):
            raise UsageError(f"{name} makes no sense with a folder")
    path = Path(_value(given, "--folder", "Which folder?")).expanduser().absolute()
    if path.resolve().is_relative_to(places.tree.resolve()):
        raise UsageError(
            f"{path} is inside {places.tree}: the vault would hold itself", hint="choose a folder outside of it"
        )
    return {"kind": "folder", "path": str(path)}


def _bucket(given: Given, kind: str) -> dict[str, Any]:
    bucket = _value(given, kind, "Which bucket?")
    endpoint = given.value("--endpoint")
    region = given.value("--region")
    if kind == "--r2":
        account = _value(given, "--account-id", "Which Cloudflare account id?")
        if not re.fullmatch("[0-9A-Za-z]+", account):
            raise UsageError(f"{account!r} is no Cloudflare account id")
        endpoint = endpoint or f"https://{account}.r2.cloudflarestorage.com"
        region = region or "auto"
    elif given.has("--account-id"):
        raise UsageError("--account-id goes with --r2")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        raise UsageError(f"{endpoint!r} is no address", hint="it begins with https:// (or http://)")
    found = _credentials(given, needed=endpoint is not None)
    ca_bundle = given.value("--ca-bundle")
    return {
        "kind": "s3",
        "bucket": bucket,
        "prefix": (given.value("--prefix") or "").strip("/"),
        "region": region,
        "endpoint": endpoint,
        "path_style": True if given.has("--path-style") else None,
        "ca_bundle": str(Path(ca_bundle).expanduser().absolute()) if ca_bundle else None,
        "profile": given.value("--profile") if found is None else None,
        "access_key_id": found.access_key_id if found else None,
        "secret_access_key": found.secret_access_key if found else None,
        "session_token": found.session_token if found else None,
    }


def _credentials(given: Given, *, needed: bool) -> Credentials | None:
    """The keys to keep in config.toml; None to ask the usual chain of AWS. `needed`: that chain knows none."""
    file, profile, key = (given.value(name) for name in ("--credentials-file", "--profile", "--access-key-id"))
    if file is not None:
        if key is not None:
            raise UsageError("--credentials-file and --access-key-id: give one of them")
        return credentials.from_file(Path(file).expanduser(), profile or "default")
    if profile is not None:
        if key is not None:
            raise UsageError("--profile and --access-key-id: give one of them")
        return None
    told = credentials.from_environment()
    if key is None:
        # A daemon does not see this shell's environment, so what is in it has to be kept.
        if told is not None or not needed or not on_terminal():
            return told
        key = ask("Access key id? (empty: none)")
        if not key:
            return None
    elif told is not None and told.access_key_id == key:
        return told
    secret = credentials.secret_from_environment()
    if secret is None and on_terminal():
        secret = ask_secret("Secret access key?")
    if not secret:
        raise UsageError(
            "no secret for --access-key-id", hint="set AWS_SECRET_ACCESS_KEY, or use --credentials-file or --profile"
        )
    return Credentials(key, secret)
