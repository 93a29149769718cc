"""What Traffic adds up."""

from __future__ import annotations

from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.memory import MemoryStore


async def test_a_snapshot_stays_as_it_was() -> None:
    counting = Counting(MemoryStore())
    await counting.put("a", b"12")
    before = counting.snapshot()
    await counting.put("b", b"345")
    await counting.list("")
    assert before == Traffic(put=1, bytes_up=2)
    assert counting.snapshot() - before == Traffic(put=1, list=1, bytes_up=3)
    assert counting.snapshot().requests == {"put": 2, "get": 0, "list": 1, "delete": 0, "head": 0}


async def test_the_observer_is_told_of_each_request() -> None:
    seen: list[tuple[str, int, int]] = []
    counting = Counting(MemoryStore(), lambda kind, up, down: seen.append((kind, up, down)))
    await counting.put("a", b"12")
    await counting.get("a")
    await counting.delete("a")
    assert seen == [("put", 2, 0), ("get", 0, 2), ("delete", 0, 0)]
