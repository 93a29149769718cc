"""A store in memory with outages, for what has to live with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from claude_syncd.errors import StoreUnavailable
from claude_syncd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.store.base import ObjectInfo, Span

Weather = Literal["up", "down", "silent", "deaf"]
"""`down`: every call fails. `deaf`: every call acts, and fails then. `silent`: no call ends before that changes."""


class ShakyStore(MemoryStore):
    """Behaves as `weather` says; `asked` are the calls that it got."""

    def __init__(self, address: str = "memory://one") -> None:
        super().__init__()
        self._address = address
        self._weather: Weather = "up"
        self._changed = asyncio.Event()
        self.asked: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return self._address

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        await self._before("put", name)
        await super().put(name, data, if_absent=if_absent)
        self._after()

    async def get(self, name: str, span: Span | None = None) -> bytes:
        await self._before("get", name)
        found = await super().get(name, span)
        self._after()
        return found

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        await self._before("list", prefix)
        found = await super().list(prefix)
        self._after()
        return found

    async def delete(self, name: str) -> None:
        await self._before("delete", name)
        await super().delete(name)
        self._after()

    async def _before(self, kind: str, name: str) -> None:
        self.asked.append((kind, name))
        await asyncio.sleep(0)
        while self._weather == "silent":
            await self._changed.wait()
        if self._weather == "down":
            raise StoreUnavailable("nobody answers")

    def _after(self) -> None:
        if self._weather == "deaf":
            raise StoreUnavailable("the answer was lost")
