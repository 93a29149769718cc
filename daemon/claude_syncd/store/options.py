"""Which store, and how to reach it: what `open_store` takes. Secrets are hidden from `repr`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """A folder. `path` is absolute, with `~` expanded."""

    path: Path


@dataclass(frozen=True, slots=True)
class S3Options:
    """A bucket on S3 or on a server that speaks it.

    Without keys the usual chain of AWS is asked (environment, `profile`, single sign-on, the machine's role).
    `path_style` None: so if an `endpoint` is given. `ca_bundle` is a file of certificates to trust instead of the
    system's.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    path_style: bool | None = None
    ca_bundle: str | None = None


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


StoreOptions = FolderOptions | S3Options
