"""What others do between the steps of a push or a removal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from compacting import everything_resolves, interrupted
from devices import Device, Vault, settle

from claude_syncd.engine import removal
from claude_syncd.engine.round import Direction
from claude_syncd.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compacting import Interrupted

MIB = 1024 * 1024


async def cut_off() -> None:
    raise StoreUnavailable("cut off")


def fail_at_the_second_pack(store: Interrupted) -> None:
    async def first() -> None:
        store.word, store.meanwhile = "/packs/", cut_off

    store.word, store.meanwhile = "/packs/", first


def fail_at_the_log_entry(store: Interrupted) -> None:
    store.word, store.meanwhile = "/log/", cut_off


@pytest.mark.parametrize("fail", [fail_at_the_second_pack, fail_at_the_log_entry])
async def test_packs_of_a_cut_off_push_that_a_copy_of_the_device_deleted_go_up_again(
    vault: Vault, tmp_path: Path, fail: Callable[[Interrupted], None]
) -> None:
    """To the copy, which knows nothing of this push, they are leftovers."""
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    store = interrupted(ann)
    with ann.running():
        await ann.start()
        for number in range(2):
            ann.write(f"agents/{number}.md", random.Random(number).randbytes(20 * MIB))
        fail(store)
        with pytest.raises(StoreUnavailable):
            await ann.sync()
        packs = [name for name in vault.objects if "/packs/" in name]
        assert packs
        for name in packs:
            del vault.objects[name]
    with ann.running(), bob.running():
        await ann.start()
        await ann.sync()
        await everything_resolves(ann)
        await bob.start()
        await bob.sync()
        assert bob.tree().keys() == ann.tree().keys()


async def test_what_a_device_pushes_while_it_is_removed_is_taken_over_too(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    store = interrupted(ann)
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        bob.write("agents/first.md", "first")
        await settle(ann, bob)

        async def push() -> None:
            bob.write("agents/first.md", "first, and more", age=1)
            bob.write("agents/last.md", "last")
            await bob.sync(Direction.PUSH)

        store.word, store.meanwhile = "/log/", push
        await removal.remove(ann.round, bob.site.me)
        assert not store.word
        await ann.sync()
        assert "first, and more" in {ann.read("agents/first.md"), *ann.conflicts().values()}
        assert ann.read("agents/last.md") == "last"
        await everything_resolves(ann)
