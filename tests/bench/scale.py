"""What a device with many files needs to look at all of them, to take one change in, and to do nothing.

    .venv/bin/python tests/bench/scale.py [FILES]

Files, state, format, engine and daemons are real. The engine's store is in memory, the daemons' is a folder.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("support", "servers")]

from devices import Device, Vault
from machines import Machine
from measure import memory, processor_seconds
from realistic_tree import many_files

from claude_syncd.engine.round import Direction
from claude_syncd.engine.survey import hinted

SCANS = 5
CHANGES = 30
_AT_REST = 2.0


def _milliseconds(times: list[float]) -> str:
    return f"{statistics.median(times) * 1e3:.1f} ms ({min(times) * 1e3:.1f}-{max(times) * 1e3:.1f})"


async def engine(files: int, folder: Path) -> None:
    """A full scan, and one change, where all files are known."""
    device = Device(Vault(), folder, "first")
    many_files(device.places.tree, device.home, files)
    with device.running():
        await device.start()
        begun = time.perf_counter()
        await device.round.scan()
        print(f"scan of {len(device.round.dirty):,} new files: {time.perf_counter() - begun:.2f} s", flush=True)
        begun = time.perf_counter()
        await device.round.run(Direction.PUSH)
        print(f"first push: {time.perf_counter() - begun:.1f} s", flush=True)
        scans = []
        for _ in range(SCANS):
            begun = time.perf_counter()
            await device.round.scan()
            scans.append(time.perf_counter() - begun)
            assert not device.round.dirty
        print(f"scan, nothing changed: {_milliseconds(scans)}", flush=True)
        plans, rounds = [], []
        for number in range(CHANGES):
            rel = f"agents/reviewer-{number}.md"
            device.write(rel, f"# Reviewer {number}\n")
            begun = time.perf_counter()
            device.round.dirty |= await device.site.off_loop(hinted, device.site, [rel])
            plan = await device.round.look()
            plans.append(time.perf_counter() - begun)
            assert len(plan.items) == 1
            begun = time.perf_counter()
            assert (await device.round.run(Direction.SYNC)).uploaded == 1
            rounds.append(time.perf_counter() - begun)
        print(f"one change, from the hint to the plan: {_milliseconds(plans)}")
        print(f"one change, the whole round: {_milliseconds(rounds)}", flush=True)


def daemon(files: int, folder: Path) -> float:
    """Resident memory in MiB of a daemon that watches so many files and has nothing to do."""
    machine = Machine(folder / str(files), ["--folder", str(folder / f"vault-{files}")])
    if files:
        many_files(machine.tree, machine.home, files)
    machine.init()
    machine.ctl("push", "-q", timeout=300)
    machine.start()
    assert machine.daemon is not None
    pid, used = machine.daemon.pid, -1.0
    while used != processor_seconds(pid):  # the scan at the start is not at rest
        used = processor_seconds(pid)
        time.sleep(_AT_REST)
    resident, _ = memory(pid)
    machine.stop()
    return resident


def main() -> None:
    """Print what was measured."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        asyncio.run(engine(files, Path(folder)))
        none, many = (daemon(count, Path(folder)) for count in (0, files))
    print(f"daemon at rest: {none:.1f} MiB without files, {many:.1f} MiB with {files:,}:"
          f" {(many - none) * 2**20 / files:.0f} bytes a file")  # fmt: skip


if __name__ == "__main__":
    main()
