"""A month's requests of a heavy user, from an hour of work and one of rest, counted by a clock that runs ahead."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from at_work import at_work
from compacting import compactor
from devices import Device, Vault
from measure import table
from virtual_time import VirtualTimeLoop, in_virtual_time

from claude_syncd.engine.timing import Intervals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from claude_syncd.engine.supervisor import Supervisor
    from claude_syncd.store.base import Span

HOUR, DAYS = 3600.0, 30
WORK = 8
"""Hours of a day in which somebody works, at one device at a time; all three are on day and night."""
PUSHES = 64
"""In an hour of work: 512 a day."""


class Price(NamedTuple):
    """US dollars for a million requests, and how many are free in a month; docs/providers.md says where from."""

    name: str
    writes: float
    reads: float
    free_writes: int = 0
    free_reads: int = 0

    def month(self, writes: int, reads: int) -> float:
        paid = max(0, writes - self.free_writes) * self.writes + max(0, reads - self.free_reads) * self.reads
        return paid / 1e6


PRICES = (
    Price("Cloudflare R2", 4.5, 0.36, 1_000_000, 10_000_000),
    Price("Amazon S3", 5.0, 0.4),
    Price("Amazon S3, an older account's first year", 5.0, 0.4, 2_000, 20_000),
    Price("Google Cloud Storage", 5.0, 0.4, 5_000, 50_000),
)


def month() -> str:
    """Markdown: what is asked in a month, with the intervals that users have and with longer ones; what it costs."""
    rows = []
    for what, intervals in (("as installed", Intervals()), ("`poll.active = 30`", Intervals(active=30.0))):
        work, rest = _hours(intervals)
        asked = {each: DAYS * (WORK * work[each] + (24 - WORK) * rest[each]) for each in work}
        writes = asked["put"] + asked["list"]
        prices = [f"${price.month(writes, asked['get']):.2f}" for price in PRICES]
        rows.append([what, *(f"{asked[each]:,}" for each in ("put", "list", "get", "roster")), *prices])
    header = ["", "PUT", "LIST", "GET", "of these for the roster", *(price.name for price in PRICES)]
    title = (
        f"### A month of three devices with {WORK * PUSHES} pushes a day, from a counted hour of work and one of rest"
    )
    return f"{title}\n\n{table(header, rows)}"


def _hours(intervals: Intervals) -> tuple[dict[str, int], dict[str, int]]:
    """Requests in an hour of work, and in one of rest, of all devices together."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        vault = Vault()
        devices = [Device(vault, Path(folder), name) for name in ("ann", "bob", "eve")]
        for device in devices:
            stack.enter_context(device.running())
        return in_virtual_time(lambda loop: _lived(loop, devices, intervals))


async def _lived(
    loop: VirtualTimeLoop, devices: list[Device], intervals: Intervals
) -> tuple[dict[str, int], dict[str, int]]:
    rosters = _RosterCount()
    for device in devices:
        device.store.get = rosters.around(device.store.get)  # type: ignore[method-assign,assignment]

    def counted() -> Counter[str]:
        total = Counter(roster=rosters.asked)
        for device in devices:
            total.update(device.site.counter.snapshot().requests)
        return total

    async with AsyncExitStack() as stack:
        at = [await stack.enter_async_context(at_work(device, intervals)) for device in devices]
        for device, supervisor in zip(devices, at, strict=True):  # its first push makes each of them known
            _push(device, supervisor, f"of {device.site.name}")
        for device in devices:
            stack.enter_context(_compacting(device))
        await asyncio.sleep(2 * HOUR)
        before = counted()
        await asyncio.sleep(HOUR)
        rest, begin = counted() - before, loop.time()
        for number in range(PUSHES):
            _push(devices[0], at[0], f"{number}")
            await asyncio.sleep(max(0.0, begin + (number + 1) * HOUR / PUSHES - loop.time()))
        work = counted() - before - rest
    assert {device.read("CLAUDE.md") for device in devices} == {f"{PUSHES - 1}"}
    kinds = ("put", "list", "get", "roster")
    return {kind: work[kind] for kind in kinds}, {kind: rest[kind] for kind in kinds}


@contextmanager
def _compacting(device: Device) -> Iterator[None]:
    task = asyncio.create_task(compactor(device).run(_always))
    try:
        yield
    finally:
        task.cancel()


async def _always() -> bool:
    return True


def _push(device: Device, supervisor: Supervisor, text: str) -> None:
    device.write("CLAUDE.md", text)
    supervisor._hinted(["CLAUDE.md"], frozenset())  # what the kernel says comes late, by a clock that runs ahead


class _RosterCount:
    """How often the roster is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def around(self, get: Callable[[str, Span | None], Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        async def asked(name: str, span: Span | None = None) -> bytes:
            self.asked += name.startswith("roster/")
            return await get(name, span)

        return asked
