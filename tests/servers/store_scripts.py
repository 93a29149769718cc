"""Stores in memory that misbehave as told; they pass the conformance suite when told nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from claude_syncd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.errors import StoreError
    from claude_syncd.store.base import ObjectInfo, Span


class Failing(MemoryStore):
    """Raises `failures` one after the other, instead of acting or `after_the_act`."""

    def __init__(self, *failures: StoreError, after_the_act: bool = False) -> None:
        super().__init__()
        self.failures: list[StoreError] = [*failures]
        self.after_the_act = after_the_act

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if not self.after_the_act:
            self._fail()
        await super().put(name, data, if_absent=if_absent)
        self._fail()

    async def get(self, name: str, span: Span | None = None) -> bytes:
        self._fail()
        return await super().get(name, span)

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        self._fail()
        return await super().list(prefix)

    async def delete(self, name: str) -> None:
        self._fail()
        await super().delete(name)


class Overwriting(MemoryStore):
    """Ignores `if_absent`, as some servers do."""

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        await super().put(name, data)


class Racy(MemoryStore):
    """Looks first and writes later, so that several conditional writers win."""

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if if_absent and name not in self.objects:
            await asyncio.sleep(0)
            if_absent = False
        await super().put(name, data, if_absent=if_absent)


class Lying(MemoryStore):
    """Says that it refused to overwrite, and overwrites."""

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        taken = if_absent and name in self.objects
        await super().put(name, data)
        if taken:
            await super().put(name, data, if_absent=True)


class Late(MemoryStore):
    """Lists nothing that is new."""

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        await super().list(prefix)
        return []


class Gated(MemoryStore):
    """Holds every call until `gate` is set, and knows how many are inside."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def get(self, name: str, span: Span | None = None) -> bytes:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.gate.wait()
            return await super().get(name, span)
        finally:
            self.inside -= 1
