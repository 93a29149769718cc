"""Server-sent events: progress, status and results on their way to a client that may be slow or gone."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from claude_syncd.control.messages import DiffAnswer, ErrorBody
from claude_syncd.core.status import Progress, RunResult, Status

Event = Progress | Status | RunResult | DiffAnswer | ErrorBody

_HELD_BACK = 256
_BEAT_SECONDS = 5.0


class Feed:
    """Events on their way to one client. Never blocks who puts: of a client that is slow, the oldest are dropped."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_HELD_BACK)

    def put(self, event: Event) -> None:
        """Send one event; its name is by what it is: progress, status, result or error."""
        self._put(f"event: {_name(event)}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n")

    def end(self) -> None:
        """Nothing follows."""
        self._put(None)

    async def next(self) -> bytes | None:
        """Give the next event as it goes over the wire, or a comment when there was none for 5 s; None at the end."""
        try:
            return await asyncio.wait_for(self._queue.get(), _BEAT_SECONDS)
        except TimeoutError:
            return b":\n\n"

    def _put(self, item: bytes | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(item)


def _name(event: Event) -> str:
    match event:
        case Progress():
            return "progress"
        case Status():
            return "status"
        case RunResult() | DiffAnswer():
            return "result"
        case ErrorBody():
            return "error"


async def send(feed: Feed, request: web.Request) -> web.StreamResponse:
    """Answer `request` with all that comes through `feed`, until it ends or the client is gone."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    try:
        await response.prepare(request)
        while (event := await feed.next()) is not None:
            await response.write(event)
        await response.write_eof()
    except ConnectionError:
        pass  # the client is gone, which is its right; what it asked for goes on
    return response
