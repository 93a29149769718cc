"""How long a device with many files takes to write its checkpoint, and a new one to read it.

    .venv/bin/python tests/bench/checkpoint.py [FILES]

The files are small and were pushed just now, so that all of their bytes move out of log entries into packs. The store
is in memory; files, state, format and engine are real.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

from devices import Device, Vault

from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.round import Direction

FOLDERS = 100


async def run(files: int, folder: Path) -> None:
    """Push, compact, read."""
    chosen, vault = random.Random(1), Vault()
    first, second = (Device(vault, folder, name) for name in ("first", "second"))
    for number in range(files):
        path = first.places.tree / f"agents/{number % FOLDERS}/agent-{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"agent {number}: {chosen.getrandbits(6000):x}\n")
    with first.running(), second.running():
        await first.start()
        await first.round.scan()
        begun = time.perf_counter()
        await first.round.run(Direction.PUSH)
        print(f"push of {files:,} files: {time.perf_counter() - begun:.1f} s, {len(vault.objects)} objects", flush=True)
        between = first.round.between_rounds
        compactor = Compactor(first.site, between, first.round.outbox)
        before = first.site.counter.snapshot()
        begun, used = time.perf_counter(), time.process_time()
        await compactor.compact()
        took, used = time.perf_counter() - begun, time.process_time() - used
        cost = first.site.counter.snapshot() - before
        name = next(name for name in vault.objects if "/checkpoints/" in name)
        print(f"checkpoint: {took:.1f} s ({used:.1f} s of processor time), {len(vault.objects[name]) / 1e6:.1f} MB,"
              f" {cost.bytes_down / 1e6:.1f} MB read and {cost.bytes_up / 1e6:.1f} MB written in"
              f" {cost.get} GETs and {cost.put} PUTs", flush=True)  # fmt: skip
        begun, used = time.perf_counter(), time.process_time()
        await compactor.compact()
        print(f"once more, with nothing to move: {time.perf_counter() - begun:.1f} s"
              f" ({time.process_time() - used:.1f} s of processor time)", flush=True)  # fmt: skip
        begun = time.perf_counter()
        await second.start()
        print(f"read by a new device: {time.perf_counter() - begun:.1f} s", flush=True)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at the most")


def main() -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, Path(folder)))


if __name__ == "__main__":
    main()
