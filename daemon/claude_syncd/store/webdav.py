"""A store in a folder of a WebDAV server: Nextcloud, ownCloud, Apache, a NAS, anything that speaks RFC 4918.

How an object gets its name at once, and whole, depends on the server (docs/decisions): see `_Way`.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreError
from claude_syncd.store.base import MAX_OBJECT
from claude_syncd.store.names import RESERVED, check_size, name_parts, prefix_parts
from claude_syncd.store.report import OnRequest, unheard
from claude_syncd.store.webdav_statuses import GONE, MADE, NO_PARENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import aiohttp

    from claude_syncd.store.base import ObjectInfo, Span
    from claude_syncd.store.options import WebDavOptions
    from claude_syncd.store.report import RequestKind
    from claude_syncd.store.webdav_client import Answer, Client
    from claude_syncd.store.webdav_folders import Folders

PATIENCE = 60.0
TIDY_WITHIN = 5.0
"""Seconds for removing what a failed put left behind."""

_PART = {200, 206}
_NOT_SUPPORTED = {403, 405, 501}
_APACHE = "<http://apache.org/dav/propset/fs/1>"
_REMOTE_PHP = "/remote.php/"


class _Way(Enum):
    """How this server writes an object that readers see whole or not at all."""

    PUT = "PUT writes aside and renames (Apache)"
    PUT_NEW = "PUT does so for a new name, and writes into what is there already (Nextcloud, ownCloud)"
    RENAME = "PUT shows what has come so far (or nobody knows): PUT aside, then MOVE"


class WebDavStore:
    """Objects are files below the folder. `create()` once makes it; without it every method says StoreUnavailable.

    The client is imported, made and connected at the first call, off the loop.
    """

    def __init__(self, options: WebDavOptions, *, connections: int = 16, patience: float = PATIENCE) -> None:
        """`patience` is how long the server may be silent, in seconds; a slow transfer may take longer."""
        self._options = options
        self._connections = connections
        self._patience = patience
        self._connection: tuple[Client, Folders] | None = None
        self._connecting = asyncio.Lock()
        self._way: _Way | None = None
        self._finding_way = asyncio.Lock()
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        """The folder's URL, without anything secret."""
        try:
            parts = urlsplit(self._options.url)
        except ValueError:
            return "webdav:"  # an address that is none is refused at the first call
        path = "/".join([parts.path.rstrip("/"), *filter(None, self._options.prefix.split("/"))])
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))

    async def create(self) -> None:
        """Make the folder, or accept one that is empty or a store already. Raises StoreRefused for anything else."""
        _, folders = await self._connected()
        await folders.create()

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store. A server that looks first and writes later may let two writers of one name win."""
        parts = name_parts(name)
        check_size(name, len(data))
        way = await self._writing()
        if way is _Way.PUT:
            return await self._put(parts, data, only_new=if_absent)
        if way is _Way.PUT_NEW:
            try:
                return await self._put(parts, data, only_new=True)
            except AlreadyExists:
                if if_absent:
                    raise
        return await self._put_aside(parts, data, only_new=if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        parts = name_parts(name)
        client, folders = await self._connected()
        from claude_syncd.store import over_http  # noqa: PLC0415 - imports aiohttp; done already by _connected

        data = b""

        async def read(response: aiohttp.ClientResponse) -> int:
            nonlocal data
            data = await over_http.read_object(name, response)
            received = len(data)
            if span is not None:
                data = over_http.part_of(data, span, response)
            return received

        headers = {} if span is None else {"Range": over_http.range_of(span)}
        size = MAX_OBJECT if span is None else span.length
        answer = await client.ask("get", "GET", folders.url(parts), headers=headers, size=size, read=read)
        # A folder is answered with a page, or refused. So is everything by the login page of a network.
        doubtful = answer.status in _NOT_SUPPORTED or (answer.status in _PART and _is_page(answer))
        if answer.status in GONE or (doubtful and not await self._is_object(folders, parts)):
            await folders.check_store()
            raise ObjectMissing(f"{self.address}/{name}: there is no such object")
        if answer.status in _PART:
            return data
        if answer.status == 416:  # the range begins after the object's end
            return b""
        raise self._refused(answer, name)

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        parts, beginning = prefix_parts(prefix)
        _, folders = await self._connected()
        if parts[:1] == [RESERVED]:
            return []
        return sorted(await folders.walk(parts, beginning), key=lambda info: info.name)

    async def delete(self, name: str) -> None:
        """See Store. Looks first: where a folder is, a DELETE would take along everything in it."""
        parts = name_parts(name)
        client, folders = await self._connected()
        if not await self._is_object(folders, parts):
            return await folders.check_store()
        answer = await client.ask("delete", "DELETE", folders.url(parts))
        if answer.status not in MADE | GONE:
            raise self._refused(answer, name)
        return None

    async def drop_history(self) -> None:
        """See Store: there is none."""

    async def close(self) -> None:
        """See Store."""
        if self._connection is not None:
            client, _ = self._connection
            self._connection = None
            await client.close()

    async def _put(self, parts: Sequence[str], data: bytes, *, only_new: bool) -> None:
        """One request, unless folders are lacking."""
        client, folders = await self._connected()
        headers = {"Content-Type": "application/octet-stream", **({"If-None-Match": "*"} if only_new else {})}

        async def attempt() -> Answer:
            return await client.ask("put", "PUT", folders.url(parts), headers=headers, data=data, size=len(data))

        answer = await attempt()
        if answer.status in NO_PARENT:
            await folders.make_for(parts)
            answer = await attempt()
        self._check_written(answer, parts, only_new=only_new)

    async def _put_aside(self, parts: Sequence[str], data: bytes, *, only_new: bool) -> None:
        """Two requests: the object gets its name when it is whole."""
        client, folders = await self._connected()
        with suppress(StoreError):  # whatever is wrong, the put meets it too
            await folders.sweep()
        aside = [RESERVED, secrets.token_hex(16)]
        try:
            await self._put(aside, data, only_new=False)
            await self._rename(aside, parts, only_new=only_new)
        except StoreError:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(TIDY_WITHIN):
                    await client.ask("delete", "DELETE", folders.url(aside))
            raise

    async def _rename(self, aside: Sequence[str], parts: Sequence[str], *, only_new: bool) -> None:
        client, folders = await self._connected()
        headers = {"Destination": str(folders.url(parts)), "Overwrite": "F" if only_new else "T"}

        async def attempt() -> Answer:
            return await client.ask("put", "MOVE", folders.url(aside), headers=headers)

        answer = await attempt()
        if answer.status in NO_PARENT or answer.status == 403:  # 403: Go's server, for a folder that lacks
            await folders.make_for(parts)
            answer = await attempt()
        self._check_written(answer, parts, only_new=only_new, method="MOVE")

    def _check_written(self, answer: Answer, parts: Sequence[str], *, only_new: bool, method: str = "PUT") -> None:
        if answer.status == 412 and only_new:
            raise AlreadyExists(f"{self.address}/{'/'.join(parts)} exists already")
        if answer.status not in MADE:
            raise self._refused(answer, "/".join(parts), method)

    async def _is_object(self, folders: Folders, parts: Sequence[str]) -> bool:
        found = await folders.look(folders.url(parts), depth=0)
        return found is not None and not found.is_folder

    async def _writing(self) -> _Way:
        client, _ = await self._connected()
        async with self._finding_way:
            if self._way is None:
                self._way = await self._find_way(client)
            return self._way

    async def _find_way(self, client: Client) -> _Way:
        if _REMOTE_PHP in client.base.path:
            return _Way.PUT_NEW
        answer = await client.ask("head", "OPTIONS", client.base)
        if answer.status in {401, 429} or answer.status >= 502:
            raise self._refused(answer, "")
        said = ",".join(answer.headers.getall("DAV", []))
        return _Way.PUT if _APACHE in said else _Way.RENAME

    def _refused(self, answer: Answer, name: str, method: str = "") -> StoreError:
        from claude_syncd.store import webdav_errors  # noqa: PLC0415 - imports aiohttp; done already by _connected

        return webdav_errors.of_status(answer.status, answer.headers, f"{self.address}/{name}", method)

    async def _connected(self) -> tuple[Client, Folders]:
        async with self._connecting:
            if self._connection is None:
                await asyncio.to_thread(_import_client)
                # Quick now that the thread has done it.
                from claude_syncd.store import webdav_client, webdav_folders  # noqa: PLC0415

                client = await webdav_client.new_client(self._options, self._connections, self._patience, self._report)
                self._connection = client, webdav_folders.Folders(client, self.address)
            return self._connection

    def _report(self, kind: RequestKind, up: int, down: int) -> None:
        self.on_request(kind, up, down)


def _is_page(answer: Answer) -> bool:
    return answer.headers.get("Content-Type", "").lower().startswith("text/html")


def _import_client() -> None:
    # Takes a tenth of a second: only for those who use it.
    from claude_syncd.store import webdav_client, webdav_folders  # noqa: F401, PLC0415
