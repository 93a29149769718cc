"""A store that can take back what was put through it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import ObjectMissing
from claude_syncd.tasks import drop

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.store.base import ObjectInfo, Span, Store

PATIENCE = 5.0
"""So many seconds are waited for the answer to a put that is cancelled."""


class Undoing:
    """Remembers the small objects that are put, so as to delete them again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        """That of the store within."""
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        self._written[name] = data  # before: after an error it may be there as well
        putting = asyncio.ensure_future(self._store.put(name, data, if_absent=if_absent))
        try:
            await asyncio.shield(putting)
        except asyncio.CancelledError:
            # A server that has received it stores it in the end, maybe after it was looked for in vain.
            try:
                await asyncio.wait([putting], timeout=PATIENCE)
            finally:
                await drop([putting])
            raise

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        return await self._store.get(name, span)

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

    async def undo(self) -> None:
        """Delete what was put, the last first; what holds other bytes by now is somebody else's. Raises StoreError."""
        while self._written:
            name, data = self._written.popitem()
            with suppress(ObjectMissing):
                if await self._store.get(name) == data:
                    await self._store.delete(name)
