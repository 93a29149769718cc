"""The control server: HTTP/1.1 and JSON on a Unix socket, for the user who runs the daemon and nobody else."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from claude_syncd import log
from claude_syncd.control.failures import body_of, code_of, internal
from claude_syncd.control.listener import Listener, peer_uid
from claude_syncd.control.messages import MAX_BODY, ErrorBody
from claude_syncd.control.route import Ask
from claude_syncd.control.routes import ROUTES
from claude_syncd.control.runs import Runs
from claude_syncd.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from claude_syncd.control.route import Route
    from claude_syncd.control.service import Service

_log = log.get_logger(__name__)

_LAST_ANSWERS = 2.0
"""Seconds that requests may take to end once the server stops."""


async def serve(service: Service, path: Path, ready: Callable[[], None]) -> None:
    """Serve `service` at `path` until cancelled; calls `ready` once clients are accepted. Leaves no socket behind.

    Runs go on when their client leaves, and are cancelled with the server; their clients are told so.
    Raises AlreadyRunning when a daemon answers at `path`, LocalError when nothing can listen there.
    """
    # A handful of system calls on the local disk: not worth a thread, whose end could leave the socket behind.
    listener = Listener(path)
    try:
        runs = Runs(service)
        runner = web.AppRunner(_application(service, runs), access_log=None, shutdown_timeout=_LAST_ANSWERS)
        await runner.setup()
        try:
            await _listen(listener, runner, runs, ready)
        finally:
            await runner.cleanup()
    finally:
        listener.close()


async def _listen(listener: Listener, runner: web.AppRunner, runs: Runs, ready: Callable[[], None]) -> None:
    """In the order of the nesting, once cancelled: accept nobody, end the runs; who called sends the last answers."""
    async with runs.open():
        site = web.SockSite(runner, listener.socket)
        await site.start()
        try:
            ready()
            await asyncio.get_running_loop().create_future()
        finally:
            listener.withdraw()
            await site.stop()


def _application(service: Service, runs: Runs) -> web.Application:
    application = web.Application(client_max_size=MAX_BODY, middlewares=[_errors, _owner_only])
    for route in ROUTES:
        application.router.add_route(route.method, route.path, partial(_answer, service, runs, route))
    return application


async def _answer(service: Service, runs: Runs, route: Route, request: web.Request) -> web.StreamResponse:
    answer = await route.handler(Ask(service, runs, request))
    if answer is None:
        return web.Response(status=204)
    return answer if isinstance(answer, web.StreamResponse) else _json(answer)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong, the client is told in the same form, and nothing of the request is logged."""
    try:
        return await handler(request)
    except SyncError as error:
        return _json(body_of(error), code_of(error))
    except web.HTTPException as error:
        body = ErrorBody(error=_plain(request, error), hint="see GET /v1/openapi.json", exit_code=1)
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return _json(body, error.status, allowed)
    except Exception as error:  # noqa: BLE001 - the server's edge: logged in full, answered in brief
        _log.error("request failed", method=request.method, path=request.path, exc_info=error)
        return _json(body_of(internal(error)), 500)


@web.middleware
async def _owner_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Behind the modes of socket and folder, a second lock: only the same user, or root, is answered."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is None:
        raise web.HTTPForbidden
    try:
        uid = peer_uid(connection.getsockopt)
    except OSError as error:
        raise web.HTTPForbidden from error
    if uid not in {os.geteuid(), 0}:
        _log.warning("another user was turned away", uid=uid)
        raise web.HTTPForbidden
    return await handler(request)


def _plain(request: web.Request, error: web.HTTPException) -> str:
    match error.status:
        case 403:
            return "this daemon answers only the user who runs it"
        case 404:
            return f"there is nothing at {request.path}"
        case 405:
            return f"{request.path} does not take {request.method}"
        case 413:
            return f"the request is larger than {MAX_BODY // 1024} KiB"
        case _:
            return f"{error.status} {error.reason}"


def _json(value: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )
