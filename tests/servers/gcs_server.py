"""A server with the part of Google Cloud Storage's JSON API that a store needs, on the loopback, in its own thread.

It keeps what the emulators on offer leave out: generations, conditions, checksums, and which 404 is which. The suite
that it passes is the one that a third party's server passes, too (gcs_emulator.py).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import threading
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_JSON = "application/json; charset=UTF-8"
_PAGE = 1000


class GcsServer:
    """Start it, use `endpoint` and `bucket`, stop it. `objects` are its contents and their generations, by name.

    `refuses` are the operations that it refuses, `list`, `get`, `put`, `delete` or `all`, with the status and the
    reason of its answer.
    """

    def __init__(self, bucket: str = "vaults") -> None:
        self.bucket = bucket
        self.endpoint = ""
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.refuses: dict[str, tuple[int, str]] = {}
        self._generations = count(1)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> str:
        """Begin to listen; the endpoint."""
        self._thread.start()
        self._ready.wait()
        return self.endpoint

    def stop(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        application = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[self._ruled])
        application.router.add_post("/upload/storage/v1/b/{bucket}/o", self._upload)
        application.router.add_get("/storage/v1/b/{bucket}/o", self._list)
        application.router.add_route("*", "/storage/v1/b/{bucket}/o/{name:.+}", self._object)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _ruled(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        kind = {"GET": "list" if request.path.endswith("/o") else "get", "POST": "put"}.get(request.method, "delete")
        refused = self.refuses.get("all") or self.refuses.get(kind)
        if refused is None:
            return await handler(request)
        await request.read()
        return _error(*refused, "you may not")

    async def _upload(self, request: web.Request) -> web.Response:
        data = await request.read()
        if request.match_info["bucket"] != self.bucket:
            return _error(404, "notFound", "The specified bucket does not exist.")
        name = request.query["name"]
        refused = self._condition(request, name)
        if refused is not None:
            return refused
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        declared = request.headers.get("X-Goog-Hash", f"md5={md5}")
        if declared != f"md5={md5}":
            return _error(400, "invalid", f"Provided MD5 hash doesn't match calculated MD5 hash {md5!r}.")
        self.objects[name] = (data, next(self._generations))
        return _json({"kind": "storage#object", "name": name, "size": str(len(data)), "md5Hash": md5})

    async def _list(self, request: web.Request) -> web.Response:
        if request.match_info["bucket"] != self.bucket:
            return _error(404, "notFound", "The specified bucket does not exist.")
        after = base64.b64decode(request.query.get("pageToken", "")).decode()
        prefix = request.query.get("prefix", "")
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        limit = min(_PAGE, int(request.query.get("maxResults", _PAGE)))
        page: dict[str, object] = {"kind": "storage#objects"}
        if names[:limit]:
            page["items"] = [{"name": name, "size": str(len(self.objects[name][0]))} for name in names[:limit]]
        if names[limit:]:
            page["nextPageToken"] = base64.b64encode(names[limit - 1].encode()).decode()
        return _json(page)

    async def _object(self, request: web.Request) -> web.Response:
        bucket, name = request.match_info["bucket"], unquote(request.match_info["name"])
        download = request.query.get("alt") == "media"
        if bucket != self.bucket:
            return _missing("The specified bucket does not exist.", download=download)
        if name not in self.objects:
            return _missing(f"No such object: {bucket}/{name}", download=download)
        if request.method == "DELETE":
            refused = self._condition(request, name)
            if refused is None:
                del self.objects[name]
            return refused or web.Response(status=204)
        return _part(self.objects[name][0], request.headers.get("Range"))

    def _condition(self, request: web.Request, name: str) -> web.Response | None:
        asked = request.query.get("ifGenerationMatch")
        generation = self.objects[name][1] if name in self.objects else 0
        if asked is None or int(asked) == generation:
            return None
        return _error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def _part(data: bytes, asked: str | None) -> web.Response:
    kind = "application/octet-stream"
    if asked is None:
        return web.Response(body=data, content_type=kind)
    matched = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    assert matched is not None
    first, last = matched.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data):
        return web.Response(status=416, text="The requested range cannot be satisfied.")
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:end], headers=headers, content_type=kind)


def _missing(message: str, *, download: bool) -> web.Response:
    # A download is answered in plain words.
    return web.Response(status=404, text=message) if download else _error(404, "notFound", message)


def _error(status: int, reason: str, message: str) -> web.Response:
    entry = {"message": message, "domain": "global", "reason": reason}
    return _json({"error": {"code": status, "message": message, "errors": [entry]}}, status)


def _json(content: dict[str, object], status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(content).encode(), headers={"Content-Type": _JSON})
