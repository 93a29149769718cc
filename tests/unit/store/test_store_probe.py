"""What the probe says of stores that are odd or unusable."""

from __future__ import annotations

import pytest
from store_scripts import Failing, Late, Lying, Overwriting, Racy

from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.probe import Probe, probe


async def test_a_good_store() -> None:
    store = MemoryStore()
    assert await probe(store) == Probe(refuses=True, conditional_put=True, lists=True, problems=())
    assert store.objects == {}


@pytest.mark.parametrize(
    ("store", "word"), [(Overwriting(), "can't refuse to overwrite"), (Racy(), "several writers of one name")]
)
async def test_a_store_without_conditions_is_usable(store: MemoryStore, word: str) -> None:
    found = await probe(store)
    assert not found.conditional_put
    assert len(found.problems) == 1
    assert word in found.problems[0]
    assert store.objects == {}


async def test_a_store_that_lists_late_is_usable() -> None:
    found = await probe(Late())
    assert not found.lists
    assert "noticed late" in found.problems[0]


async def test_a_store_that_lies_is_unusable() -> None:
    store = Lying()
    with pytest.raises(StoreRefused, match="did overwrite"):
        await probe(store)
    assert store.objects == {}


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), StoreRefused("forbidden")])
async def test_what_the_store_says_is_passed_on(failure: StoreUnavailable | StoreRefused) -> None:
    with pytest.raises(type(failure), match=str(failure)):
        await probe(Failing(failure))


async def test_other_objects_are_left_alone() -> None:
    store = MemoryStore()
    store.objects = {"vault.json": b"header", "probe/other": b"left by a crash"}
    await probe(store)
    assert store.objects == {"vault.json": b"header", "probe/other": b"left by a crash"}
