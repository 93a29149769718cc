"""Devices that compact their areas, and a time that goes on as a test says."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from claude_syncd.core.compaction import GRACE
from claude_syncd.core.elapsed import DAY
from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.round import Direction
from claude_syncd.store.memory import MemoryStore
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from devices import Device


class Clock:
    """The time of all devices of a test."""

    def __init__(self, *devices: Device) -> None:
        self.seconds = 1_800_000_000.0
        for device in devices:
            self.tell(device)

    def tell(self, device: Device) -> None:
        device.site.now_ns = lambda: int(self.seconds * 1e9)
        device.site.monotonic = lambda: self.seconds
        device.site.looked = None

    def go_on(self, seconds: float, *devices: Device) -> None:
        for _ in range(int(seconds // DAY) + 1):
            self.seconds += seconds / (int(seconds // DAY) + 1)
            for device in devices:
                device.site.passed()


def compactor(device: Device) -> Compactor:
    return Compactor(device.site, device.round.between_rounds, device.round.outbox)


async def fold(device: Device, clock: Clock, *others: Device) -> None:
    """Compact, and let go of what that replaced."""
    await compactor(device).compact()
    await compactor(device).sweep()
    clock.go_on(GRACE + 1, device, *others)
    await compactor(device).sweep()
    assert not any("/log/" in name for name in area(device))


def area(device: Device) -> set[str]:
    return {name for name in device.vault.objects if name.startswith(layout.area(device.site.me))}


def row(number: int, size: int = 100) -> str:
    return f'{{"type":"user","uuid":"{number}","text":"{random.Random(number).randbytes(size // 2).hex()}"}}\n'


async def grow(device: Device, pushes: int, *, start: int = 0) -> None:
    """A session that goes on for so many pushes."""
    path = device.transcript()
    (device.places.tree / path).parent.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + pushes):
        with (device.places.tree / path).open("a") as file:
            file.write(row(number))
        device.touch(path, age=5)
        assert (await device.sync(Direction.PUSH)).uploaded == 1


async def everything_resolves(device: Device) -> None:
    """Whatever this device has published is in its area."""
    for slices in device.site.state.in_use(device.site.me):
        for one in slices:
            assert one.object in device.vault.objects, one


class Interrupted(MemoryStore):
    """Has something else happen before an object whose name has `word` in it is put, once."""

    word = ""
    meanwhile: Callable[[], Awaitable[None]]

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if self.word and self.word in name:
            self.word = ""
            await self.meanwhile()
        await super().put(name, data, if_absent=if_absent)


def interrupted(device: Device) -> Interrupted:
    """The store of a device that does not run yet."""
    store = device.store = Interrupted()
    store.objects = device.vault.objects
    return store
