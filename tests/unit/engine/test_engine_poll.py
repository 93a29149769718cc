"""Polls: what is asked of other devices' logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices import Device, Vault

from claude_syncd.engine.compact import Compactor

if TYPE_CHECKING:
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
