"""A device folds its log into checkpoints, others go on from there, and nothing that is needed goes."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest
from compacting import Clock, area, compactor, everything_resolves, fold, grow
from devices import Device, Vault, settle

from claude_syncd.core.compaction import ENTRIES, FENCED, GRACE
from claude_syncd.core.elapsed import DAY
from claude_syncd.core.model import Kind, heads
from claude_syncd.core.reconcile import conflict_path
from claude_syncd.engine.push import say_seen
from claude_syncd.engine.round import Direction
from claude_syncd.errors import StoreUnavailable
from claude_syncd.settings import Retention
from claude_syncd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack
    from pathlib import Path

    from claude_syncd.store.base import ObjectInfo, Span

Pair = tuple[Device, Device]


async def test_a_log_is_folded_into_a_checkpoint_and_deleted_a_day_later(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    await grow(ann, ENTRIES - 1)
    await compactor(ann).work()
    assert not any("/checkpoints/" in name for name in area(ann))
    await grow(ann, 1, start=ENTRIES - 1)
    before = ann.site.counter.snapshot()
    await compactor(ann).work()
    cost = ann.site.counter.snapshot() - before
    # One pack, one checkpoint; each log entry once; a look at the areas before and after.
    assert (cost.put, cost.get, cost.list, cost.delete) == (2, ENTRIES, 2, 0)
    assert len(area(ann)) == ENTRIES + 2
    assert len(ann.site.state.slices(ann.site.state.paths()[0], ann.site.me)) == 1

    clock.go_on(GRACE - 60, ann)
    await compactor(ann).work()
    assert len(area(ann)) == ENTRIES + 2
    clock.go_on(120, ann)
    await compactor(ann).work()
    assert {name.split("/")[2] for name in area(ann)} == {"packs", "checkpoints"}
    assert len(area(ann)) == 2

    await bob.round.poller.relist()
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())
    await grow(ann, 3, start=ENTRIES)
    await settle(bob)
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_clock_that_jumps_shortens_nothing(pair: Pair) -> None:
    ann, _ = pair
    clock = Clock(ann)
    await grow(ann, ENTRIES)
    await compactor(ann).work()
    ann.site.now_ns = lambda: int((clock.seconds + 1000 * DAY) * 1e9)
    clock.go_on(60, ann)
    await compactor(ann).work()
    assert len(area(ann)) == ENTRIES + 2


async def test_a_new_device_reads_checkpoints_and_not_logs(pair: Pair, stack: ExitStack, tmp_path: Path) -> None:
    ann, bob = pair
    Clock(ann, bob)
    for number in range(3):
        await grow(ann, ENTRIES, start=number * ENTRIES)
        await compactor(ann).work()
    cy = stack.enter_context(Device(ann.vault, tmp_path, "cy").running())
    before = cy.site.counter.snapshot()
    await cy.start()
    await cy.sync()
    cost = cy.site.counter.snapshot() - before
    assert cost.get <= 13
    assert cy.read(cy.transcript()) == ann.read(ann.transcript())


async def test_a_slow_reader_finds_what_was_moved_while_it_slept(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    ann.write("CLAUDE.md", "be kind\n")
    await settle(ann, bob)
    await grow(ann, ENTRIES)
    await bob.round.poller.others()  # it knows where all of it is, and fetches nothing yet
    await compactor(ann).work()
    clock.go_on(GRACE + 1, ann)
    await compactor(ann).work()
    assert not any("/log/" in name for name in area(ann))
    result = await bob.sync()
    assert result.downloaded == 1
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_push_after_the_checkpoint_means_the_same_to_those_who_read_the_log(pair: Pair) -> None:
    """Bob has the slices of the log, cy those of the checkpoint: no record may count on either."""
    ann, bob = pair
    Clock(ann, bob)
    await grow(ann, ENTRIES)
    await settle(bob)
    await compactor(ann).work()
    await grow(ann, 2, start=ENTRIES)
    await settle(bob)
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())


class Failing(MemoryStore):
    """Fails for good at the request that comes after so many; before it is done, or after it."""

    left = -1
    after = False

    def _turn(self) -> bool:
        self.left -= 1
        return self.left == -1

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if self._turn():
            if self.after:
                await super().put(name, data, if_absent=if_absent)
            raise StoreUnavailable("cut off")
        await super().put(name, data, if_absent=if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        if self._turn():
            raise StoreUnavailable("cut off")
        return await super().get(name, span)

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        if self._turn():
            raise StoreUnavailable("cut off")
        return await super().list(prefix)

    async def delete(self, name: str) -> None:
        if self._turn():
            if self.after:
                await super().delete(name)
            raise StoreUnavailable("cut off")
        await super().delete(name)


@pytest.mark.parametrize("after", [False, True])
async def test_after_any_failing_request_it_ends_well(vault: Vault, tmp_path: Path, after: bool) -> None:
    few = 4
    for request in range(40):
        folder = tmp_path / f"{request}"
        device = Device(own := Vault(), folder, "ann")
        store = device.store = Failing()
        store.objects, store.after = own.objects, after
        with device.running():
            clock = Clock(device)
            await device.start()
            await grow(device, few)
            device.write("agents/a.md", "a")
            await device.sync()
            store.left = request
            failed = False
            try:
                await compactor(device).compact()
                await compactor(device).sweep()
                clock.go_on(GRACE + 1, device)
                await compactor(device).sweep()
            except StoreUnavailable:
                failed = True
            store.left = -1
            await everything_resolves(device)
        with device.running():  # as after a crash
            clock.tell(device)
            await device.start()
            await grow(device, 1, start=few)
            await compactor(device).compact()
            await compactor(device).sweep()
            clock.go_on(GRACE + 1, device)
            await compactor(device).sweep()
            await everything_resolves(device)
            assert sum("/log/" in name for name in area(device)) == 0
            assert sum("/checkpoints/" in name for name in area(device)) == 1
        if not failed:
            assert request > 8
            break
    else:
        raise AssertionError("it never came to an end")


async def test_an_entry_that_waits_to_be_sent_comes_before_a_checkpoint(vault: Vault, tmp_path: Path) -> None:
    """It was sealed when its records could still extend those of the log."""
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    store = ann.store = Failing()
    store.objects = vault.objects
    with ann.running(), bob.running():
        Clock(ann, bob)
        await ann.start()
        await grow(ann, 5)
        store.left = 1  # the look at the roster goes well
        with pytest.raises(StoreUnavailable):
            await grow(ann, 1, start=5)
        assert ann.round.outbox.waiting()
        await compactor(ann).compact()
        assert not any("/checkpoints/" in name for name in area(ann))
        await ann.sync()
        await compactor(ann).compact()
        assert any("/checkpoints/" in name for name in area(ann))
        await bob.start()
        await bob.sync()
        assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_lost_state_is_healed_from_the_own_checkpoint(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    await grow(ann, ENTRIES)
    await compactor(ann).work()
    clock.go_on(GRACE + 1, ann)
    await compactor(ann).work()
    ann.site.state.close()
    for ending in ("", "-wal", "-shm"):
        ann.places.database.with_name(ann.places.database.name + ending).unlink(missing_ok=True)
    with ann.running():
        await ann.start()
        result = await ann.sync()
        assert (result.uploaded, result.downloaded, result.conflicts) == (0, 0, 0)
        await grow(ann, 1, start=ENTRIES)
        await settle(bob)
        await everything_resolves(ann)


async def test_an_old_state_behind_an_own_checkpoint_is_healed(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running():
        clock = Clock(ann)
        await ann.start()
        await grow(ann, 10)
    kept = tmp_path / "old.db"
    shutil.copy(ann.places.database, kept)
    with ann.running():
        clock.tell(ann)
        await ann.start()
        await grow(ann, ENTRIES, start=10)
        await compactor(ann).work()
        at = ann.site.state.positions()[ann.site.me]
    shutil.copy(kept, ann.places.database)
    with ann.running(), bob.running():
        clock.tell(ann)
        await ann.start()
        assert ann.site.state.positions()[ann.site.me].checkpoint == at.checkpoint
        result = await ann.sync()
        assert (result.uploaded, result.conflicts) == (0, 0)
        await grow(ann, 1, start=10 + ENTRIES)
        await bob.start()
        await bob.sync()
        assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_tombstone_goes_once_all_have_seen_it_and_the_file_stays_gone(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    ann.write("agents/x.md", "x\n")
    await settle(ann, bob)
    (ann.places.tree / "agents/x.md").unlink()
    await ann.sync()
    clock.go_on(31 * DAY, ann, bob)
    await compactor(ann).compact()
    assert ann.site.state.newest("tree/agents/x.md")  # bob has not seen it
    await settle(ann, bob)
    assert not bob.has("agents/x.md")
    await compactor(bob).work()  # it says what it has seen, a day after it wrote something last
    await ann.round.poller.others()
    await fold(ann, clock, bob)
    assert ann.site.state.newest("tree/agents/x.md") == []
    await bob.round.poller.relist()
    await settle(ann, bob)
    assert not ann.has("agents/x.md")
    assert not bob.has("agents/x.md")


async def test_a_device_that_returns_after_half_a_year_brings_nothing_back_and_deletes_nothing(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    for name in ("gone", "edited-here", "missing-here"):
        ann.write(f"agents/{name}.md", f"{name}\n")
    await settle(ann, bob)
    await say_seen(bob.site, bob.round.outbox)
    await ann.round.poller.others()
    await bob.round.poller.relist()
    (ann.places.tree / "agents/gone.md").unlink()
    (ann.places.tree / "agents/edited-here.md").unlink()
    await ann.sync()
    clock.go_on(FENCED + DAY, ann)
    await fold(ann, clock)
    assert ann.site.state.newest("tree/agents/gone.md") == []
    bob.write("agents/edited-here.md", "an edit\n", age=1)
    (bob.places.tree / "agents/missing-here.md").unlink()

    await bob.start()
    await settle(bob, ann)
    for device in (ann, bob):
        assert not device.has("agents/gone.md")
        assert device.read("agents/edited-here.md") == "an edit\n"
        assert device.read("agents/missing-here.md") == "missing-here\n"


async def test_kept_sides_that_live_in_superseded_records_only_stay(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    ann.write("agents/x.json", '"one"')
    await settle(ann, bob)
    ann.write("agents/x.json", '"ann"', age=20)
    bob.write("agents/x.json", '"bob"', age=10)
    await settle(ann, bob)
    assert list(ann.conflicts().values()) == list(bob.conflicts().values())
    kept = list(ann.conflicts().values())
    await fold(ann, clock, bob)
    await fold(bob, clock, ann)
    for device in (ann, bob):
        await device.round.poller.relist()
        await everything_resolves(device)
    await settle(ann, bob)
    assert list(ann.conflicts().values()) == kept


async def test_a_clock_that_runs_ahead_drops_no_version(pair: Pair) -> None:
    ann, _ = pair
    clock = Clock(ann)
    for text in ("first\n", "second\n"):
        ann.write("CLAUDE.md", text)
        await ann.sync()
    ann.site.now_ns = lambda: int((clock.seconds + 40 * DAY) * 1e9)
    ann.write("CLAUDE.md", "third\n")
    await ann.sync()
    await fold(ann, clock)
    assert len(ann.site.state.versions("tree/CLAUDE.md")) == 3


async def test_a_daemon_that_runs_on_empties_the_trash(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    ann.write("CLAUDE.md", "first\n")
    await settle(ann, bob)
    ann.write("CLAUDE.md", "second\n", age=1)
    await settle(ann, bob)
    assert any(bob.places.trash.iterdir())
    for _ in range(2):
        await compactor(bob).sweep()
        assert any(bob.places.trash.iterdir())
        clock.go_on(29 * DAY, bob)
    await compactor(bob).sweep()
    assert not any(bob.places.trash.iterdir())


async def test_superseded_versions_stay_within_the_retention_time(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    ann.write("CLAUDE.md", "first\n")
    await ann.sync()
    first = ann.site.state.newest("tree/CLAUDE.md")[0]
    ann.write("CLAUDE.md", "second\n", age=1)
    await ann.sync()
    await fold(ann, clock)
    (place,) = ann.site.state.slices_of(first)
    assert place.object in area(ann)
    await bob.round.poller.relist()
    assert not bob.site.problems
    assert bob.site.state.slices_of(first) == (place,)


def test_the_setting_is_what_bounds_the_versions(tmp_path: Path) -> None:
    with Device(Vault(), tmp_path, "ann", retention=Retention(size="12 kB")).running() as ann:
        assert ann.site.retention_bytes == 12_000


async def test_of_superseded_versions_the_oldest_beyond_the_allowed_bytes_leave_the_vault(pair: Pair) -> None:
    ann, bob = pair
    clock = Clock(ann, bob)
    texts = [random.Random(number).randbytes(500).hex() + "\n" for number in range(5)]
    for text in texts:
        clock.go_on(60, ann)
        ann.write("CLAUDE.md", text, age=0)
        await ann.sync()
    await fold(ann, clock)
    old = len(ann.site.state.versions("tree/CLAUDE.md"))
    ann.site.retention_bytes = 2 * len(texts[0]) - 1
    await compactor(ann).work()  # a checkpoint is due by this alone
    clock.go_on(GRACE + 1, ann)
    await compactor(ann).sweep()
    assert old == 5
    found = ann.site.state.versions("tree/CLAUDE.md")
    assert sorted(v.record.seq for v in found) == [4, 5]
    assert all(ann.site.state.slices_of(v.record) for v in found)
    assert sum(await plain_sizes(ann)) == 2 * len(texts[0])
    await bob.round.poller.relist()
    assert sorted(v.record.seq for v in bob.site.state.versions("tree/CLAUDE.md")) == [4, 5]
    before = len(area(ann))
    clock.go_on(DAY, ann)
    await compactor(ann).work()
    assert len(area(ann)) == before  # and once is enough
    await everything_resolves(ann)


async def test_versions_that_share_their_bytes_share_them_after_many_checkpoints(pair: Pair) -> None:
    """Each version of a session is the beginning of the next: each by itself, they would be ten times it."""
    ann, _ = pair
    clock = Clock(ann)
    for number in range(6):
        for push in range(5):
            clock.go_on(700, ann)
            await grow(ann, 1, start=number * 5 + push)
        await fold(ann, clock)
    assert len(ann.site.state.versions(ann.site.state.paths()[0])) > 10
    size = (ann.places.tree / ann.transcript()).stat().st_size
    live = sum(await plain_sizes(ann))
    assert size <= live <= 2 * size
    await everything_resolves(ann)


async def test_names_of_objects_that_are_gone_are_forgotten_once_a_day(pair: Pair) -> None:
    """Each push has an object of its own, and the daemon runs for months."""
    ann, _ = pair
    clock = Clock(ann)
    for number in range(4):
        for push in range(3):
            await grow(ann, 1, start=number * 3 + push)
        await fold(ann, clock)
        clock.go_on(DAY, ann)
    names = {str(name) for (name,) in ann.site.state.rows("SELECT name FROM objects")}
    assert len([name for name in names if "/log/" in name]) <= 3, "of those since the last checkpoint but one"
    await everything_resolves(ann)


async def plain_sizes(device: Device) -> list[int]:
    return [sum(await device.site.reader.plain_sizes(name)) for name in area(device) if "/packs/" in name]


async def test_dead_bytes_are_reason_enough(pair: Pair) -> None:
    ann, _ = pair
    clock = Clock(ann)
    ann.write("agents/big.md", random.Random(1).randbytes(40 * 1024 * 1024))
    ann.write("agents/small.md", "x")
    await ann.sync()
    await compactor(ann).work()
    (ann.places.tree / "agents/big.md").unlink()
    await ann.sync()
    clock.go_on(31 * DAY, ann)
    ann.site.state.forget_versions(2**62)
    await compactor(ann).work()
    clock.go_on(GRACE + 1, ann)
    await compactor(ann).work()
    assert sum(len(ann.vault.objects[name]) for name in area(ann)) < 10_000


async def test_what_a_former_id_left_stays_reachable(pair: Pair) -> None:
    """Ann's disk was copied, and the copy goes on under the old id."""
    ann, bob = pair
    clock = Clock(ann, bob)
    await settle(ann, bob)
    ann.write("agents/x.json", '"ann"', age=20)
    bob.write("agents/x.json", '"bob"', age=10)
    await ann.sync(Direction.PUSH)
    ann.site.former = {ann.site.me: 1}
    old = ann.site.me
    ann.site.me = "f" * 32
    await ann.round.poller.join()
    await bob.sync()
    await settle(ann, bob, rounds=10)
    path = "tree/agents/x.json"
    assert [h.kind for h in heads(ann.site.state.newest(path)) if h.kind is not Kind.WITHDRAWN] == [Kind.FILE]
    await fold(ann, clock, bob)
    await everything_resolves(ann)
    assert old in {r.device for r in ann.site.state.newest(path)}
    lost = next(r for r in ann.site.state.newest(path) if r.device == old)
    assert ann.site.state.newest(conflict_path(path, lost.sha256))
