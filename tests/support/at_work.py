"""The daemon's loop of a device in this process, and waiting for what it does."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from claude_syncd.engine.supervisor import Supervisor
from claude_syncd.engine.timing import Intervals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from devices import Device

QUICK = Intervals(quiet=0.05, limit=0.5, active=0.1, idle=0.2, roster=0.2)


@asynccontextmanager
async def at_work(device: Device, intervals: Intervals = QUICK) -> AsyncIterator[Supervisor]:
    """The loop and the watcher of a device, until the block ends."""
    supervisor = Supervisor(device.site, intervals, random.Random(1))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(t) for t in (supervisor.work(), supervisor.watch())]
        try:
            yield supervisor
        finally:
            for task in tasks:
                task.cancel()


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Ask again and again until it is true; the time limit is only for failing."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
