"""A store that does only so much at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.store.base import ObjectInfo, Span, Store


class Limited:
    """At most `parallel` calls reach the store within at any time; the others wait in the order they came."""

    def __init__(self, store: Store, parallel: int) -> None:
        self._store = store
        self._turn = asyncio.Semaphore(parallel)

    @property
    def address(self) -> str:
        """That of the store within."""
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        async with self._turn:
            await self._store.put(name, data, if_absent=if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        async with self._turn:
            return await self._store.get(name, span)

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        async with self._turn:
            return await self._store.list(prefix)

    async def delete(self, name: str) -> None:
        """See Store."""
        async with self._turn:
            await self._store.delete(name)

    async def drop_history(self) -> None:
        """See Store."""
        async with self._turn:
            await self._store.drop_history()

    async def close(self) -> None:
        """See Store."""
        await self._store.close()
