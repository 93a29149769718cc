"""One push on its way to the store: collects sealed blobs, uploads packs in parallel, keeps a small rest inline."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from concurrent.futures import Executor
    from types import TracebackType

    from claude_syncd.core.model import LogEntry
    from claude_syncd.crypto.keys import VaultKeys

_ROW_BYTES = 160  # the most that a blob adds to a sealed index
_FRAME_BYTES = 1024  # header, trailer and age's overhead of the index, generously


class Writer:
    """Collects the blobs of one log entry. Use it as a context manager: leaving it ends what is still under way.

    At most `parallel_packs` packs are being uploaded while one more is filled. A failed upload shows in the next
    blob that is added or in `finish`; after that the writer is of no more use.
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
        self._filling: list[tuple[int, codec.Sealed]] = []
        self._filled = _FRAME_BYTES
        self._uploads: set[asyncio.Task[None]] = set()
        self._packed = False
        self._finished = False
        self._error: Exception | None = None
        self._places: dict[int, tuple[str, int]] = {}
        self._turn = asyncio.Lock()

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
        """Seal the next blobs, 1 byte to 1 MiB each, and take them; gives their tickets: 0, 1, 2..."""
        tickets = list(range(self._next, self._next + len(plains)))
        self._next += len(plains)
        loop = asyncio.get_running_loop()
        sealed = await loop.run_in_executor(self._executor, _seal, self._keys, plains)
        await self.add_sealed(zip(tickets, sealed, strict=True))
        return tickets

    async def add_sealed(self, blobs: Iterable[tuple[int, codec.Sealed]]) -> None:
        """Take blobs that the caller has sealed, with tickets that the caller has chosen, in whatever order. Waits
        while too much is under way.
        """
        async with self._one_at_a_time():
            for ticket, blob in blobs:
                await self._put_in(ticket, blob)

    async def finish(self) -> None:
        """Wait until every pack is durable. A small total stays inline; see `entry`."""
        async with self._one_at_a_time():
            if self._filling and (self._packed or self._filled > self._inline_limit):
                await self._send_pack()
            await self._uploaded(down_to=0)
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

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """The turn of one caller. What goes wrong in it goes wrong for all who come after: a blob would be missing."""
        async with self._turn:
            if self._error is not None:
                raise self._error
            if self._finished:
                raise RuntimeError("the writer is finished")
            try:
                yield
            except BaseException as error:
                self._error = error if isinstance(error, Exception) else RuntimeError("the writer was abandoned")
                await self._abandon()
                raise

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
        pending, self._uploads = self._uploads, set()
        for upload in pending:
            upload.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _seal(keys: VaultKeys, plains: Sequence[bytes]) -> list[codec.Sealed]:
    return [codec.seal_chunk(keys, plain) for plain in plains]
