"""A name is taken once, also at a server that keeps what came of an upload that was cut off."""

import pytest

from claude_syncd.engine.publish import publish
from claude_syncd.errors import AlreadyExists
from claude_syncd.store.memory import MemoryStore

NAME, DATA = "roster/000001", b"sealed for nobody else"


@pytest.mark.parametrize("there", [b"", DATA[:1], DATA[:-1], DATA])
async def test_what_came_of_it_before_is_completed(there: bytes) -> None:
    store = MemoryStore()
    await store.put(NAME, there)
    await publish(store, NAME, DATA)
    assert await store.get(NAME) == DATA


@pytest.mark.parametrize("there", [b"theirs", DATA + b"!", DATA[:5] + b"theirs"])
async def test_the_bytes_of_another_stay(there: bytes) -> None:
    store = MemoryStore()
    await store.put(NAME, there)
    with pytest.raises(AlreadyExists):
        await publish(store, NAME, DATA)
    assert await store.get(NAME) == there


async def test_a_free_name_costs_one_request() -> None:
    store = MemoryStore()
    asked: list[str] = []
    store.on_request = lambda kind, *_: asked.append(kind)
    await publish(store, NAME, DATA)
    assert asked == ["put"]
