"""Which credentials Google gets, and the tokens that they buy.

The library's own look at a credentials file takes a broken one for none, and then asks the metadata server of a cloud
machine; so the file is read and checked here. Importing this module takes long: GcsStore does it in a thread.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from gcloud.aio.auth import Token

from claude_syncd.errors import StoreRefused
from claude_syncd.store.over_http import FAILURES

if TYPE_CHECKING:
    import aiohttp

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
LARGEST_FILE = 256 * 1024
FRESH = 0.9
"""The part of a token's life in which it is used."""

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_SIGN_IN = "set credentials_file in config.toml, or run `gcloud auth application-default login`"
_NEW_KEY = "download a key of the service account again (JSON), and set credentials_file to it"


class _ServiceAccount(msgspec.Struct, tag="service_account", tag_field="type"):
    client_email: _Text
    private_key: _Text


class _AuthorizedUser(msgspec.Struct, tag="authorized_user", tag_field="type"):
    client_id: _Text
    client_secret: _Text
    refresh_token: _Text


class _Impersonated(msgspec.Struct, tag="impersonated_service_account", tag_field="type"):
    service_account_impersonation_url: _Text
    source_credentials: _AuthorizedUser


class _External(msgspec.Struct, tag="external_account", tag_field="type"):
    audience: _Text
    credential_source: dict[str, object]
    subject_token_type: _Text
    token_url: _Text


_FILE: msgspec.json.Decoder[_ServiceAccount | _AuthorizedUser | _Impersonated | _External] = msgspec.json.Decoder(
    _ServiceAccount | _AuthorizedUser | _Impersonated | _External
)


class NoToken(Exception):
    """No token could be had; the cause is one of over_http.FAILURES, a KeyError or a TypeError."""

    def __init__(self, cause: Exception, *, machine: bool) -> None:
        """`machine`: there is no file of credentials, so the metadata server was asked."""
        super().__init__(type(cause).__name__)
        self.cause = cause
        self.machine = machine


class OneToken(Token):
    """A token that is bought when it is needed, once for all who wait.

    The library's own way repeats every failure five times, and a caller that is cancelled there takes all others along.
    """

    def __init__(self, credentials: bytes | None, session: aiohttp.ClientSession, patience: float) -> None:
        """`credentials`: what `read_credentials` gave; None: this is a machine of Google's cloud."""
        self._buying = asyncio.Lock()
        self._patience = patience
        self._until = 0.0
        super().__init__(io.BytesIO(credentials or b"{}"), session=session, scopes=[SCOPE])

    async def ensure_token(self) -> None:
        """Have a token that is good for a while. Raises NoToken."""
        async with self._buying:
            if self.access_token and time.time() < self._until:
                return
            try:
                async with asyncio.timeout(self._patience):
                    bought = await self.refresh(timeout=max(1, int(self._patience)))
            except (*FAILURES, KeyError, TypeError) as error:
                # Without its cause: that one quotes the server, which may quote the request.
                raise NoToken(error, machine=not self.service_data) from None
            self.access_token = bought.value
            self._until = time.time() + FRESH * bought.expires_in

    def forget(self) -> None:
        """Buy another one at the next need: this one was not accepted."""
        self.access_token = None


def read_credentials(file: Path | None) -> bytes | None:
    """The content of the credentials file: `file`, else the one that Google's tools would use; None if there is none.

    Raises StoreRefused for one that can't be used. Blocks; not for the loop.
    """
    named = file or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    path = Path(named) if named else _well_known()
    try:
        with path.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        if not named:
            return None
        raise StoreRefused(f"there is no credentials file {path}", hint=_SIGN_IN) from None
    except OSError as error:
        raise StoreRefused(
            f"the credentials file {path} can't be read ({error.strerror})", hint="check its owner and permissions"
        ) from error
    try:
        decoded = _FILE.decode(content)
    except ValueError:
        # Neither the error nor its cause: both may quote the file.
        raise StoreRefused(f"{path} is not a credentials file of Google's", hint=_NEW_KEY) from None
    if isinstance(decoded, _ServiceAccount):
        _check_key(path, decoded.private_key)
    return content


def _check_key(path: Path, pem: str) -> None:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise StoreRefused(f"the private key in {path} is damaged", hint=_NEW_KEY)


def _well_known() -> Path:
    """Where `gcloud auth application-default login` puts them."""
    folder = os.environ.get("CLOUDSDK_CONFIG")
    return (Path(folder) if folder else Path.home() / ".config" / "gcloud") / "application_default_credentials.json"
