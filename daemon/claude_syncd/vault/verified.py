"""A store read for the sake of a copy: whole objects, verified, and another copy of one that is damaged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from claude_syncd.errors import IntegrityError
from claude_syncd.vault.whole import may_be_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.errors import SyncError
    from claude_syncd.store.base import ObjectInfo, Readable, Span


class Verified:
    """Implements Readable over `store`. `doubt`: as a Reader asks it whether the store has another copy.

    What is damaged in every copy is given as it is, most of it may be of use; `damaged` names it.
    """

    def __init__(self, store: Readable, keys: VaultKeys, doubt: Callable[[str, SyncError], bool]) -> None:
        self.damaged: list[str] = []
        self._store = store
        self._keys = keys
        self._doubt = doubt

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Readable; a part of an object is not verified."""
        while True:
            data = await self._store.get(name, span)
            if span is not None or await asyncio.to_thread(may_be_whole, self._keys, name, data):
                return data
            if not self._doubt(name, IntegrityError(f"{name} is damaged")):
                self.damaged.append(name)
                return data

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Readable."""
        return await self._store.list(prefix)
