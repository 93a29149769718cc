"""When Retrying tries again, how long it waits, and what a put may find of itself."""

from __future__ import annotations

import pytest
from store_scripts import Failing

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreRefused, StoreUnavailable
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.retry import Retrying


class Waits:
    """Takes note of waits instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def made(store: Failing, waits: Waits, draw: float = 1.0) -> Retrying:
    return Retrying(store, attempts=5, base=0.5, cap=3.0, sleep=waits, draw=lambda: draw)


async def test_passing_failures_are_outlived() -> None:
    store, waits = Failing(StoreUnavailable("a"), StoreUnavailable("b")), Waits()
    await made(store, waits).put("vault.json", b"data")
    assert store.objects == {"vault.json": b"data"}
    assert waits.seconds == [0.5, 1.0]


async def test_every_method_is_tried_again() -> None:
    store, waits = Failing(), Waits()
    retrying = made(store, waits)
    await store.put("vault.json", b"data")
    store.failures = [StoreUnavailable("get")]
    assert await retrying.get("vault.json") == b"data"
    store.failures = [StoreUnavailable("list")]
    assert [info.name for info in await retrying.list("")] == ["vault.json"]
    store.failures = [StoreUnavailable("delete")]
    await retrying.delete("vault.json")
    assert store.objects == {}
    assert len(waits.seconds) == 3


async def test_waits_double_up_to_the_cap_and_then_it_gives_up() -> None:
    store, waits = Failing(*(StoreUnavailable(str(n)) for n in range(9))), Waits()
    with pytest.raises(StoreUnavailable, match="4"):
        await made(store, waits).get("vault.json")
    assert waits.seconds == [0.5, 1.0, 2.0, 3.0]


async def test_waits_are_drawn_from_zero() -> None:
    store, waits = Failing(*(StoreUnavailable(str(n)) for n in range(2))), Waits()
    await made(store, waits, draw=0.0).list("")
    assert waits.seconds == [0.0, 0.0]


async def test_the_servers_own_wait_is_kept() -> None:
    store, waits = Failing(StoreUnavailable("busy", retry_after=2.5)), Waits()
    await made(store, waits, draw=0.0).list("")
    assert waits.seconds == [2.5]


async def test_a_longer_wait_than_the_cap_is_left_to_the_caller() -> None:
    store, waits = Failing(StoreUnavailable("busy", retry_after=60.0)), Waits()
    with pytest.raises(StoreUnavailable) as raised:
        await made(store, waits).list("")
    assert raised.value.retry_after == 60.0
    assert waits.seconds == []


@pytest.mark.parametrize("failure", [StoreRefused("no"), ObjectMissing("no"), AlreadyExists("no")])
async def test_nothing_else_is_tried_again(failure: StoreRefused | ObjectMissing | AlreadyExists) -> None:
    store, waits = Failing(failure), Waits()
    with pytest.raises(type(failure)):
        await made(store, waits).put("vault.json", b"data", if_absent=True)
    assert waits.seconds == []


async def test_a_put_finds_what_its_lost_attempt_wrote() -> None:
    store, waits = Failing(StoreUnavailable("answer lost"), after_the_act=True), Waits()
    await made(store, waits).put("roster/000001", b"mine", if_absent=True)
    assert store.objects == {"roster/000001": b"mine"}


async def test_a_put_does_not_take_the_bytes_of_another_for_its_own() -> None:
    store, waits = Failing(), Waits()
    await store.put("roster/000001", b"theirs")
    store.failures = [StoreUnavailable("connection broke")]
    with pytest.raises(AlreadyExists):
        await made(store, waits).put("roster/000001", b"mine", if_absent=True)
    assert store.objects == {"roster/000001": b"theirs"}


async def test_equal_bytes_at_the_first_attempt_are_not_its_own() -> None:
    store = MemoryStore()
    await store.put("roster/000001", b"same")
    with pytest.raises(AlreadyExists):
        await Retrying(store).put("roster/000001", b"same", if_absent=True)
