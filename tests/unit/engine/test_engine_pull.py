"""Pull: what is on the disk already is not fetched again."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from devices import Device

from claude_syncd.engine.compact import Compactor

if TYPE_CHECKING:
    from pathlib import Path

    from devices import Vault

MiB = 1024 * 1024


def rows(count: int, seed: int) -> str:
    """Lines that zstd can't make much smaller than half."""
    chosen = random.Random(seed)
    return "".join(
        json.dumps({"type": "user", "uuid": f"{seed}-{n}", "cwd": "/x", "message": chosen.randbytes(1500).hex()}) + "\n"
        for n in range(count)
    )


async def down(device: Device) -> int:
    """How many bytes a round of this device fetches."""
    before = device.site.counter.snapshot()
    await device.sync()
    return (device.site.counter.snapshot() - before).bytes_down


async def test_a_session_that_its_device_wrote_anew_is_not_fetched_again(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        ann.write(ann.transcript(), rows(800, 0), age=100)
        await ann.sync()
        for turn in range(1, 20):  # small slices in log entries, which the checkpoint makes whole blobs of
            ann.append(ann.transcript(), rows(10, turn))
            ann.touch(ann.transcript(), age=100 - turn)
            await ann.sync()
        await bob.sync()
        assert len(bob.read(bob.transcript())) > 2 * MiB
        await Compactor(ann.site, ann.round.between_rounds, ann.round.outbox).compact()
        ann.append(ann.transcript(), rows(1, 99))
        ann.touch(ann.transcript(), age=50)
        await ann.sync()
        assert 0 < await down(bob) < 20_000
        assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_session_that_goes_on_elsewhere_is_not_fetched_whole(vault: Vault, tmp_path: Path) -> None:
    """Its next device has all of it in its own area, and no word of whose it was before."""
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        ann.write(ann.transcript(), rows(6000, 0), age=100)
        await ann.sync()
        await bob.sync()
        bob.append(bob.transcript(), rows(1, 1))
        bob.touch(bob.transcript(), age=50)
        await bob.sync()
        assert len(ann.read(ann.transcript())) > 16 * MiB  # more than a log entry takes
        assert 0 < await down(ann) < MiB
        assert ann.read(ann.transcript()) == bob.read(bob.transcript())


async def test_a_session_that_was_rewritten_and_is_longer_now_is_fetched_whole(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        ann.write(ann.transcript(), rows(300, 0), age=100)
        await ann.sync()
        await bob.sync()
        ann.write(ann.transcript(), rows(500, 1), age=50)
        await ann.sync()
        assert await down(bob) > MiB // 2
        assert bob.read(bob.transcript()) == ann.read(ann.transcript())
        assert not bob.site.problems
        assert not bob.conflicts()


async def test_a_session_that_is_pulled_again_and_again_does_not_fill_the_trash(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        ann.write(ann.transcript(), rows(20, 0), age=100)
        await ann.sync()
        await bob.sync()
        before = ""
        for turn in range(1, 6):
            ann.append(ann.transcript(), rows(1, turn))
            ann.touch(ann.transcript(), age=100 - turn)
            await ann.sync()
            before = bob.read(bob.transcript())
            await bob.sync()
        (kept,) = [path for path in bob.places.trash.rglob("*") if path.is_file()]
        assert kept.read_text() == before
        assert bob.read(bob.transcript()) == ann.read(ann.transcript())
