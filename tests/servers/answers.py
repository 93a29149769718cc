"""An HTTP server on the loopback that gives the answers it is told to: what some S3 servers say, word for word."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def s3_error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    """An error as S3 gives it, with the words that echo the request."""
    body = f"<Error><Code>{code}</Code><Message>said with secret-key</Message><Resource>/x</Resource></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **(headers or {})})


class AnswerServer:
    """Gives each of `answers` once, in turn, the last one again and again; `requests` are those that came."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.endpoint = ""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(Request(request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
