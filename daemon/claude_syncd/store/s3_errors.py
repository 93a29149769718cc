"""The one table that turns failures of S3, of its client and of the network into errors of ours.

Only an error's code is shown, never the server's own words: some servers echo headers there.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from botocore import exceptions as boto  # type: ignore[import-untyped]  # it has no types
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]  # it has no types

from claude_syncd.errors import (
    AlreadyExists,
    NoSuchPlace,
    ObjectMissing,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from claude_syncd.store.bucket_errors import BeyondEnd, NoConditions, OutOfOrder
from claude_syncd.store.over_http import Redirected

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURES = (
    boto.ClientError,
    boto.BotoCoreError,
    ResponseParserError,
    aiohttp.ClientError,
    OSError,  # TimeoutError is one
    ValueError,  # a malformed endpoint
)
"""What the client may raise."""

LONGEST_WAIT = 3600.0


class _Meaning(NamedTuple):
    kind: type[StoreError]
    what: str
    hint: str | None = None


_KEYS = "check access_key_id and secret_access_key, or the profile, in config.toml"
_REGION = "set the region and endpoint that the bucket has in config.toml"

_BY_CODE: dict[str, _Meaning] = {
    "NoSuchKey": _Meaning(ObjectMissing, "there is no such object"),
    "PreconditionFailed": _Meaning(AlreadyExists, "the object exists already"),
    "InvalidRange": _Meaning(BeyondEnd, "the range begins after the object's end"),
    "NotImplemented": _Meaning(NoConditions, "the server does not do what was asked of it"),
    "NoSuchBucket": _Meaning(NoSuchPlace, "there is no such bucket", "create the bucket, or correct its name"),
    "BucketAlreadyExists": _Meaning(StoreRefused, "somebody else has a bucket of that name", "choose another name"),
    "BucketNotEmpty": _Meaning(StoreRefused, "there is something in the bucket", "it stays as it is"),
    "TooManyBuckets": _Meaning(StoreRefused, "the account may have no more buckets", "use one that is there"),
    "InvalidBucketName": _Meaning(StoreRefused, "no bucket can have that name", "correct the bucket's name"),
    "InvalidAccessKeyId": _Meaning(StoreRefused, "the access key is not known there", _KEYS),
    "SignatureDoesNotMatch": _Meaning(StoreRefused, "the secret key does not belong to the access key", _KEYS),
    "ExpiredToken": _Meaning(StoreRefused, "the session token has expired", "sign in again"),
    "InvalidToken": _Meaning(StoreRefused, "the session token is not valid", "sign in again"),
    "TokenRefreshRequired": _Meaning(StoreRefused, "the session token has expired", "sign in again"),
    "Unauthorized": _Meaning(StoreRefused, "the credentials were not accepted", _KEYS),
    "RequestTimeTooSkewed": _Meaning(
        StoreRefused, "this machine's clock is wrong", "set the clock, best by network time (NTP)"
    ),
    "AccessDenied": _Meaning(
        StoreRefused,
        "permission denied",
        "the key needs GetObject, PutObject and DeleteObject on the objects and ListBucket on the bucket",
    ),
    "AllAccessDisabled": _Meaning(StoreRefused, "access is disabled", "ask the provider of the store"),
    "AccountProblem": _Meaning(StoreRefused, "there is a problem with the account", "ask the provider of the store"),
    "InvalidObjectState": _Meaning(
        StoreRefused, "the object was moved to an archive", "restore it, and exempt the vault from archiving"
    ),
    "PermanentRedirect": _Meaning(StoreRefused, "the bucket is in another region", _REGION),
    "AuthorizationHeaderMalformed": _Meaning(StoreRefused, "the bucket is in another region", _REGION),
    "IllegalLocationConstraintException": _Meaning(StoreRefused, "the bucket is in another region", _REGION),
    "QuotaExceeded": _Meaning(StoreRefused, "the quota is used up", "free some space or raise the quota"),
    # Lasting by their status, passing by their nature:
    "RequestTimeout": _Meaning(StoreUnavailable, "the upload was too slow"),
    "IncompleteBody": _Meaning(StoreUnavailable, "the upload was cut off"),
    "BadDigest": _Meaning(StoreUnavailable, "the upload was damaged on its way"),
    "XAmzContentSHA256Mismatch": _Meaning(StoreUnavailable, "the upload was damaged on its way"),
    "ConditionalRequestConflict": _Meaning(StoreUnavailable, "another writer was at the same name"),
    "OperationAborted": _Meaning(StoreUnavailable, "another operation is under way"),
    "SlowDown": _Meaning(StoreUnavailable, "too many requests"),
    "Throttling": _Meaning(StoreUnavailable, "too many requests"),
    "RequestLimitExceeded": _Meaning(StoreUnavailable, "too many requests"),
}

_LOGIN_PAGE = "check the endpoint, and that no login page of a network is in the way"
_MOVED = _Meaning(StoreUnavailable, "the server sends us elsewhere", _LOGIN_PAGE)
_NOT_S3 = _Meaning(StoreUnavailable, "the answer is not one of S3", _LOGIN_PAGE)

_BY_STATUS: dict[int, _Meaning] = {
    302: _MOVED,
    303: _MOVED,
    307: _MOVED,
    # A 404 that isn't NoSuchKey says nothing about an object: it comes from something that is no S3 server.
    404: _Meaning(StoreRefused, "the answer is not one of S3", "check the endpoint in config.toml"),
    401: _BY_CODE["Unauthorized"],
    403: _BY_CODE["AccessDenied"],
    407: _Meaning(StoreRefused, "the proxy wants a password", "check HTTPS_PROXY in the environment"),
    408: _BY_CODE["RequestTimeout"],
    409: _BY_CODE["ConditionalRequestConflict"],
    412: _BY_CODE["PreconditionFailed"],
    416: _BY_CODE["InvalidRange"],
    429: _BY_CODE["SlowDown"],
    500: _Meaning(OutOfOrder, "the server has a problem"),
    501: _BY_CODE["NotImplemented"],
    503: _BY_CODE["SlowDown"],
}

_CERTIFICATE = "set ca_bundle if the server is your own; else a login page of a network may be in the way"
_OWN_CREDENTIALS = "set access_key_id and secret_access_key, or a profile, in config.toml"

_NO_NAME = _Meaning(
    StoreUnavailable, "the server's name is not known", "check the endpoint and region, and the connection"
)

# In this order: the first class that fits.
_BY_CLASS: tuple[tuple[type[Exception], _Meaning], ...] = (
    (ResponseParserError, _NOT_S3),
    (Redirected, _MOVED),
    (boto.NoCredentialsError, _Meaning(StoreRefused, "there are no credentials", _OWN_CREDENTIALS)),
    (boto.PartialCredentialsError, _Meaning(StoreRefused, "half of the credentials is missing", _OWN_CREDENTIALS)),
    (boto.ProfileNotFound, _Meaning(StoreRefused, "there is no such profile", "see `aws configure list-profiles`")),
    (boto.CredentialRetrievalError, _Meaning(StoreRefused, "the credentials can't be fetched", "sign in again")),
    (boto.TokenRetrievalError, _Meaning(StoreRefused, "the credentials can't be fetched", "sign in again")),
    (boto.SSOError, _Meaning(StoreRefused, "single sign-on has expired", "run `aws sso login`")),
    (boto.SSLError, _Meaning(StoreUnavailable, "the server's certificate is not trusted", _CERTIFICATE)),
    (ssl.SSLError, _Meaning(StoreUnavailable, "the server's certificate is not trusted", _CERTIFICATE)),
    (boto.ProxyConnectionError, _Meaning(StoreUnavailable, "the proxy does not answer")),
    (boto.IncompleteReadError, _Meaning(StoreUnavailable, "the answer was cut off")),
    (aiohttp.ClientPayloadError, _Meaning(StoreUnavailable, "the answer was cut off")),
    (boto.ResponseStreamingError, _Meaning(StoreUnavailable, "the answer was cut off")),
    (boto.ConnectTimeoutError, _Meaning(StoreUnavailable, "there is no connection")),
    (boto.ReadTimeoutError, _Meaning(StoreUnavailable, "there was no answer in time")),
    (TimeoutError, _Meaning(StoreUnavailable, "there was no answer in time")),
    (aiohttp.ClientConnectorDNSError, _NO_NAME),
    (boto.EndpointConnectionError, _Meaning(StoreUnavailable, "there is no connection")),
    (boto.HTTPClientError, _Meaning(StoreUnavailable, "the connection broke")),
    (aiohttp.ClientError, _Meaning(StoreUnavailable, "the connection broke")),
    (OSError, _Meaning(StoreUnavailable, "the connection broke")),
    (boto.BotoCoreError, _Meaning(StoreRefused, "the settings can't work")),
    (ValueError, _Meaning(StoreRefused, "the settings can't work", "check the endpoint and region in config.toml")),
)


def translate(error: Exception, address: str, name: str = "") -> StoreError:
    """Our error for `error`, one of FAILURES, met at the store `address` with the object `name` (or none)."""
    where = f"{address}{name}" if address.endswith("/") else f"{address}/{name}".rstrip("/")
    if isinstance(error, boto.ClientError):
        meaning, detail = _of_answer(error)
        retry_after = _retry_after(error)
    else:
        cause = getattr(error, "kwargs", {}).get("error")
        if isinstance(cause, aiohttp.ClientConnectorDNSError):
            error = cause
        meaning = next(meaning for kind, meaning in _BY_CLASS if isinstance(error, kind))
        detail = type(error).__name__
        retry_after = None
    message = f"{where}: {meaning.what} ({detail})"
    if issubclass(meaning.kind, StoreUnavailable):
        return meaning.kind(message, hint=meaning.hint, retry_after=retry_after)
    return meaning.kind(message, hint=meaning.hint)


def error_code(error: boto.ClientError) -> str:
    """The server's word for what happened; its HTTP status where it used no word."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z0-9._-]{1,60}", code) else str(_status(error))


def left(error: Exception) -> bool:
    """Whether the request had left when `error` was raised: not so if no connection came about."""
    cause: Mapping[str, Any] = getattr(error, "kwargs", {})
    return not isinstance(cause.get("error"), aiohttp.ClientConnectorError)


def _of_answer(error: boto.ClientError) -> tuple[_Meaning, str]:
    code, status = error_code(error), _status(error)
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if meaning is None and status >= 500:
        meaning = _Meaning(StoreUnavailable, "the server has a problem")
    if meaning is None:
        meaning = _Meaning(StoreRefused, "the server refused")
    return meaning, code if code == str(status) else f"{status} {code}"


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _retry_after(error: boto.ClientError) -> float | None:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    value = str(headers.get("retry-after", ""))
    return min(float(value), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", value) else None
