"""A year of heavy use in virtual time: what the store holds at the end, and what a new device and a push cost then.

    .venv/bin/python tests/bench/year.py [DAYS]

Three devices share a vault in memory. Each day has 500 pushes: sessions that grow by a few KB at a time, new sessions,
edits of memory and agents, deletions. The files, the states, the format and the engine are real; the clock is not.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "support"))

from devices import Device, Vault, settle

from claude_syncd.core.compaction import Live, Use
from claude_syncd.core.elapsed import DAY
from claude_syncd.core.portable import encode_key
from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.round import Ask, Direction
from claude_syncd.store.memory import MemoryStore

if TYPE_CHECKING:
    from claude_syncd.store.base import Span

PUSHES = 500
DEVICES = 3
SYNC_EVERY = 25
SESSIONS = 6
COLUMNS = (
    *("after day", "objects", "packs in use", "MB stored", "MB live", "MB kept", "MB replaced"),
    *("ms a push, median", "mean", "requests of a join"),
)


@dataclass
class Figures:
    """What was measured. Bytes are sealed ones, in the store: `live` the newest version of each file, `kept`
    superseded ones within the retention time, `replaced` what is deleted a day after a checkpoint took its place. The
    time of a push is that of the processor. `join_requests`: all that a new device asks for, a quarter of an hour after
    the last push; `join_packs`: how many of them are for packs; `busy_joins`: those for other things, had it come right
    after the last push of each day that was measured.
    """

    days: int
    objects_most: int = 0
    objects: int = 0
    stored: int = 0
    live: int = 0
    kept: int = 0
    replaced: int = 0
    push_first_ms: float = 0.0
    push_last_ms: float = 0.0
    push_requests: float = 0.0
    join_requests: int = 0
    join_packs: int = 0
    join_seconds: float = 0.0
    files: int = 0
    seconds: float = 0.0
    by_day: list[tuple[int, int]] = field(default_factory=list)
    busy_joins: list[int] = field(default_factory=list)


class Told(MemoryStore):
    """Counts the requests for packs."""

    def __init__(self, vault: Vault) -> None:
        super().__init__()
        self.objects = vault.objects
        self.packs = 0

    async def get(self, name: str, span: Span | None = None) -> bytes:
        self.packs += "/packs/" in name
        return await super().get(name, span)


class Year:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.random = random.Random(1)
        self.seconds = time.time() + 1000.0
        self.vault = Vault()
        self.folder = folder
        self.devices = [stack.enter_context(Device(self.vault, folder, f"d{n}").running()) for n in range(DEVICES)]
        for device in self.devices:
            self._clock(device)
        self.compactors = [Compactor(d.site, d.round.between_rounds, d.round.outbox) for d in self.devices]
        self.sessions: list[list[str]] = [[] for _ in self.devices]
        self.spans: list[float] = []
        self.requests = 0

    def _clock(self, device: Device) -> None:
        device.site.now_ns = lambda: int(self.seconds * 1e9)
        device.site.monotonic = lambda: self.seconds

    async def day(self, number: int) -> None:
        for count in range(PUSHES):
            self.seconds += DAY / PUSHES
            which = self.random.choices(range(DEVICES), (6, 3, 1))[0]
            await self._push(which, number)
            if count % SYNC_EVERY == SYNC_EVERY - 1:
                for device, compactor in zip(self.devices, self.compactors, strict=True):
                    await device.round.run(Direction.SYNC)
                    await compactor.work()
        for device in self.devices:
            await device.round.poller.roster()
            await device.round.poller.relist()

    async def _push(self, which: int, day: int) -> None:
        device = self.devices[which]
        changed = self._change(which, day)
        before = device.site.counter.snapshot()
        begun = time.process_time()
        device.round.dirty |= changed
        await device.round.run(Direction.PUSH)
        self.spans.append(time.process_time() - begun)
        self.requests += sum((device.site.counter.snapshot() - before).requests.values())
        await self.compactors[which].work()

    def _change(self, which: int, day: int) -> set[str]:
        device, chosen = self.devices[which], self.random.random()
        if chosen < 0.85:
            sessions = self.sessions[which]
            if not sessions or self.random.random() < 0.02:
                key = encode_key(str(device.home.resolve() / f"dev{self.random.randrange(4)}"))
                sessions.append(f"projects/{key}/{uuid.UUID(int=self.random.getrandbits(128), version=4)}.jsonl")
                del sessions[:-SESSIONS]
            rel = self.random.choice(sessions)
            path = device.places.tree / rel
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                words = " ".join(f"{self.random.getrandbits(14):x}" for _ in range(600))
                file.write(f'{{"type":"user","uuid":"{uuid.uuid4()}","cwd":"/x","message":"{words}"}}\n')
            device.touch(rel, age=5)
        elif chosen < 0.95:
            rel = f"agents/note-{self.random.randrange(200)}.md"
            device.write(rel, f"day {day}: {self.random.getrandbits(4000):x}\n", age=5)
        else:
            gone = sorted((device.places.tree / "agents").glob("note-*.md"))
            if not gone:
                return set()
            path = self.random.choice(gone)
            path.unlink()
            rel = str(path.relative_to(device.places.tree))
        portable = device.site.paths.portable(rel)
        return {portable} if portable is not None else set()

    async def weigh(self, figures: Figures) -> None:
        """What the stored bytes are."""
        figures.objects = len(self.vault.objects)
        figures.stored = sum(map(len, self.vault.objects.values()))
        for device, compactor in zip(self.devices, self.compactors, strict=True):
            site, newest, used = device.site, Live(), Live()
            for path in site.state.paths():
                newest.add(site.state.slices(path, site.me))
            for slices in site.state.in_use(site.me):
                used.add(slices)
            area = await site.reader.area(site.me)
            figures.live += _sealed(await compactor._uses(area, newest))
            figures.kept += _sealed(await compactor._uses(area, used))
            figures.replaced += sum(len(self.vault.objects[n]) for n in site.state.spare() if n in self.vault.objects)
        figures.kept -= figures.live

    async def join(self, vault: Vault, folder: Path, name: str, stack: ExitStack) -> tuple[int, int, Device]:
        """A new device that takes all there is: its requests, those for packs among them, and itself."""
        fresh = Device(vault, folder, name)
        fresh.store = told = Told(vault)
        stack.enter_context(fresh.running())
        self._clock(fresh)
        await fresh.start()
        await fresh.round.scan()
        await fresh.round.run(Direction.SYNC, ask=Ask.SHOWN)
        return sum(fresh.site.counter.snapshot().requests.values()), told.packs, fresh

    async def busy_join(self) -> int:
        """The requests besides packs of a device that joined now; it leaves no trace."""
        aside = Vault()
        aside.objects = dict(self.vault.objects)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, ExitStack() as stack:
            requests, packs, _ = await self.join(aside, Path(folder), "busy", stack)
        return requests - packs

    async def tell(self, day: int, join: int) -> None:
        """Print how it stands at the end of a day, as a row of a table."""
        figures = Figures(day)
        await self.weigh(figures)
        spare = set[str]().union(*(device.site.state.spare() for device in self.devices))
        packs = [name for name in self.vault.objects if "/packs/" in name and name not in spare]
        spans = self.spans[-PUSHES:]
        megabytes = (figures.stored, figures.live, figures.kept, figures.replaced)
        cells = [
            f"{day} | {figures.objects} | {len(packs)}",
            *(f"{size / 1e6:.1f}" for size in megabytes),
            f"{statistics.median(spans) * 1000:.1f} | {statistics.mean(spans) * 1000:.1f} | {join}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _sealed(uses: dict[str, Use]) -> int:
    return sum(use.sealed * use.live // max(use.plain, 1) for use in uses.values())


async def run(days: int, folder: Path) -> Figures:
    """Live through so many days."""
    figures = Figures(days)
    begun = time.perf_counter()
    with ExitStack() as stack:
        year = Year(folder, stack)
        for device in year.devices:
            await device.start()
        print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|", flush=True)
        for day in range(days):
            await year.day(day)
            figures.objects_most = max(figures.objects_most, len(year.vault.objects))
            stored = sum(map(len, year.vault.objects.values()))
            figures.by_day.append((len(year.vault.objects), stored))
            if day < 10 or day % 5 == 4:
                figures.busy_joins.append(await year.busy_join())
                await year.tell(day + 1, figures.busy_joins[-1])
        await settle(*year.devices, rounds=10)
        await year.weigh(figures)
        part = max(PUSHES, len(year.spans) // 10)
        figures.push_first_ms = statistics.median(year.spans[:part]) * 1000
        figures.push_last_ms = statistics.median(year.spans[-part:]) * 1000
        figures.push_requests = year.requests / len(year.spans)
        year.seconds += 900.0
        for compactor in year.compactors:
            await compactor.work()
        joined = time.perf_counter()
        figures.join_requests, figures.join_packs, fresh = await year.join(year.vault, folder, "fresh", stack)
        figures.join_seconds = time.perf_counter() - joined
        figures.files = len(fresh.tree())
        if {p: s for p, (s, _) in fresh.tree().items() if "projects" not in p} != {
            p: s for p, (s, _) in year.devices[0].tree().items() if "projects" not in p
        } or figures.files != len(year.devices[0].tree()):
            raise AssertionError("the new device has other files than the first")
    figures.seconds = time.perf_counter() - begun
    return figures


def main() -> None:
    """Print what was measured."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 365
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(run(days, Path(folder)))
    for name, value in vars(figures).items():
        if not isinstance(value, list):
            print(f"{name}: {value:,.1f}" if isinstance(value, float) else f"{name}: {value:,}")
    joins = figures.busy_joins
    print(f"busy_joins: median {statistics.median(joins)}, most {max(joins)}")


if __name__ == "__main__":
    main()
