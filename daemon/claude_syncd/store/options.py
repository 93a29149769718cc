"""Which store, and how to reach it: the `[store]` section of the settings, and what `open_store` takes.

Secrets are hidden from `repr`. Values that contradict each other raise ConfigError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - the settings are decoded by these annotations
from typing import Annotated

from msgspec import Meta

from claude_syncd.errors import ConfigError

Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Prefix = Annotated[str, Meta(max_length=512)]


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """A folder, local or mounted. `path` is absolute, with `~` expanded."""

    path: Path


@dataclass(frozen=True, slots=True)
class S3Options:
    """A bucket on S3 or on a server that speaks it.

    Without keys the usual chain of AWS is asked (environment, `profile`, single sign-on, the machine's role).
    `path_style` None: so if an `endpoint` is given. `ca_bundle` is a file of certificates to trust instead of the
    system's. `conditional_put` false: the server does not refuse to overwrite where asked; setting up finds that out.
    """

    bucket: Text
    prefix: Prefix = ""
    region: Text | None = None
    endpoint: Text | None = None
    profile: Text | None = None
    access_key_id: Text | None = None
    secret_access_key: Text | None = field(default=None, repr=False)
    session_token: Text | None = field(default=None, repr=False)
    path_style: bool | None = None
    ca_bundle: Path | None = None
    conditional_put: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError for half a credential."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError("access_key_id and secret_access_key go together")
        if self.session_token is not None and self.access_key_id is None:
            raise ConfigError("session_token needs access_key_id and secret_access_key")


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """A bucket of Google Cloud Storage.

    `credentials_file`: a service account's key file; without it the application-default credentials are asked.
    `project_id` is only needed to create a bucket. `endpoint`: of an emulator, reached without credentials
    (`http://127.0.0.1:4443`); None: `STORAGE_EMULATOR_HOST` from the environment, else Google.
    """

    bucket: Text
    prefix: Prefix = ""
    project_id: Text | None = None
    credentials_file: Path | None = None
    endpoint: Text | None = None


@dataclass(frozen=True, slots=True)
class GitOptions:
    """A git repository that `url` names as the git command takes it: https, ssh, scp-like or a path.

    `mirror`: the private bare repository of this device, made when it is first needed. `branch` holds the vault and
    nothing else. `username` and `password` (a token) are for https; without them git's own credential helpers are
    asked. Objects lie below `prefix`.
    """

    url: Text
    mirror: Path
    branch: Text = "claude-sync"
    prefix: Prefix = ""
    username: Text | None = None
    password: Text | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WebDavOptions:
    """A folder on a WebDAV server; `url` is that folder's, without credentials in it.

    Either `username` and `password` (basic or digest, as the server asks) or a bearer `token`. `ca_bundle` is a file
    of certificates to trust instead of the system's. `conditional_put`: see S3Options.
    """

    url: Text
    prefix: Prefix = ""
    username: Text | None = None
    password: Text | None = field(default=None, repr=False)
    token: Text | None = field(default=None, repr=False)
    ca_bundle: Path | None = None
    conditional_put: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError for half a credential, and for two."""
        if (self.username is None) != (self.password is None):
            raise ConfigError("username and password go together")
        if self.token is not None and self.username is not None:
            raise ConfigError("give either a token or a username and password")


def r2_options(
    account_id: str,
    bucket: str,
    *,
    prefix: str = "",
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    profile: str | None = None,
) -> S3Options:
    """Options of a Cloudflare R2 bucket."""
    return S3Options(
        bucket=bucket,
        prefix=prefix,
        region="auto",
        endpoint=f"https://{account_id}.r2.cloudflarestorage.com",
        profile=profile,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
    )


StoreOptions = FolderOptions | S3Options | GcsOptions | GitOptions | WebDavOptions
