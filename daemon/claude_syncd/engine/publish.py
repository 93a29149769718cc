"""Puts an object under a name that is this device's to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.errors import AlreadyExists

if TYPE_CHECKING:
    from claude_syncd.store.base import Store


async def publish(store: Store, name: str, data: bytes) -> None:
    """Put `data` under `name`, if nobody has put other bytes there. Raises AlreadyExists, StoreError.

    Idempotent: the same bytes may be there already. So may a part of them, from the beginning: a server that does not
    look at what arrives keeps an upload that was cut off. Nobody else can have written those; they are replaced.
    """
    try:
        await store.put(name, data, if_absent=True)
    except AlreadyExists:
        there = await store.get(name)
        if there == data:
            return
        if not data.startswith(there):
            raise
        await store.put(name, data)
