"""The store in memory, beyond the conformance suite."""

from __future__ import annotations

import pytest

from claude_syncd.errors import ObjectMissing
from claude_syncd.store.base import Span
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.memory import MemoryStore


async def test_devices_share_a_store_as_one_instance() -> None:
    store = MemoryStore()
    await store.put("vault.json", b"data")
    await store.close()
    assert store.objects == {"vault.json": b"data"}
    assert await store.get("vault.json") == b"data"


async def test_requests_are_reported() -> None:
    store = Counting(MemoryStore())
    await store.put("vault.json", b"12345678")
    await store.get("vault.json", Span(-2, 2))
    with pytest.raises(ObjectMissing):
        await store.get("missing")
    await store.list("")
    await store.delete("vault.json")
    assert store.snapshot() == Traffic(put=1, get=2, list=1, delete=1, bytes_up=8, bytes_down=2)
