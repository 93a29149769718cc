"""How many calls Limited lets through."""

from __future__ import annotations

import asyncio

import pytest
from store_scripts import Gated

from claude_syncd.store.limit import Limited


async def test_so_many_run_at_once_and_no_more() -> None:
    store = Gated()
    await store.put("vault.json", b"data")
    limited = Limited(store, 3)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(limited.get("vault.json")) for _ in range(10)]
        while store.inside < 3:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.inside == 3
        store.gate.set()
    assert [task.result() for task in tasks] == [b"data"] * 10
    assert store.most == 3


async def test_a_cancelled_call_gives_its_turn_back() -> None:
    store = Gated()
    await store.put("vault.json", b"data")
    limited = Limited(store, 1)
    first = asyncio.create_task(limited.get("vault.json"))
    while store.inside < 1:
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    store.gate.set()
    assert await limited.get("vault.json") == b"data"
