"""What was put can be taken back, and nothing else."""

from __future__ import annotations

import asyncio

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


class _Slow(MemoryStore):
    """Stores what it has received once it may, whether or not somebody still waits for the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.received, self.may = asyncio.Event(), asyncio.Event()
        self.serving: asyncio.Task[None] | None = None

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        self.serving = asyncio.create_task(self._serve(name, data))
        self.received.set()
        await asyncio.shield(self.serving)

    async def _serve(self, name: str, data: bytes) -> None:
        await self.may.wait()
        self.objects[name] = data


async def test_what_is_under_way_when_it_is_cancelled_is_deleted_too() -> None:
    within = _Slow()
    store = Undoing(within)
    putting = asyncio.create_task(store.put("vault.json", b"{}"))
    await within.received.wait()
    putting.cancel()
    asyncio.get_running_loop().call_soon(within.may.set)
    with pytest.raises(asyncio.CancelledError):
        await putting
    await store.undo()
    assert within.serving is not None
    await within.serving
    assert within.objects == {}


async def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("claude_syncd.store.undo.PATIENCE", 0.0)
    within = _Slow()
    putting = asyncio.create_task(Undoing(within).put("vault.json", b"{}"))
    await within.received.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert within.serving is not None
    assert not within.serving.done()
    within.serving.cancel()
