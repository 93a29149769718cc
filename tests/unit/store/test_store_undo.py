"""What was put can be taken back, and nothing else."""

from __future__ import annotations

import pytest

from claude_syncd.errors import AlreadyExists
from claude_syncd.store.base import Span
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.undo import Undoing


async def test_what_was_put_goes_and_the_rest_stays() -> None:
    within = MemoryStore()
    within.objects = {"mine/before": b"1", "theirs": b"2"}
    store = Undoing(within)
    await store.put("keys/a", b"a")
    await store.put("keys/b", b"b", if_absent=True)
    await store.put("keys/c", b"c")
    with pytest.raises(AlreadyExists):
        await store.put("theirs", b"mine", if_absent=True)
    within.objects["keys/b"] = b"of another device by now"
    await store.delete("keys/c")
    await store.undo()
    assert within.objects == {"mine/before": b"1", "theirs": b"2", "keys/b": b"of another device by now"}
    await store.undo()
    assert store.address == within.address
    assert await store.get("theirs", Span(0, 1)) == b"2"
    assert [info.name for info in await store.list("keys/")] == ["keys/b"]
    await store.close()
