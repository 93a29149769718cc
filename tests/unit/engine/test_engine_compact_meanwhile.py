"""What happens while a device compacts its area, or between a look at the state and a request to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compacting import Clock, area, compactor, everything_resolves, grow, interrupted
from devices import Device, Vault, settle

from claude_syncd.core.compaction import GRACE
from claude_syncd.engine.checkpoints import refresh
from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.compare import aside
from claude_syncd.engine.fetch import discard, fetch, verify
from claude_syncd.engine.forget import forget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from claude_syncd.core.model import Checkpoint

Pair = tuple[Device, Device]


async def test_what_is_forgotten_while_a_checkpoint_is_written_stays_forgotten(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    store = interrupted(ann)
    with ann.running(), bob.running():
        clock = Clock(ann, bob)
        await ann.start()
        await bob.start()
        for number in range(4):
            clock.go_on(700, ann, bob)
            await grow(ann, 1, start=number)
        await bob.sync()
        (path,) = ann.site.state.paths()
        assert len(ann.site.state.versions(path)) > 2

        async def meanwhile() -> None:
            forget(ann.site, [path])
            await ann.sync()
            await bob.sync()

        store.word, store.meanwhile = "/checkpoints/", meanwhile
        await compactor(ann).compact()
        await bob.round.poller.relist()
        assert [len(device.site.state.versions(path)) for device in (ann, bob)] == [1, 1]
        await settle(ann, bob)
        await compactor(ann).compact()
        assert not any(ann.site.state.in_use(ann.site.me))


class Renamed(Compactor):
    """A round finds out that the id lives twice just before the checkpoint goes up."""

    taking: Callable[[], Awaitable[None]]

    async def _encoded(self, checkpoint: Checkpoint) -> bytes | None:
        data = await super()._encoded(checkpoint)
        await self.taking()
        return data


async def test_an_id_that_changes_while_a_checkpoint_is_written_has_none(pair: Pair) -> None:
    ann, bob = pair
    Clock(ann, bob)
    await grow(ann, 3)
    old = ann.site.me

    async def take() -> None:
        async with ann.round.between_rounds():
            await ann.round._take_new_id()

    compacting = Renamed(ann.site, ann.round.between_rounds, ann.round.outbox)
    compacting.taking = take
    await compacting.compact()
    assert ann.site.me != old
    assert not any("/checkpoints/" in name for name in ann.vault.objects)
    await ann.start()
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())
    await everything_resolves(ann)


async def let_go(device: Device, clock: Clock) -> None:
    """Compact, and delete what that replaced."""
    await compactor(device).compact()
    await compactor(device).sweep()
    clock.go_on(GRACE + 1, device)
    await compactor(device).sweep()
    assert not any("/log/" in name for name in area(device))


async def test_a_checkpoint_that_was_read_since_a_content_was_looked_up_says_where_it_is(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    await grow(ann, 3)
    await bob.round.poller.others()
    (path,) = bob.site.state.paths()
    (record,) = bob.site.state.newest(path)
    old = bob.site.state.slices(path, record.device)
    await let_go(ann, clock)
    assert await refresh(bob.site, record.device)  # as for another content
    with bob.running():
        one = aside(bob.site, path, record, old)
        await fetch(bob.site, [one])
        verify(one)
        discard([one])
        assert one.error is None


async def test_an_ancestor_that_the_vault_has_no_more_is_no_problem(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    ann.write("CLAUDE.md", "one\ntwo\nthree\n")
    await settle(ann, bob)
    await let_go(ann, clock)
    with bob.running():
        clock.tell(bob)
        await bob.start()
        ann.write("CLAUDE.md", "ONE\ntwo\nthree\n", age=8)
        bob.write("CLAUDE.md", "one\ntwo\nTHREE\n", age=5)
        await settle(ann, bob)
        assert bob.site.problems == {}
        assert ann.read("CLAUDE.md") == bob.read("CLAUDE.md")
