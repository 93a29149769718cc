"""One push on its way to the store: seals blobs in order, uploads packs in parallel, keeps a small rest inline."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Executor
    from types import TracebackType

    from claude_syncd.core.model import LogEntry
    from claude_syncd.crypto.keys import VaultKeys

_ROW_BYTES = 160  # the most that a blob adds to a sealed index
_FRAME_BYTES = 1024  # header, trailer and age's overhead of the index, generously
_SEALED_IN_ONE_GO = 4  # each trip to a worker's thread takes the loop a tenth of a millisecond, beside the sealing
_SEALING_AT_ONCE = 2  # such trips between the feeder and the pack: 8 MiB at the most, and what the feeder adds


class Writer:
    """Collects the blobs of one log entry. Use it as a context manager: leaving it ends what is still under way.

    At most `parallel_packs` packs are being uploaded while one more is filled. A failed upload shows in the next
    `add` or in `finish`; after that the writer is of no more use.
    """

    def __init__(
        self,
        keys: VaultKeys,
        device: str,
        seq: int,
        upload: Callable[[str, bytes], Awaitable[None]],
        executor: Executor,
        *,
        noted: Callable[[str, list[int]], None] | None = None,
        inline_limit: int = layout.INLINE_LIMIT,
        pack_limit: int = layout.PACK_LIMIT,
        parallel_packs: int = 2,
    ) -> None:
        """`upload(name, data)` returns once the object is durable; then `noted(name, tickets)` is called.

        `tickets` are in the order of the pack's blobs. Limits are in sealed bytes.
        """
        self._keys = keys
        self._device = device
        self._name = layout.log_name(device, seq)
        self._upload = upload
        self._executor = executor
        self._noted = noted
        self._inline_limit = inline_limit
        self._pack_limit = pack_limit
        self._parallel_packs = parallel_packs
        self._next = 0
        self._sealing: deque[tuple[list[int], asyncio.Future[list[codec.Sealed]]]] = deque()
        self._filling: list[tuple[int, codec.Sealed]] = []
        self._filled = _FRAME_BYTES
        self._uploads: set[asyncio.Task[None]] = set()
        self._packed = False
        self._finished = False
        self._error: Exception | None = None
        self._places: dict[int, tuple[str, int]] = {}
        self._in_order = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._abandon()

    async def add(self, plain: bytes) -> int:
        """`add_all` for one blob."""
        return (await self.add_all([plain]))[0]

    async def add_all(self, plains: Sequence[bytes]) -> list[int]:
        """Take the next blobs, 1 byte to 1 MiB each; gives their tickets: 0, 1, 2... Waits while too much is under
        way.
        """
        if self._error is not None:
            raise self._error
        if self._finished:
            raise RuntimeError("the writer is finished")
        tickets = list(range(self._next, self._next + len(plains)))
        self._next += len(plains)
        loop = asyncio.get_running_loop()
        for first in range(0, len(plains), _SEALED_IN_ONE_GO):
            some = slice(first, first + _SEALED_IN_ONE_GO)
            sealing = loop.run_in_executor(self._executor, _seal, self._keys, plains[some])
            self._sealing.append((tickets[some], sealing))
        await self._drain(_SEALING_AT_ONCE)
        return tickets

    async def finish(self) -> None:
        """Wait until every blob is sealed and every pack durable. A small total stays inline; see `entry`."""
        await self._drain(0, then=self._send_rest)
        for number, (ticket, _) in enumerate(self._filling):
            self._places[ticket] = (self._name, number)
        self._finished = True

    def place(self, ticket: int) -> tuple[str, int]:
        """The object and the blob's number in it. Known once its pack is durable, and of every ticket at the end."""
        return self._places[ticket]

    async def entry(self, entry: LogEntry) -> bytes:
        """The sealed log entry with the inline blobs in it. Only after `finish`."""
        if not self._finished:
            raise RuntimeError("the writer is not finished")
        blobs = [blob for _, blob in self._filling]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, codec.encode_log, self._keys, entry, blobs)

    async def _drain(self, at_most: int, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Move sealed blobs to the pack, in order, until at most so many wait; `then` follows in the same turn."""
        async with self._in_order:
            if self._error is not None:
                raise self._error
            try:
                while self._sealing and (len(self._sealing) > at_most or self._sealing[0][1].done()):
                    tickets, future = self._sealing[0]
                    blobs = await future
                    self._sealing.popleft()
                    for ticket, blob in zip(tickets, blobs, strict=True):
                        await self._put_in(ticket, blob)
                if then is not None:
                    await then()
            except BaseException as error:
                # Others that wait for their turn must fail too, not go on with a gap in the order.
                self._error = error if isinstance(error, Exception) else RuntimeError("the writer was abandoned")
                await self._abandon()
                raise

    async def _send_rest(self) -> None:
        if self._filling and (self._packed or self._filled > self._inline_limit):
            await self._send_pack()
        await self._uploaded(down_to=0)

    async def _put_in(self, ticket: int, blob: codec.Sealed) -> None:
        size = len(blob.data) + _ROW_BYTES
        if self._filling and (self._filled + size > self._pack_limit or len(self._filling) >= layout.MAX_BLOBS):
            await self._send_pack()
        self._filling.append((ticket, blob))
        self._filled += size

    async def _send_pack(self) -> None:
        await self._uploaded(down_to=self._parallel_packs - 1)
        blobs, self._filling, self._filled = self._filling, [], _FRAME_BYTES
        self._packed = True
        self._uploads.add(asyncio.create_task(self._send(blobs), name=f"pack for {self._name}"))

    async def _send(self, blobs: list[tuple[int, codec.Sealed]]) -> None:
        loop = asyncio.get_running_loop()
        sealed = [blob for _, blob in blobs]
        tickets = [ticket for ticket, _ in blobs]
        blobs.clear()
        name, data = await loop.run_in_executor(self._executor, codec.encode_pack, self._keys, self._device, sealed)
        sealed.clear()  # the pack holds their bytes now; both would be twice the memory during the upload
        await self._upload(name, data)
        for number, ticket in enumerate(tickets):
            self._places[ticket] = (name, number)
        if self._noted is not None:
            self._noted(name, tickets)

    async def _uploaded(self, *, down_to: int) -> None:
        """Wait until at most so many uploads are under way; raises the first failure that it meets."""
        while len(self._uploads) > down_to:
            done, self._uploads = await asyncio.wait(self._uploads, return_when=asyncio.FIRST_COMPLETED)
            failures = [error for task in done if (error := task.exception()) is not None]
            if failures:
                raise failures[0]

    async def _abandon(self) -> None:
        """Cancel what is under way and wait for its end."""
        pending: list[asyncio.Future[Any]] = [*self._uploads, *(future for _, future in self._sealing)]
        self._uploads = set()
        self._sealing.clear()
        for item in pending:
            item.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _seal(keys: VaultKeys, plains: Sequence[bytes]) -> list[codec.Sealed]:
    return [codec.seal_chunk(keys, plain) for plain in plains]
