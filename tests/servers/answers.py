"""An HTTP server on the loopback that gives the answers it is told to: what some S3 servers say, word for word."""

from __future__ import annotations

import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What was asked; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def s3_error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    """An error as S3 gives it, with the words that echo the request."""
    body = f"<Error><Code>{code}</Code><Message>said with secret-key</Message><Resource>/x</Resource></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **(headers or {})})


class AnswerServer:
    """Gives each of `answers` once, in turn, the last one again and again; `requests` are those that came.

    `before_answer` is awaited when a request is in and its answer is chosen. It speaks TLS with `certificate`, a file
    that holds its key as well.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._tls = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(certificate)
        self.answers: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.endpoint = ""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.endpoint = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(
            Request(
                request.method, request.path_qs, {name.lower(): value for name, value in request.headers.items()}, body
            )
        )
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        if self.before_answer is not None:
            await self.before_answer()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
