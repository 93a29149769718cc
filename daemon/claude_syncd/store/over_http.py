"""What the stores that speak HTTP by aiohttp have in common: how long they wait, what they read, what failures mean.

Importing this takes long (aiohttp): a store does it in a thread, at its first call.
"""

from __future__ import annotations

import io
import re
import ssl
import urllib.request
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.names import check_size, span_bounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claude_syncd.store.base import Span

PIECE = 64 * 1024
LONGEST_CONNECT = 15.0
LONGEST_WAIT = 3600.0


class Meaning(NamedTuple):
    """What a failure means: the error to raise, what happened, what to do."""

    kind: type[StoreError]
    what: str
    hint: str | None = None

    def error(self, where: str, detail: str, retry_after: float | None = None) -> StoreError:
        """The error of ours. `detail` is a status or a class of exceptions, and holds no word of the server's."""
        message = f"{where}: {self.what} ({detail})"
        if issubclass(self.kind, StoreUnavailable):
            return self.kind(message, hint=self.hint, retry_after=retry_after)
        return self.kind(message, hint=self.hint)


class Body(io.BytesIO):
    """Bytes to upload, read in pieces so that the loop is never busy with them for long.

    To learn their number aiohttp asks for a buffer, for which a plain BytesIO copies them all: 32 MiB took 100 ms.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data

    def getbuffer(self) -> memoryview:
        """See BytesIO; this one is for reading only."""
        return memoryview(self._data)


class Redirected(aiohttp.ClientError):
    """The server sent us elsewhere, where nobody goes."""


class TooLong(aiohttp.ClientError):
    """An answer that is read as a whole has no end in sight."""


FAILURES = (aiohttp.ClientError, OSError, ValueError)  # TimeoutError is an OSError
"""What aiohttp may raise; a ValueError for a malformed URL or header."""

_LOGIN_PAGE = "see that no login page of a network is in the way"
_CERTIFICATE = f"set ca_bundle if the server is your own; else {_LOGIN_PAGE}"

_NO_NAME = Meaning(StoreUnavailable, "the server's name is not known", "check the address, and the connection")

# In this order: the first class that fits.
_BY_CLASS: tuple[tuple[type[Exception], Meaning], ...] = (
    (Redirected, Meaning(StoreUnavailable, "the server sends us elsewhere", f"check the address, and {_LOGIN_PAGE}")),
    (TooLong, Meaning(StoreUnavailable, "the answer is too long", f"check the address, and {_LOGIN_PAGE}")),
    (ssl.SSLError, Meaning(StoreUnavailable, "the server's certificate is not trusted", _CERTIFICATE)),
    (aiohttp.ClientSSLError, Meaning(StoreUnavailable, "the server's certificate is not trusted", _CERTIFICATE)),
    (aiohttp.ClientProxyConnectionError, Meaning(StoreUnavailable, "the proxy does not answer")),
    (aiohttp.ClientConnectorDNSError, _NO_NAME),
    (aiohttp.ClientConnectorError, Meaning(StoreUnavailable, "there is no connection")),
    (aiohttp.ConnectionTimeoutError, Meaning(StoreUnavailable, "there is no connection")),
    (aiohttp.ClientPayloadError, Meaning(StoreUnavailable, "the answer was cut off")),
    (aiohttp.InvalidURL, Meaning(StoreRefused, "the address can't be one", "correct it in config.toml")),
    (TimeoutError, Meaning(StoreUnavailable, "there was no answer in time")),
    (aiohttp.ClientHttpProxyError, Meaning(StoreUnavailable, "the proxy refused", "check HTTPS_PROXY")),
    (aiohttp.ClientError, Meaning(StoreUnavailable, "the connection broke")),
    (OSError, Meaning(StoreUnavailable, "the connection broke")),
    (ValueError, Meaning(StoreRefused, "the settings can't work", "check the address in config.toml")),
)

SLOW_DOWN = Meaning(StoreUnavailable, "too many requests")
OUT_OF_ORDER = Meaning(StoreUnavailable, "the server has a problem")
PROXY_PASSWORD = Meaning(StoreRefused, "the proxy wants a password", "check HTTPS_PROXY in the environment")


def meaning_of(error: Exception) -> Meaning:
    """What `error`, one of FAILURES that is no answer, means."""
    return next(meaning for kind, meaning in _BY_CLASS if isinstance(error, kind))


def left(error: BaseException) -> bool:
    """Whether the request had left when `error` was raised: not so if no connection came about."""
    return not isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))


def retry_after(headers: Mapping[str, str] | None) -> float | None:
    """The wait that the server asks for, in seconds; at most LONGEST_WAIT."""
    value = (headers or {}).get("Retry-After", "")
    return min(float(value), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", value) else None


def timeouts(patience: float) -> aiohttp.ClientTimeout:
    """No limit for the whole, which the caller sets by size; `patience` seconds of silence at the most."""
    return aiohttp.ClientTimeout(total=None, sock_connect=min(patience, LONGEST_CONNECT), sock_read=patience)


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`.

    aiohttp would look by itself, but only together with `.netrc`, whose passwords are not meant for us.
    """
    parts = urlsplit(url)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


async def read_object(name: str, response: aiohttp.ClientResponse) -> bytes:
    """The whole body, of at most MAX_OBJECT bytes. Fewer than were announced are an error of FAILURES."""
    if response.content_length is None and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise StoreRefused(f"{name}: the server does not say how long it is", hint="use another server or proxy")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise StoreRefused(f"{name}: the server sends it compressed", hint="let the server leave the vault as it is")
    check_size(name, response.content_length or 0)
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.read(PIECE):
        size += len(piece)
        check_size(name, size)
        pieces.append(piece)
    return b"".join(pieces)


def range_of(span: Span) -> str:
    """The value of the header `Range`."""
    if span.start < 0:
        return f"bytes={span.start}"
    # There is no empty range: the least that can be asked for is a byte.
    return f"bytes={span.start}-{span.start + max(1, span.length) - 1}"


def part_of(data: bytes, span: Span, response: aiohttp.ClientResponse) -> bytes:
    """The bytes of `span`, where the answer to its range is `data`: a part, or the whole object."""
    # Some servers send the part with status 200; only without Content-Range it is the whole object.
    whole = response.status == 200 and "Content-Range" not in response.headers
    start, length = span_bounds(span, len(data)) if whole else (0, max(0, span.length))
    return data[start : start + length]
