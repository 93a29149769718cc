"""Limits of bandwidth: what is moved takes its time, both directions apart, and little is never held back."""

from __future__ import annotations

import asyncio

import pytest

from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.open import FolderOptions, open_store
from claude_syncd.store.pace import Paced


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def paced(clock: Clock, *, up: float | None = None, down: float | None = None) -> Paced:
    return Paced(MemoryStore(), up=up, down=down, clock=clock, sleep=clock.sleep)


async def test_puts_take_their_time_at_the_rate(clock: Clock) -> None:
    store = paced(clock, up=100)
    begin = clock.now
    for number in range(5):
        await store.put(f"packs/{number}", bytes(1000))
    assert clock.now - begin == pytest.approx(40)  # the last one's time is what comes after it


async def test_side_by_side_they_share_the_line(clock: Clock) -> None:
    store = paced(clock, up=100)
    begin = clock.now
    await asyncio.gather(*(store.put(f"packs/{number}", bytes(1000)) for number in range(5)))
    assert clock.now - begin == pytest.approx(40)


async def test_gets_pay_for_what_came(clock: Clock) -> None:
    store = paced(clock, down=50)
    await store.put("packs/a", bytes(1000))
    begin = clock.now
    for _ in range(3):
        assert len(await store.get("packs/a")) == 1000
    assert clock.now - begin == pytest.approx(40)


async def test_a_long_push_delays_no_poll(clock: Clock) -> None:
    store = paced(clock, up=1, down=1_000_000)
    await store.put("log/1", bytes(3600))
    begin = clock.now
    await store.get("log/1")
    await store.list("log/")
    await store.delete("log/1")
    assert clock.now == begin


async def test_a_rest_is_not_saved_up_nor_held_against_anyone(clock: Clock) -> None:
    store = paced(clock, up=100)
    clock.now += 10_000
    begin = clock.now
    await store.put("a", bytes(1000))
    assert clock.now == begin
    clock.now += 10
    await store.put("b", bytes(1000))
    await store.put("c", bytes(1000))
    assert clock.now - begin == pytest.approx(20)


async def test_without_a_limit_nothing_waits(clock: Clock) -> None:
    store = paced(clock)
    begin = clock.now
    for number in range(20):
        await store.put(f"packs/{number}", bytes(10_000))
        await store.get(f"packs/{number}")
    assert clock.now == begin


async def test_the_limits_of_the_settings_reach_the_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    options = FolderOptions(tmp_path_factory.mktemp("vault"))
    assert not _has_a_pace(open_store(options).store)
    assert _has_a_pace(open_store(options, up=1024.0).store)
    assert _has_a_pace(open_store(options, down=1024.0).store)


def _has_a_pace(store: object) -> bool:
    while store is not None:
        if isinstance(store, Paced):
            return True
        store = getattr(store, "_store", None)
    return False
