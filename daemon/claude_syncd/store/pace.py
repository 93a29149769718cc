"""A store that leaves some of the line to others."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from claude_syncd.store.base import ObjectInfo, Span, Store


class Paced:
    """Puts `up` and gets `down` bytes a second on average; None means no limit.

    An object is sent in one go: who moves one waits until what was moved before has had its time at that rate. So
    nothing is held back when little is moved, and both directions are apart: a long push delays no poll.
    """

    def __init__(
        self,
        store: Store,
        *,
        up: float | None,
        down: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._up = _Lane(up, clock, sleep)
        self._down = _Lane(down, clock, sleep)

    @property
    def address(self) -> str:
        """That of the store within."""
        return self._store.address

    def around(self, store: Store) -> Paced:
        """Another store at the other end of the same line: both together keep to its rate."""
        paced = Paced(store, up=None, down=None)
        paced._up, paced._down = self._up, self._down
        return paced

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        await self._up.turn(len(data))
        await self._store.put(name, data, if_absent=if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        await self._down.turn(0)
        data = await self._store.get(name, span)
        self._down.charge(len(data))
        return data

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        return await self._store.list(prefix)

    async def delete(self, name: str) -> None:
        """See Store."""
        await self._store.delete(name)

    async def drop_history(self) -> None:
        """See Store."""
        await self._store.drop_history()

    async def close(self) -> None:
        """See Store."""
        await self._store.close()


class _Lane:
    """One direction: free again at a time that each transfer moves on."""

    def __init__(
        self, rate: float | None, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._in_order = asyncio.Lock()

    async def turn(self, size: int) -> None:
        """Wait until the line is free, then take it for `size` bytes."""
        async with self._in_order:
            while (wait := self._free_at - self._clock()) > 0:
                await self._sleep(wait)
            self.charge(size)

    def charge(self, size: int) -> None:
        """`size` bytes more take their time from now on, or from when the line is free."""
        if self._rate is not None:
            self._free_at = max(self._free_at, self._clock()) + size / self._rate
