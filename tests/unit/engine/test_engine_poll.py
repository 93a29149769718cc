"""Polls: what is asked of other devices' logs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from devices import Device, Vault

from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.round import Ask, Direction

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path


async def test_what_a_listing_shows_of_a_log_is_asked_for_once_and_nothing_beyond_it(
    vault: Vault, tmp_path: Path
) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        for number in range(7):
            ann.write(f"agents/note-{number}.md", "text")
            await ann.sync()
            if number == 1:
                await Compactor(ann.site, ann.round.between_rounds, ann.round.outbox).compact()
        await bob.round.poller.join()
        before = bob.site.counter.snapshot()
        await bob.round.poller.relist()
        cost = bob.site.counter.snapshot() - before
        assert bob.site.state.positions()[ann.site.me].seq == 7
        assert (cost.get, cost.list) == (1 + 5 + 1, 1)  # the checkpoint, the entries, and who joined since
        await bob.sync()
        assert bob.tree().keys() == ann.tree().keys()


async def test_a_new_device_asks_for_nothing_twice(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann, ben, bob = (Device(vault, tmp_path, name) for name in ("ann", "ben", "bob"))
    for device in (ann, ben):
        stack.enter_context(device.running())
        await device.start()
    for number in range(20):
        ann.write(f"agents/note-{number}.md", "text")
        await ann.sync()
        if number == 16:
            await Compactor(ann.site, ann.round.between_rounds, ann.round.outbox).compact()
    ben.write("agents/ben.md", "text")
    await ben.sync()
    stack.enter_context(bob.running())
    before = bob.site.counter.snapshot()
    await bob.start()
    await bob.round.scan()
    await bob.round.run(Direction.SYNC, ask=Ask.SHOWN)
    cost = bob.site.counter.snapshot() - before
    assert bob.tree().keys() == ben.tree().keys() | ann.tree().keys()
    # Who is there, and that nobody else is; itself, twice that, as what is there counts; its own log; Ann's checkpoint
    # and three entries, Ben's entry; one pack.
    assert (cost.get, cost.put, cost.list) == (2 + 1 + 2 + 1 + (1 + 3) + 1 + 1, 1, 1)


async def test_what_a_twin_has_compacted_is_not_taken_for_this_devices_own(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    """Ann's disk was copied. The copy works on; Ann only looks, and must find out that she is two."""
    ann = Device(vault, tmp_path, "ann")
    with ann.running():
        await ann.start()
        ann.write("agents/a.md", "ann")
        await ann.sync()
    copy = Device(vault, tmp_path / "copy", "ann")
    shutil.rmtree(copy.places.state)
    shutil.copytree(ann.places.state, copy.places.state)
    for device in (ann, copy):
        stack.enter_context(device.running())
        await device.start()
    before = ann.site.me
    for number in range(20):
        copy.write(f"agents/copy-{number}.md", "copy")
        copy.round.dirty.add(f"tree/agents/copy-{number}.md")
        await copy.round.run(Direction.PUSH)
    await Compactor(copy.site, copy.round.between_rounds, copy.round.outbox).compact()
    await ann.round.poller.relist()
    await ann.round.check_id()
    assert ann.site.me != before
    await ann.sync()
    assert ann.read("agents/copy-19.md") == "copy"
