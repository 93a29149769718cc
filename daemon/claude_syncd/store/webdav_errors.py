"""The one table that turns what WebDAV servers answer into errors of ours. Their own words are not looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store import over_http
from claude_syncd.store.over_http import Meaning
from claude_syncd.store.webdav_listing import Elsewhere, Incomplete, NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILURES = (*over_http.FAILURES, NotUnderstood, Incomplete, Elsewhere)
"""What a request may raise, besides errors of ours."""

_CREDENTIALS = "check username and password, or token, in config.toml; Nextcloud wants a password made for apps"
_URL = "set url to the folder's own address in config.toml, as the server shows it for WebDAV"

_BY_STATUS: dict[int, Meaning] = {
    401: Meaning(StoreRefused, "the credentials were not accepted", _CREDENTIALS),
    403: Meaning(StoreRefused, "permission denied", "let the user read, write and delete in the folder"),
    404: Meaning(StoreUnavailable, "what was there a moment ago is gone"),
    405: Meaning(StoreRefused, "the server does not speak WebDAV there", _URL),
    407: over_http.PROXY_PASSWORD,
    408: Meaning(StoreUnavailable, "the upload was too slow"),
    409: Meaning(StoreUnavailable, "the folder could not be made"),
    410: Meaning(StoreUnavailable, "what was there a moment ago is gone"),
    412: Meaning(StoreUnavailable, "another writer was at the same name"),
    413: Meaning(StoreRefused, "the server takes no object of that size", "raise its limit of uploads to 33 MiB"),
    423: Meaning(StoreUnavailable, "it is locked"),
    424: Meaning(StoreUnavailable, "it is locked"),
    425: over_http.SLOW_DOWN,
    429: over_http.SLOW_DOWN,
    501: Meaning(StoreRefused, "the server does not do what was asked of it", _URL),
    503: over_http.SLOW_DOWN,
    507: Meaning(StoreUnavailable, "the storage is full", "free some space or raise the quota"),
}
_NO_RENAME = Meaning(
    StoreUnavailable,
    "the server did not rename",
    "where a proxy is in front, it must hand on the header Destination with the address that the server knows",
)
_ODD = Meaning(StoreUnavailable, "the server did it by halves, or not yet")
_REFUSED = Meaning(StoreRefused, "the server refused")
_NOT_UNDERSTOOD = Meaning(
    StoreUnavailable, "the answer is not one of WebDAV", "check url, and that no login page of a network is in the way"
)
_INCOMPLETE = Meaning(StoreUnavailable, "the listing is not complete")
_ELSEWHERE = Meaning(
    StoreRefused,
    "the server's listing is of another folder",
    "set url to the address that the server knows itself by; a proxy in front must not change paths",
)
ELSEWHERE = Meaning(
    StoreRefused, "the server sends us to another server", f"{_URL}, beginning with https where it does"
)


def of_status(status: int, headers: Mapping[str, str], where: str, method: str = "") -> StoreError:
    """Our error for an answer that `method` can't use."""
    meaning = _BY_STATUS.get(status)
    if status == 502 and method == "MOVE":
        meaning = _NO_RENAME
    if meaning is None and status >= 500:
        meaning = over_http.OUT_OF_ORDER
    if meaning is None:
        meaning = _ODD if status < 400 else _REFUSED
    return meaning.error(where, str(status), over_http.retry_after(headers))


def of_failure(error: Exception, where: str) -> StoreError:
    """Our error for `error`, one of FAILURES."""
    if isinstance(error, NotUnderstood):
        return _NOT_UNDERSTOOD.error(where, str(error))
    if isinstance(error, Incomplete):
        return _INCOMPLETE.error(where, str(error))
    if isinstance(error, Elsewhere):
        return _ELSEWHERE.error(where, "PROPFIND")
    return over_http.meaning_of(error).error(where, type(error).__name__)
