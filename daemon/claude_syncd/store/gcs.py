"""A store in a bucket of Google Cloud Storage."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from claude_syncd.errors import NoSuchPlace, ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo
from claude_syncd.store.bucket_errors import BeyondEnd, NotThere
from claude_syncd.store.names import check_size, is_part, name_parts, prefix_parts
from claude_syncd.store.report import OnRequest, RequestKind, unheard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from claude_syncd.store.base import Span
    from claude_syncd.store.gcs_client import Client
    from claude_syncd.store.options import GcsOptions

GOOGLE = "https://storage.googleapis.com"
PATIENCE = 60.0
SLOWEST = 8 * 1024
MANY_OBJECTS = 2_000_000
_LARGE = 1024 * 1024
_PAGE = 1024 * 1024

_Result = TypeVar("_Result")


class _Item(msgspec.Struct):
    name: str
    size: int


class _Page(msgspec.Struct, rename="camel"):
    kind: Literal["storage#objects"]
    items: list[_Item] = []
    next_page_token: str = ""


class _Stored(msgspec.Struct, rename="camel"):
    """What an upload is answered with; emulators leave some of it out."""

    size: int
    md5_hash: str | None = None


# The library gives decoded JSON, and its numbers are text.
_PAGES = msgspec.json.Decoder(_Page, strict=False)
_UPLOADS = msgspec.json.Decoder(_Stored, strict=False)


class GcsStore:
    """Objects are named under `prefix`. The client is imported, made and connected at the first call, off the loop."""

    def __init__(
        self, options: GcsOptions, *, connections: int = 16, patience: float = PATIENCE, google: str = GOOGLE
    ) -> None:
        """`patience` is how long the server may be silent, in seconds.

        A whole call may take as long as its bytes need at SLOWEST (bytes a second) on top of that. `google` is where
        the API is that gets credentials.
        """
        self._options = options
        self._connections = connections
        self._patience = patience
        self._prefix = f"{options.prefix.strip('/')}/".lstrip("/")
        self._google = google
        self._emulator = options.endpoint or os.environ.get("STORAGE_EMULATOR_HOST")
        self._seen = False
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._closing = AsyncExitStack()
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        """Bucket and prefix as a URL."""
        return f"gs://{self._options.bucket}/{self._prefix}".rstrip("/")

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        name_parts(name)
        check_size(name, len(data))
        md5 = await asyncio.to_thread(_md5, data) if len(data) > _LARGE else _md5(data)

        async def request(client: Client) -> None:
            from claude_syncd.store import over_http  # noqa: PLC0415 - imports aiohttp; done already by _connected

            answer = await client.storage.upload(
                self._options.bucket,
                self._prefix + name,
                over_http.Body(data),
                content_type="application/octet-stream",
                # Both are changed by the library: they are new for each request.
                parameters={"fields": "size,md5Hash", **({"ifGenerationMatch": "0"} if if_absent else {})},
                headers={"X-Goog-Hash": f"md5={md5}"},
                # The other way makes two requests or more, and tries again where a condition was not met.
                force_resumable_upload=False,
                timeout=self._silence(),
            )
            stored = _UPLOADS.decode(msgspec.json.encode(answer))
            if stored.size != len(data) or stored.md5_hash not in {None, md5}:
                raise StoreUnavailable(f"{self.address}/{name}: the upload was damaged on its way")

        try:
            await self._call("put", name, request, size=len(data), up=len(data))
        except NotThere as error:
            raise self._no_bucket() from error

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        name_parts(name)
        headers = {"Accept-Encoding": "identity"}

        async def request(client: Client) -> bytes:
            from claude_syncd.store import over_http  # noqa: PLC0415 - imports aiohttp; done already by _connected

            asked = headers if span is None else {**headers, "Range": over_http.range_of(span)}
            stream = await client.storage.download_stream(
                self._options.bucket, self._prefix + name, headers={**asked}, timeout=self._silence()
            )
            async with stream as response:
                data = await over_http.read_object(name, response)
                return data if span is None else over_http.part_of(data, span, response)

        try:
            size = MAX_OBJECT if span is None else span.length
            return await self._call("get", name, request, size=size, down=len)
        except BeyondEnd:
            return b""
        except NotThere as error:
            raise await self._missing(name) from error

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        prefix_parts(prefix)
        found: dict[str, int] = {}
        token = ""
        while True:
            page = await self._page(prefix, token)
            for item in page.items:
                name = item.name.removeprefix(self._prefix)
                if item.name.startswith(self._prefix + prefix) and all(map(is_part, name.split("/"))):
                    found[name] = item.size
            if not page.next_page_token:
                return [ObjectInfo(name, found[name]) for name in sorted(found)]
            last, token = token, page.next_page_token
            if token == last:
                raise StoreUnavailable(f"{self.address}: the listing broke off")
            if len(found) > MANY_OBJECTS:
                raise StoreRefused(f"{self.address}: too many objects", hint="use a bucket or prefix of its own")

    async def delete(self, name: str) -> None:
        """See Store."""
        name_parts(name)

        async def request(client: Client) -> None:
            await client.storage.delete(self._options.bucket, self._prefix + name, timeout=self._silence())

        try:
            with suppress(ObjectMissing):
                await self._call("delete", name, request)
        except NotThere as error:
            missing = await self._missing(name)
            if not isinstance(missing, ObjectMissing):
                raise missing from error

    async def drop_history(self) -> None:
        """See Store: there is none."""

    async def close(self) -> None:
        """See Store."""
        await self._closing.aclose()
        self._client = None

    async def _page(self, prefix: str, token: str, limit: int | None = None) -> _Page:
        async def request(client: Client) -> _Page:
            asked = {"prefix": self._prefix + prefix, "fields": "kind,items(name,size),nextPageToken"}
            if token:
                asked["pageToken"] = token
            if limit is not None:
                asked["maxResults"] = str(limit)
            answer = await client.storage.list_objects(self._options.bucket, params=asked, timeout=self._silence())
            return _PAGES.decode(msgspec.json.encode(answer))

        try:
            page = await self._call("list", "", request, size=_PAGE)
        except NotThere as error:
            raise self._no_bucket() from error
        self._seen = True
        return page

    async def _missing(self, name: str) -> StoreError:
        """What a 404 means that does not say so: a listing tells a missing object from a missing bucket.

        Google always says so. Emulators don't.
        """
        try:
            if not self._seen:
                await self._page(name, "", limit=1)
        except StoreError as error:
            return error
        return ObjectMissing(f"{self.address}/{name}: there is no such object")

    def _no_bucket(self) -> NoSuchPlace:
        return NoSuchPlace(
            f"{self.address}: there is no such bucket", hint="create the bucket, or correct its name or the endpoint"
        )

    def _silence(self) -> Any:
        from claude_syncd.store import over_http  # noqa: PLC0415 - imports aiohttp; done already by _connected

        # The library says it takes seconds for the whole; it hands on what it is given, and a whole has no fixed time.
        return over_http.timeouts(self._patience)

    async def _call(
        self,
        kind: RequestKind,
        name: str,
        request: Callable[[Client], Awaitable[_Result]],
        *,
        size: int = 0,
        up: int = 0,
        down: Callable[[_Result], int] = lambda _: 0,
    ) -> _Result:
        """Make one request of at most `size` bytes, count it, and translate what goes wrong.

        It is made once more if the token was not accepted: it may have been withdrawn before its time.
        """
        client = await self._connected()
        from claude_syncd.store import gcs_errors  # noqa: PLC0415 - imports aiohttp; done already by _connected

        while True:
            left, received = True, 0
            had = client.token is not None and client.token.access_token is not None
            try:
                async with asyncio.timeout(self._patience + size / SLOWEST):
                    result = await request(client)
                received = down(result)
            except gcs_errors.FAILURES as error:
                left = gcs_errors.left(error)
                if had and client.token is not None and gcs_errors.is_unauthorized(error):
                    client.token.forget()
                    continue
                raise gcs_errors.translate(error, self.address, name) from gcs_errors.showable(error)
            else:
                return result
            finally:
                if left:
                    self.on_request(kind, up, received)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                await asyncio.to_thread(_import_client)
                # Quick now that the thread has done it.
                from claude_syncd.store import gcs_client, gcs_credentials  # noqa: PLC0415

                if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", self._options.bucket):
                    raise StoreRefused(
                        f"{self.address}: no bucket can have that name", hint="correct the bucket's name"
                    )
                credentials = None
                if not self._emulator:
                    credentials = await asyncio.to_thread(
                        gcs_credentials.read_credentials, self._options.credentials_file
                    )
                making = gcs_client.new_client(
                    _api(self._emulator or self._google),
                    credentials,
                    self._connections,
                    self._patience,
                    emulator=self._emulator is not None,
                )
                self._client = await self._closing.enter_async_context(making)
            return self._client


def _import_client() -> None:
    # Takes a third of a second: only for those who use it.
    from claude_syncd.store import gcs_client, gcs_errors  # noqa: F401, PLC0415


def _api(url: str) -> str:
    """The API's root. `STORAGE_EMULATOR_HOST` comes without a scheme, too."""
    return (url if "://" in url else f"http://{url}").rstrip("/")


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
