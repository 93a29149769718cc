"""A device is taken out of the vault, and nothing that only it held is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from devices import Device, settle

from claude_syncd.core.model import Kind, heads
from claude_syncd.engine import removal
from claude_syncd.engine.check import check
from claude_syncd.errors import NotSetUp, StoreUnavailable, UsageError
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

Pair = tuple[Device, Device]


async def test_what_only_the_removed_device_held_is_published_by_the_other(
    pair: Pair, stack: ExitStack, tmp_path: Path
) -> None:
    ann, bob = pair
    cy = stack.enter_context(Device(ann.vault, tmp_path, "cy").running())
    await cy.start()
    bob.write("agents/only-bob.md", "bob\n")
    bob.write(bob.transcript(), '{"type":"user","uuid":"1"}\n')
    ann.write("agents/gone.md", "x\n")
    await settle(ann, bob, cy)
    (bob.places.tree / "agents/gone.md").unlink()
    (ann.places.tree / ann.transcript()).unlink()  # evicted here: its bytes are in bob's area only
    await settle(ann, bob, cy)
    trees = ann.tree(), cy.tree()
    old = bob.site.me
    assert removal.meant(ann.site, "bob") == removal.meant(ann.site, old) == removal.meant(ann.site, old[:8]) == old
    published = await removal.remove(ann.round, old)
    assert published == 3
    assert not any(name.startswith(layout.area(old)) for name in ann.vault.objects)
    assert old not in ann.site.state.positions()
    await settle(ann, cy)
    assert (ann.tree(), cy.tree()) == trees
    assert old not in cy.site.state.positions()
    assert (await check(cy.site, read_data=True)).findings == []

    dan = stack.enter_context(Device(ann.vault, tmp_path, "dan").running())
    await dan.start()
    await settle(ann, cy, dan)
    assert dan.read(dan.transcript()) == '{"type":"user","uuid":"1"}\n'
    assert not dan.has("agents/gone.md")
    with pytest.raises(NotSetUp):
        await bob.sync()


async def test_both_sides_of_a_conflict_stay(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.json", '"one"')
    await settle(ann, bob)
    ann.write("agents/x.json", '"ann"', age=20)
    bob.write("agents/x.json", '"bob"', age=10)
    await bob.sync()
    await ann.round.scan()
    from claude_syncd.engine.round import Direction

    await ann.round.run(Direction.PUSH)  # it has not seen what bob wrote
    await removal.remove(ann.round, bob.site.me)
    await settle(ann)
    assert {ann.read("agents/x.json"), *ann.conflicts().values()} == {'"ann"', '"bob"'}
    assert len([h for h in heads(ann.site.state.newest("tree/agents/x.json")) if h.kind is Kind.FILE]) == 1


async def test_what_a_device_pushed_while_it_was_removed_stays_where_it_arrived(
    pair: Pair, stack: ExitStack, tmp_path: Path
) -> None:
    ann, bob = pair
    cy = stack.enter_context(Device(ann.vault, tmp_path, "cy").running())
    await cy.start()
    ann.write("agents/x.md", "one\n", age=100)
    ann.write("agents/gone.md", "gone\n", age=100)
    await settle(ann, bob, cy)
    before = set(ann.vault.objects)
    bob.write("agents/x.md", "two\n", age=50)
    (bob.places.tree / "agents/gone.md").unlink()
    await bob.sync()
    await cy.sync()
    late = {name: ann.vault.objects.pop(name) for name in ann.vault.objects.keys() - before}
    await removal.remove(ann.round, bob.site.me)  # none of that has reached ann
    assert late
    await settle(cy, ann)
    for device in (ann, cy):
        assert device.read("agents/x.md") == "two\n"
        assert not device.has("agents/gone.md")
        assert not device.conflicts()


async def test_an_entry_whose_answer_was_lost_is_no_twin_of_a_removal(pair: Pair) -> None:
    ann, bob = pair
    bob.write("agents/only-bob.md", "bob\n")
    await bob.sync()
    ann.write("agents/ann.md", "ann\n")
    me, put = ann.site.me, ann.store.put

    async def answer_lost(name: str, data: bytes, *, if_absent: bool = False) -> None:
        await put(name, data, if_absent=if_absent)
        raise StoreUnavailable("the connection broke")

    ann.store.put = answer_lost  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await ann.sync()
    ann.store.put = put  # type: ignore[method-assign]
    await removal.remove(ann.round, bob.site.me)
    assert ann.site.me == me
    await settle(ann)
    assert (ann.read("agents/ann.md"), ann.read("agents/only-bob.md")) == ("ann\n", "bob\n")
    assert (await check(ann.site, read_data=True)).findings == []


async def test_a_device_does_not_remove_itself_nor_one_that_is_not_there(pair: Pair) -> None:
    ann, _ = pair
    for device in (ann.site.me, "ann", ann.site.me[:8]):
        with pytest.raises(UsageError, match="itself"):
            removal.meant(ann.site, device)
    with pytest.raises(UsageError, match="no device is called eve"):
        removal.meant(ann.site, "eve")


async def test_a_removal_that_was_cut_off_is_finished_by_the_same_call(pair: Pair) -> None:
    ann, bob = pair
    bob.write("agents/a.md", "a\n")
    bob.write("agents/b.md", "b\n" * 100_000)
    await settle(ann, bob)
    old, delete = bob.site.me, ann.site.store.delete

    async def cut_off(name: str) -> None:
        raise StoreUnavailable(f"no {name}")

    ann.site.store.delete = cut_off  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await removal.remove(ann.round, old)
    ann.site.store.delete = delete  # type: ignore[method-assign]
    assert removal.meant(ann.site, old[:8]) == old
    await removal.remove(ann.round, removal.meant(ann.site, old[:8]))
    assert not any(name.startswith(layout.area(old)) for name in ann.vault.objects)
    await settle(ann)
    assert ann.read("agents/a.md") == "a\n"
    assert (await check(ann.site, read_data=True)).findings == []
