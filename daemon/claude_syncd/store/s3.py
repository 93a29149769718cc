"""A store in a bucket of S3, or of a server that speaks it: Cloudflare R2, Ceph, MinIO and others."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from claude_syncd.errors import ObjectMissing, StoreRefused, StoreUnavailable
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo, Span
from claude_syncd.store.bucket_errors import BeyondEnd, NoConditions, OutOfOrder
from claude_syncd.store.names import check_size, is_part, name_parts, prefix_parts, span_bounds
from claude_syncd.store.report import OnRequest, RequestKind, unheard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from types_aiobotocore_s3.client import S3Client

    from claude_syncd.store.options import S3Options

PATIENCE = 60.0
SLOWEST = 8 * 1024
MANY_OBJECTS = 2_000_000
_LARGE = 1024 * 1024
_PIECE = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")

_Result = TypeVar("_Result")


class S3Store:
    """Objects are keys under `prefix`. The client is imported, made and connected at the first call, off the loop."""

    def __init__(self, options: S3Options, *, connections: int = 16, patience: float = PATIENCE) -> None:
        """`patience` is how long the server may be silent, in seconds.

        A whole call may take as long as its bytes need at SLOWEST (bytes a second) on top of that.
        """
        self._options = options
        self._connections = connections
        self._patience = patience
        self._prefix = f"{options.prefix.strip('/')}/".lstrip("/")
        self._secure = not (options.endpoint or "").startswith("http:")
        self._conditions = True
        self._client: S3Client | None = None
        self._connecting = asyncio.Lock()
        self._closing = AsyncExitStack()
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        """Bucket and prefix as a URL."""
        return f"s3://{self._options.bucket}/{self._prefix}".rstrip("/")

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store. A server that says it knows no conditions gets none from then on."""
        name_parts(name)
        check_size(name, len(data))
        arguments: dict[str, Any] = {}
        if self._secure:
            # Else nothing lets the server check what arrived; without TLS the signature covers the bytes.
            arguments["ContentMD5"] = await asyncio.to_thread(_md5, data) if len(data) > _LARGE else _md5(data)
        if if_absent and self._conditions:
            try:
                await self._put(name, data, {**arguments, "IfNoneMatch": "*"})
            except NoConditions:
                self._conditions = False
            else:
                return
        await self._put(name, data, arguments)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        name_parts(name)
        client = await self._connected()

        async def request() -> bytes:
            arguments: dict[str, Any] = {} if span is None else {"Range": _range(span)}
            answer = await client.get_object(Bucket=self._options.bucket, Key=self._prefix + name, **arguments)
            async with answer["Body"] as body:
                # Reading checks the length that was announced; a body that ends early is an error.
                data = await _read(name, body, answer.get("ContentLength", 0))
            if span is None:
                return data
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            part = _part(span, data, answer.get("ContentRange", ""), whole=status == 200)
            if part is None:
                raise StoreUnavailable(f"{self.address}: the server sent another part of {name} than was asked for")
            return part

        try:
            size = MAX_OBJECT if span is None else span.length
            return await self._call("get", name, request, size=size, down=len)
        except BeyondEnd:
            if span is None or span.start >= 0:
                return b""
        # Some servers say so of the last bytes of an object that has fewer: it is small.
        start, length = span_bounds(span, len(data := await self.get(name)))
        return data[start : start + length]

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        prefix_parts(prefix)
        found: dict[str, int] = {}
        token: str | None = None
        while True:
            page = await self._page(prefix, token)
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(self._prefix)
                if entry["Key"].startswith(self._prefix + prefix) and all(map(is_part, name.split("/"))):
                    found[name] = entry["Size"]
            if not page.get("IsTruncated"):
                return [ObjectInfo(name, found[name]) for name in sorted(found)]
            last, token = token, page.get("NextContinuationToken")
            if token is None or token == last:
                raise StoreUnavailable(f"{self.address}: the listing broke off")
            if len(found) > MANY_OBJECTS:
                raise StoreRefused(f"{self.address}: too many objects", hint="use a bucket or prefix of its own")

    async def delete(self, name: str) -> None:
        """See Store."""
        name_parts(name)
        client = await self._connected()

        async def request() -> None:
            await client.delete_object(Bucket=self._options.bucket, Key=self._prefix + name)

        with suppress(ObjectMissing):  # AWS does not say so; some servers do
            try:
                await self._call("delete", name, request)
            except OutOfOrder:
                # What rclone says of any object that is not there. Only where it can be read has it gone wrong.
                await self.get(name, Span(0, 1))
                raise

    async def drop_history(self) -> None:
        """See Store: there is none."""

    async def close(self) -> None:
        """See Store."""
        await self._closing.aclose()
        self._client = None

    async def _put(self, name: str, data: bytes, arguments: dict[str, Any]) -> None:
        client = await self._connected()

        async def request() -> None:
            from claude_syncd.store import over_http  # noqa: PLC0415 - imports aiohttp; done already by _connected

            # A large body goes in pieces, so that the loop is never busy with it for long.
            body = over_http.Body(data) if len(data) > _LARGE else data
            answer = await client.put_object(
                Bucket=self._options.bucket, Key=self._prefix + name, Body=body, **arguments
            )
            if "ETag" not in answer:  # a login page says 200 to anything
                raise self._not_s3()

        await self._call("put", name, request, size=len(data), up=len(data))

    async def _page(self, prefix: str, token: str | None) -> Mapping[str, Any]:
        client = await self._connected()

        async def request() -> Mapping[str, Any]:
            arguments: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
            return await client.list_objects_v2(Bucket=self._options.bucket, Prefix=self._prefix + prefix, **arguments)

        page = await self._call("list", "", request)
        if "IsTruncated" not in page:  # to the client, any XML is a listing, be it without entries
            raise self._not_s3()
        return page

    def _not_s3(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.address}: the answer is not one of S3",
            hint="check the endpoint, and that no login page of a network is in the way",
        )

    async def _call(
        self,
        kind: RequestKind,
        name: str,
        request: Callable[[], Awaitable[_Result]],
        *,
        size: int = _PIECE,
        up: int = 0,
        down: Callable[[_Result], int] = lambda _: 0,
    ) -> _Result:
        """Make one request of at most `size` bytes, count it, and translate what goes wrong."""
        from claude_syncd.store import s3_errors  # noqa: PLC0415 - imports botocore; done already by _connected

        left, received = True, 0
        try:
            async with asyncio.timeout(self._patience + size / SLOWEST):
                result = await request()
            received = down(result)
        except s3_errors.FAILURES as error:
            left = s3_errors.left(error)
            raise s3_errors.translate(error, self.address, name) from error
        else:
            return result
        finally:
            if left:
                self.on_request(kind, up, received)

    async def _connected(self) -> S3Client:
        async with self._connecting:
            if self._client is None:
                await asyncio.to_thread(_import_client)
                # Quick now that the thread has done it.
                from claude_syncd.store import s3_client, s3_errors  # noqa: PLC0415

                try:
                    session = await asyncio.to_thread(s3_client.make_session, self._options)
                    making = s3_client.new_client(session, self._options, self._connections, self._patience)
                    self._client = await self._closing.enter_async_context(making)
                except s3_errors.FAILURES as error:
                    raise s3_errors.translate(error, self.address) from error
            return self._client


def _import_client() -> None:
    # Takes a tenth of a second and 10 MB: only for those who use it.
    from claude_syncd.store import s3_client, s3_errors  # noqa: F401, PLC0415


async def _read(name: str, body: Any, announced: int) -> bytes:
    check_size(name, announced)
    pieces: list[bytes] = []
    size = 0
    while piece := await body.read(_PIECE):
        size += len(piece)
        check_size(name, size)
        pieces.append(piece)
    return b"".join(pieces)


def _part(span: Span, data: bytes, said: str, *, whole: bool) -> bytes | None:
    """What of an answer was asked for; None where it is not in it. `said`: its Content-Range.

    Some servers send a part with status 200, or more than was asked for: the header tells. Only without one the
    status does: `whole`.
    """
    found = _CONTENT_RANGE.fullmatch(said)
    first, start, length = 0, 0, max(0, span.length)
    if found is not None:
        first = start = int(found[1])
        if found[2] != "*":
            start, length = span_bounds(span, int(found[2]))
        elif span.start >= 0:
            start = span.start
    elif whole and not said:
        start, length = span_bounds(span, len(data))
    return data[start - first : start - first + length] if start >= first else None


def _range(span: Span) -> str:
    if span.start < 0:
        return f"bytes={span.start}"
    # There is no empty range: the least that can be asked for is a byte.
    return f"bytes={span.start}-{span.start + max(1, span.length) - 1}"


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
