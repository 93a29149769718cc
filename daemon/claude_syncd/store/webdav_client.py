"""Requests to a WebDAV server: signed in, within bounds of time and size, never to another server.

Importing this module takes long (aiohttp): WebDavStore does it in a thread, at its first call.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from claude_syncd.errors import StoreRefused
from claude_syncd.store import over_http, webdav_errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from multidict import CIMultiDictProxy

    from claude_syncd.store.options import WebDavOptions
    from claude_syncd.store.report import OnRequest, RequestKind

SLOWEST = 8 * 1024
MOST_REDIRECTS = 3
_LARGE = 1024 * 1024
_SHORT = 64 * 1024
_MOVED = {301, 302, 307, 308}
_READ = {200, 206, 207}

_BASIC = re.compile(r"(?:^|,) *basic\b", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers, and where the answer came from in the end."""

    status: int
    headers: CIMultiDictProxy[str]
    url: URL


class _Wire:
    """Counts what goes out for one request: signing in may need two. A middleware of aiohttp, next to the wire."""

    def __init__(self) -> None:
        self.sent = 0
        self._broke: Exception | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._broke is not None and request.method == "PUT":
            # aiohttp tries once more when a connection broke. If the first PUT was done, its condition fails now, and
            # whoever called could not know that the object is its own.
            raise self._broke
        self.sent += 1
        try:
            return await handler(request)
        except aiohttp.ClientError as error:
            self.sent -= not over_http.left(error)
            self._broke = error
            raise


class Client:
    """Asks one server. Errors of errors.py only leave it."""

    def __init__(
        self, session: aiohttp.ClientSession, base: URL, options: WebDavOptions, patience: float, report: OnRequest
    ) -> None:
        """`base`: the folder that was configured. `report` is told of each request."""
        self.base = base
        self._session = session
        self._options = options
        self._patience = patience
        self._report = report
        self._signing_in = asyncio.Lock()
        self._signed_in = options.username is None
        self._middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
        self._headers: dict[str, str] = {}
        if options.token is not None:
            self._headers["Authorization"] = f"Bearer {options.token}"

    async def ask(
        self,
        kind: RequestKind,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
        size: int = 0,
        read: Callable[[aiohttp.ClientResponse], Awaitable[int]] | None = None,
    ) -> Answer:
        """Make a request of at most `size` bytes, either way, and follow it where the same server moved the folder.

        `read` gets what was answered with 200, 206 or 207 and returns how many bytes of objects came.
        """
        await self._sign_in()
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._once(kind, method, url, {**self._headers, **(headers or {})}, data, size, read)
            if answer.status not in _MOVED:
                return answer
            url = self._moved(answer, url)
        raise over_http.meaning_of(over_http.Redirected()).error(str(url), "again and again")

    async def close(self) -> None:
        """Give back the connections."""
        await self._session.close()

    async def _once(
        self,
        kind: RequestKind,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        data: bytes,
        size: int,
        read: Callable[[aiohttp.ClientResponse], Awaitable[int]] | None,
    ) -> Answer:
        wire, received = _Wire(), 0
        try:
            async with (
                asyncio.timeout(self._patience + size / SLOWEST),
                self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=over_http.Body(data) if len(data) > _LARGE else data or None,
                    allow_redirects=False,
                    middlewares=(*self._middlewares, wire),
                ) as response,
            ):
                if read is not None and response.status in _READ:
                    received = await read(response)
                else:
                    await _drain(response)
                return Answer(response.status, response.headers, response.url)
        except webdav_errors.FAILURES as error:
            raise webdav_errors.of_failure(error, str(url)) from error
        finally:
            for last in range(wire.sent, 0, -1):
                self._report(kind, len(data) if method == "PUT" else 0, received if last == 1 else 0)

    def _moved(self, answer: Answer, url: URL) -> URL:
        try:
            target = url.join(URL(answer.headers.get("Location", "")))
            if target.origin() == self.base.origin():
                return target
        except ValueError:
            pass
        raise webdav_errors.ELSEWHERE.error(str(url), str(answer.status))

    async def _sign_in(self) -> None:
        """Find out how the server wants the password before it gets any: a digest keeps it from being read on the way.

        From then on each request carries it: what a server shows to strangers is not what it shows to its user.
        """
        async with self._signing_in:
            if self._signed_in:
                return
            answer = await self._once("head", "PROPFIND", self.base, {"Depth": "0"}, b"", 0, None)
            username, password = self._options.username or "", self._options.password or ""
            if answer.status == 429 or answer.status >= 500:  # it says nothing about signing in
                raise webdav_errors.of_status(answer.status, answer.headers, str(self.base))
            asked = _challenges(answer)
            if asked and asked[0].lower().startswith("digest "):  # aiohttp looks at the first one
                self._middlewares = (aiohttp.DigestAuthMiddleware(username, password),)
            elif not asked or any(map(_BASIC.search, asked)):
                encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
                self._headers["Authorization"] = f"Basic {encoded}"
            else:
                raise StoreRefused(
                    f"{self.base}: the server wants neither basic nor digest sign-in",
                    hint="make a password for apps there, or set token in config.toml",
                )
            self._signed_in = True


async def new_client(options: WebDavOptions, connections: int, patience: float, report: OnRequest) -> Client:
    """Make a client; `patience` is the longest silence of the server that it bears, in seconds.

    Raises StoreRefused for settings that can't work.
    """
    base = _base(options)
    tls, proxy = await asyncio.to_thread(lambda: (_trusted(options.ca_bundle), over_http.proxy_for(str(base))))
    session = aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "claude-syncd"},
        proxy=proxy,
        timeout=over_http.timeouts(patience),
    )
    return Client(session, base, options, patience, report)


def _base(options: WebDavOptions) -> URL:
    """The vault's folder. Raises StoreRefused for settings that can't work, without saying what they are."""
    try:
        url = URL(options.url)
    except ValueError:
        url = URL()
    wrong = None
    if url.scheme not in {"http", "https"} or not url.host:
        wrong = "url is no address that begins with https:// or http://"
    elif url.user or url.password:
        wrong = "url holds credentials; they belong into username and password"
    elif url.query_string or url.fragment:
        wrong = "url must end with the folder's path"
    elif ":" in (options.username or ""):
        wrong = "no username can have a colon"
    elif not _PRINTABLE.fullmatch(options.token or "-"):
        wrong = "the token is not one line of printable characters"
    if wrong is not None:
        raise StoreRefused(f"the settings of the WebDAV store can't work: {wrong}", hint="correct them in config.toml")
    return url.joinpath(*filter(None, options.prefix.split("/")), "")


def _challenges(answer: Answer) -> list[str]:
    """The ways of signing in that the server names, as it names them; empty if it asks for none."""
    return answer.headers.getall("WWW-Authenticate", []) if answer.status == 401 else []


def _trusted(ca_bundle: Path | None) -> ssl.SSLContext | bool:
    if ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is one
        raise StoreRefused(
            f"the certificates in {ca_bundle} can't be read", hint="correct ca_bundle in config.toml"
        ) from error


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read what is short, so that the connection can be used again. One with more to say is closed."""
    size = 0
    while size < _SHORT and (piece := await response.content.read(_SHORT)):
        size += len(piece)
