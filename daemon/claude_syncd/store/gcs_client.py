"""Makes the client that GcsStore uses. Importing this takes long and much memory: GcsStore does it in a thread."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from gcloud.aio.storage import Storage

from claude_syncd.store.gcs_credentials import OneToken
from claude_syncd.store.over_http import LONGEST_CONNECT, PIECE, Redirected, TooLong, proxy_for, timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKENS = "https://oauth2.googleapis.com"
LONGEST_ANSWER = 16 * 1024 * 1024
"""Of what is read as a whole: a page of a listing, an error."""


class Client:
    """The library's client, and the token that it uses (None: an emulator, which asks for none)."""

    def __init__(self, storage: Storage, token: OneToken | None) -> None:
        self.storage = storage
        self.token = token


@asynccontextmanager
async def new_client(
    api: str, credentials: bytes | None, connections: int, patience: float, *, emulator: bool
) -> AsyncIterator[Client]:
    """Give a client of the API at the URL `api`, closed at the end. An emulator gets no credentials.

    `patience` is the longest silence of the server that it bears, in seconds.
    """
    async with _session(proxy_for(api), connections, patience) as session:
        if emulator:
            # Given no token, the library would look for credentials all the same, and fail over broken ones.
            nothing: Any = object()
            yield Client(Storage(api_root=api, api_is_dev=True, session=session, token=nothing), None)
            return
        # The metadata server of a machine in Google's cloud is next door, behind no proxy.
        async with _session(proxy_for(TOKENS) if credentials else None, 1, patience) as token_session:
            token = OneToken(credentials, token_session, min(patience, LONGEST_CONNECT))
            yield Client(Storage(api_root=api, api_is_dev=False, session=session, token=token), token)


class _Bounded(aiohttp.ClientResponse):
    """An answer that ends, or else is an error: the library reads pages and errors to their ends."""

    async def read(self) -> bytes:
        """All bytes. Raises TooLong. Of an error, whose status says enough, as many as came."""
        if self._body is None:
            pieces: list[bytes] = []
            try:
                await self._read_into(pieces)
            except aiohttp.ClientPayloadError:
                self.close()
                if self.status < 400:
                    raise
            self._body = b"".join(pieces)
        return self._body

    async def _read_into(self, pieces: list[bytes]) -> None:
        size = 0
        while piece := await self.content.read(PIECE):
            size += len(piece)
            if size > LONGEST_ANSWER:
                self.close()
                raise TooLong
            pieces.append(piece)


async def _no_redirect(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # The API has none. aiohttp would make a GET of an upload, and its answer would count as success.
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise Redirected
    return response


def _session(proxy: str | None, connections: int, patience: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=[_no_redirect],
        proxy=proxy,
        response_class=_Bounded,
        timeout=timeouts(patience),
    )
