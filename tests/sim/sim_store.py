"""A store with weather: it delays, reorders, fails before and after it has acted, lists what was true a while ago, lets
writes arrive after their sender gave up, and may ignore conditions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreUnavailable
from claude_syncd.store.base import ObjectInfo
from claude_syncd.store.names import span_bounds
from claude_syncd.store.report import OnRequest, unheard

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from claude_syncd.store.base import Span


@dataclass(slots=True)
class Weather:
    """Probabilities for each request, seconds for the rest. `conditional`: whether the store honours `if_absent`;
    `looks_first`: where it does not, devices know that, and ask before they write.
    """

    latency: float = 0.0
    fails_before: float = 0.0
    fails_after: float = 0.0
    arrives_late: float = 0.0
    list_lag: float = 0.0
    conditional: bool = True
    looks_first: bool = False

    def clear_up(self) -> None:
        """No more faults. What a store can't do, it still can't."""
        self.latency = self.fails_before = self.fails_after = self.arrives_late = self.list_lag = 0.0


@dataclass(slots=True)
class Cloud:
    """The objects of one vault and when each came; what happened to requests."""

    chance: random.Random
    weather: Weather
    objects: dict[str, bytes] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    unread: list[tuple[str, bytes]] = field(default_factory=list)  # new objects, for who looks into them
    requests: int = 0
    faults: int = 0

    def write(self, name: str, data: bytes, *, if_absent: bool) -> None:
        if if_absent and self.weather.conditional and name in self.objects:
            raise AlreadyExists(f"{name} exists already")
        self.objects[name] = data
        self.since[name] = asyncio.get_running_loop().time()
        self.unread.append((name, data))


class SimStore:
    """One device's way to the cloud. `online` is asked at each request; `point` is told before and after it."""

    def __init__(self, cloud: Cloud, online: Callable[[], bool], point: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._online = online
        self._point = point
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        return "sim://"

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        await self._go("put")
        cloud, weather = self._cloud, self._cloud.weather
        if cloud.chance.random() < weather.arrives_late:
            cloud.faults += 1
            late = cloud.chance.uniform(1, 90)
            asyncio.get_running_loop().call_later(late, self._arrive, name, bytes(data), if_absent)
            raise StoreUnavailable("the connection broke while the object was on its way")
        cloud.write(name, bytes(data), if_absent=if_absent)
        await self._return("put", len(data), 0)

    def _arrive(self, name: str, data: bytes, if_absent: bool) -> None:
        try:
            self._cloud.write(name, data, if_absent=if_absent)
        except AlreadyExists:
            return

    async def get(self, name: str, span: Span | None = None) -> bytes:
        await self._go("get")
        data = self._cloud.objects.get(name)
        if data is None:
            self.on_request("get", 0, 0)
            raise ObjectMissing(f"there is no {name} in the store")
        start, length = span_bounds(span, len(data))
        found = data[start : start + length]
        await self._return("get", 0, len(found))
        return found

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        await self._go("list")
        cloud = self._cloud
        until = asyncio.get_running_loop().time() - cloud.chance.uniform(0, cloud.weather.list_lag)
        found = [
            ObjectInfo(name, len(cloud.objects[name]))
            for name in sorted(cloud.objects)
            if name.startswith(prefix) and cloud.since[name] <= until
        ]
        await self._return("list", 0, 0)
        return found

    async def delete(self, name: str) -> None:
        await self._go("delete")
        self._cloud.objects.pop(name, None)
        await self._return("delete", 0, 0)

    async def drop_history(self) -> None:
        """There is none."""

    async def close(self) -> None:
        """The objects stay, as they would in any other store."""

    async def _go(self, kind: str) -> None:
        self._cloud.requests += 1
        self._point(f"before {kind}")
        await self._travel()
        if not self._online():
            raise StoreUnavailable("the device is offline")
        self._fail(self._cloud.weather.fails_before)

    async def _return(self, kind: str, up: int, down: int) -> None:
        self._point(f"after {kind}")
        self._fail(self._cloud.weather.fails_after)
        await self._travel()
        self.on_request(kind, up, down)  # type: ignore[arg-type]

    def _fail(self, probability: float) -> None:
        if self._cloud.chance.random() < probability:
            self._cloud.faults += 1
            raise StoreUnavailable("the connection broke")

    async def _travel(self) -> None:
        if self._cloud.weather.latency:
            await asyncio.sleep(self._cloud.chance.uniform(0, self._cloud.weather.latency))
