"""A store whose server overwrites although it was asked not to: it is asked first whether the name is taken."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import AlreadyExists, ObjectMissing
from claude_syncd.store.base import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.store.base import ObjectInfo, Store


class LookingFirst:
    """Costs a GET for each put with `if_absent`. A gap is left: what is written between the look and the put is lost.

    Two copies of one device find out about each other with it, unless they write in the same moment.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def address(self) -> str:
        """That of the store within."""
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        if if_absent:
            with suppress(ObjectMissing):
                await self._store.get(name, Span(0, 1))
                raise AlreadyExists(f"{name} exists already")
        await self._store.put(name, data, if_absent=if_absent)

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
