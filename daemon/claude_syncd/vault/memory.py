"""Bounds on what a reader holds in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Budget:
    """So many bytes for all takers together; who asks for more than is left waits its turn. For one event loop."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        """Hold `count` bytes of it, or all of it if that is less."""
        count = min(count, self._total)
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((count, granted))
        self._grant()
        try:
            await granted
            yield
        finally:
            if granted.done() and not granted.cancelled():
                self._left += count
            self._grant()

    def _grant(self) -> None:
        """Never awaits, so that what a cancelled taker gives back always reaches the next."""
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._left):
            count, granted = self._waiting.popleft()
            if not granted.done():
                self._left -= count
                granted.set_result(None)


class ByteCache:
    """The most recently used objects, up to so many bytes in all; larger ones are not kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._items: OrderedDict[str, bytes] = OrderedDict()

    def put(self, name: str, data: bytes) -> None:
        """Keep `data`, dropping what was not used for longest."""
        self.drop(name)
        if len(data) > self._limit:
            return
        self._items[name] = data
        self._held += len(data)
        while self._held > self._limit:
            _, dropped = self._items.popitem(last=False)
            self._held -= len(dropped)

    def drop(self, name: str) -> None:
        """Keep it no longer."""
        self._held -= len(self._items.pop(name, b""))

    def get(self, name: str) -> bytes | None:
        """The object's bytes if it is still here."""
        data = self._items.get(name)
        if data is not None:
            self._items.move_to_end(name)
        return data
