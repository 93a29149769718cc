"""The one table that turns failures of Google Cloud Storage, of its client and of the network into errors of ours.

The server's words are looked at, and never shown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import aiohttp
import msgspec

from claude_syncd.errors import (
    AlreadyExists,
    NoSuchPlace,
    ObjectMissing,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from claude_syncd.store import over_http
from claude_syncd.store.bucket_errors import BeyondEnd, NotThere
from claude_syncd.store.gcs_credentials import NoToken
from claude_syncd.store.over_http import Meaning

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURES = (*over_http.FAILURES, NoToken)
"""What the client may raise."""

_ROLE = (
    "give the account the role Storage Object User (roles/storage.objectUser) on the bucket; it needs"
    " storage.objects.get, .create, .delete and .list"
)
_KEY = "check credentials_file in config.toml; a key that was deleted there must be downloaded anew"
_SIGN_IN = "set credentials_file in config.toml, or run `gcloud auth application-default login`"
_CLOCK = Meaning(StoreRefused, "this machine's clock is wrong", "set the clock, best by network time (NTP)")
_NO_BUCKET = Meaning(NoSuchPlace, "there is no such bucket", "create the bucket, or correct its name")
_NOT_ACCEPTED = Meaning(StoreRefused, "the credentials were not accepted", _KEY)
_KEPT = Meaning(
    StoreRefused,
    "the bucket does not let objects be deleted or replaced yet",
    "take the retention policy, or the hold, off the bucket; a vault can't live with one",
)
_ACCOUNT = Meaning(StoreRefused, "there is a problem with the account", "see billing in the console of Google Cloud")
_DAMAGED = Meaning(StoreUnavailable, "the upload was damaged on its way")

_NOT_GCS = Meaning(
    StoreUnavailable,
    "the answer is not one of Google Cloud Storage",
    "check the endpoint, and that no login page of a network is in the way",
)

_BY_REASON: dict[str, Meaning] = {
    "rateLimitExceeded": over_http.SLOW_DOWN,
    "userRateLimitExceeded": over_http.SLOW_DOWN,
    "quotaExceeded": over_http.SLOW_DOWN,
    "dailyLimitExceeded": over_http.SLOW_DOWN,
    "retentionPolicyNotMet": _KEPT,
    "objectUnderActiveHold": _KEPT,
    "accountDisabled": _ACCOUNT,
    "userAccountDisabled": _ACCOUNT,
    "UserProjectAccountProblem": _ACCOUNT,
    "accessNotConfigured": Meaning(
        StoreRefused, "the storage API is switched off", "enable the Cloud Storage API for the project"
    ),
    "userProjectMissing": Meaning(
        StoreRefused, "the bucket makes its readers pay", "switch requester pays off for the bucket"
    ),
    "uploadBrokenConnection": Meaning(StoreUnavailable, "the upload was cut off"),
}

# Looked for in the server's words, where no code says the same: answers to a download have no code.
_BY_WORDS: tuple[tuple[str, Meaning], ...] = (
    ("No such object:", Meaning(ObjectMissing, "there is no such object")),
    ("bucket does not exist", _NO_BUCKET),
    ("bucket name is not available", Meaning(StoreRefused, "somebody else has a bucket of that name")),
    ("doesn't match calculated", _DAMAGED),
)

_BY_STATUS: dict[int, Meaning] = {
    401: _NOT_ACCEPTED,
    403: Meaning(StoreRefused, "permission denied", _ROLE),
    404: Meaning(NotThere, "there is no such bucket or object", "check bucket and endpoint in config.toml"),
    407: over_http.PROXY_PASSWORD,
    408: Meaning(StoreUnavailable, "the upload was too slow"),
    409: Meaning(StoreUnavailable, "another operation is under way"),
    412: Meaning(AlreadyExists, "the object exists already"),
    416: Meaning(BeyondEnd, "the range begins after the object's end"),
    429: over_http.SLOW_DOWN,
    503: over_http.SLOW_DOWN,
}

# What the token's server says, word by word in its `error_description`.
_BY_TOKEN_WORDS: tuple[tuple[str, Meaning], ...] = (
    ("reasonable timeframe", _CLOCK),
    ("iat and exp", _CLOCK),
    ("Invalid JWT Signature", Meaning(StoreRefused, "the key is not known to Google (any more)", _KEY)),
    ("account not found", Meaning(StoreRefused, "there is no such service account (any more)", _KEY)),
    ("expired or revoked", Meaning(StoreRefused, "the sign-in has expired", _SIGN_IN)),
    ("invalid_rapt", Meaning(StoreRefused, "the sign-in has expired", _SIGN_IN)),
    ("disabled", Meaning(StoreRefused, "the account is disabled", "enable it in the console of Google Cloud")),
)
_NO_CREDENTIALS = Meaning(StoreRefused, "there are no credentials", _SIGN_IN)
_NO_TOKEN = Meaning(StoreUnavailable, "the answer to a request for a token is not one of Google's")


class _Reason(msgspec.Struct):
    reason: Annotated[str, msgspec.Meta(max_length=100)] = ""


class _Detail(msgspec.Struct):
    errors: list[_Reason] | None = None


class _Body(msgspec.Struct):
    error: _Detail


_BODY = msgspec.json.Decoder(_Body)


def translate(error: Exception, address: str, name: str = "") -> StoreError:
    """Our error for `error`, one of FAILURES, met at the store `address` with the object `name` (or none)."""
    where = f"{address}/{name}".rstrip("/")
    if isinstance(error, NoToken):
        return _no_token(error).error(where, *_detail(error.cause))
    return _of(error).error(where, *_detail(error))


def left(error: Exception) -> bool:
    """Whether a request to the store had left when `error` was raised."""
    return not isinstance(error, NoToken) and over_http.left(error)


def showable(error: Exception) -> Exception | None:
    """`error` as the cause of ours, or None if its traceback would quote the server, which may quote the request."""
    return None if isinstance(error, aiohttp.ClientResponseError) else error


def is_unauthorized(error: Exception) -> bool:
    """Whether the store did not accept the token."""
    return isinstance(error, aiohttp.ClientResponseError) and error.status == 401


def _of(error: Exception) -> Meaning:
    if isinstance(error, json.JSONDecodeError | msgspec.DecodeError | UnicodeDecodeError):
        return _NOT_GCS
    if not isinstance(error, aiohttp.ClientResponseError):
        return over_http.meaning_of(error)
    meaning = _by_words(error, _BY_WORDS) or _BY_REASON.get(_reason(error.message)) or _BY_STATUS.get(error.status)
    if meaning is None:
        meaning = over_http.OUT_OF_ORDER if error.status >= 500 else Meaning(StoreRefused, "the server refused")
    return meaning


def _no_token(error: NoToken) -> Meaning:
    cause = error.cause
    if error.machine:
        # The metadata server of a machine in Google's cloud always answers; elsewhere there is none.
        return _NO_CREDENTIALS
    if not isinstance(cause, aiohttp.ClientError | OSError) or isinstance(cause, aiohttp.ContentTypeError):
        return _NO_TOKEN
    if not isinstance(cause, aiohttp.ClientResponseError):
        return over_http.meaning_of(cause)
    if cause.status == 429 or cause.status >= 500:
        return over_http.OUT_OF_ORDER
    return _by_words(cause, _BY_TOKEN_WORDS) or _NOT_ACCEPTED


def _by_words(error: aiohttp.ClientResponseError, table: tuple[tuple[str, Meaning], ...]) -> Meaning | None:
    if error.status >= 500:
        return None
    return next((meaning for words, meaning in table if words in error.message), None)


def _reason(message: str) -> str:
    """The `reason` of an error in the server's JSON, which the client puts behind the words of the status."""
    try:
        body = _BODY.decode(message[message.index("{") :])
    except ValueError:  # no JSON: an error of something in between, or an answer to a download
        return ""
    return next((entry.reason for entry in body.error.errors or []), "")


def _detail(error: Exception) -> tuple[str, float | None]:
    if isinstance(error, aiohttp.ClientResponseError):
        headers: Mapping[str, str] | None = error.headers
        return str(error.status), over_http.retry_after(headers)
    return type(error).__name__, None
