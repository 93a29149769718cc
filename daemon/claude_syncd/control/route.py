"""What the table of routes is made of: name, method, path, what goes in, what comes out, and who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec
from aiohttp import web

from claude_syncd.errors import UsageError

if TYPE_CHECKING:
    from claude_syncd.control.runs import Runs
    from claude_syncd.control.service import Service

EVENT_STREAM = "text/event-stream"

_Body = TypeVar("_Body")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and who can answer it."""

    service: Service
    runs: Runs
    http: web.Request

    async def body(self, decoder: msgspec.json.Decoder[_Body]) -> _Body:
        """Decode the request's JSON; none at all is `{}`. Raises UsageError."""
        raw = await self.http.read() or b"{}"
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the request makes no sense: {error}", hint="see GET /v1/openapi.json") from error


Handler = Callable[[Ask], Awaitable[msgspec.Struct | web.StreamResponse | None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked. `body` is JSON. It answers with one of `answers`, or with something of the type
    `media`, or with nothing; or with server-sent events of the names `events`.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    body: type[msgspec.Struct] | None = None
    answers: tuple[type[msgspec.Struct], ...] = ()
    media: str = ""
    events: tuple[str, ...] = ()
