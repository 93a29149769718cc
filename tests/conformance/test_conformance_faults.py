"""A real S3 server behind a network that breaks: errors are ours and passing, data is whole or not there."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from faults import BLACKHOLE, CLEAN, REFUSED, Fault, FaultProxy
from s3_place import s3_options
from s3_server import S3Server, free_port

from claude_syncd.errors import AlreadyExists, StoreUnavailable
from claude_syncd.store.base import Span
from claude_syncd.store.count import Counting
from claude_syncd.store.retry import Retrying
from claude_syncd.store.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from claude_syncd.store.options import S3Options

KIB = 1024


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    made = FaultProxy(int(urlsplit(s3_server.endpoint).port or 0))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def options(s3_server: S3Server, proxy: FaultProxy) -> S3Options:
    proxy.set(CLEAN)
    return replace(s3_options(s3_server), endpoint=f"http://127.0.0.1:{proxy.port}")


@pytest.fixture
async def store(options: S3Options) -> AsyncIterator[S3Store]:
    made = S3Store(options)
    yield made
    await made.close()


def retrying(store: S3Store) -> Retrying:
    """Tries again without waiting."""

    async def sleep(_: float) -> None:
        return

    return Retrying(store, attempts=4, sleep=sleep)


@pytest.mark.parametrize(
    "fault",
    [
        REFUSED,
        Fault(after=40),
        Fault(after=200 * KIB),
        Fault(after=40, then="close"),
        Fault(after=200 * KIB, then="close"),
        Fault(after=0, then="close"),
    ],
)
@pytest.mark.parametrize("span", [None, Span(0, 400 * KIB), Span(-400 * KIB, 400 * KIB)])
async def test_an_answer_cut_off_is_passing(store: S3Store, proxy: FaultProxy, fault: Fault, span: Span | None) -> None:
    data = secrets.token_bytes(400 * KIB)
    await store.put("packs/a", data)
    proxy.set(fault)
    with pytest.raises(StoreUnavailable):
        await store.get("packs/a", span)
    proxy.set(fault, connections=2)
    assert await retrying(store).get("packs/a", span) == data


async def test_a_listing_cut_off_is_no_listing(store: S3Store, proxy: FaultProxy) -> None:
    for n in range(30):
        await store.put(f"roster/{n:06}", b"x")
    proxy.set(Fault(after=2 * KIB, then="close"))
    with pytest.raises(StoreUnavailable):
        await store.list("roster/")
    proxy.set(CLEAN)
    assert len(list(await store.list("roster/"))) == 30


async def test_a_server_that_falls_silent_is_given_up(options: S3Options, proxy: FaultProxy) -> None:
    store = S3Store(options, patience=0.3)
    try:
        await store.put("vault.json", b"data")
        proxy.set(BLACKHOLE)
        with pytest.raises(StoreUnavailable):
            await store.get("vault.json")
        with pytest.raises(StoreUnavailable):
            await store.put("vault.json", b"more")
        with pytest.raises(StoreUnavailable):
            await store.list("")
        with pytest.raises(StoreUnavailable):
            await store.delete("vault.json")
    finally:
        await store.close()


async def test_a_slow_network_is_no_error(store: S3Store, proxy: FaultProxy) -> None:
    proxy.set(Fault(latency=0.05))
    data = secrets.token_bytes(100 * KIB)
    await store.put("packs/a", data)
    assert await store.get("packs/a") == data


async def test_nobody_listens(options: S3Options) -> None:
    store = S3Store(replace(options, endpoint=f"http://127.0.0.1:{free_port()}"))
    counting = Counting(store)
    try:
        with pytest.raises(StoreUnavailable, match="no connection"):
            await counting.get("vault.json")
    finally:
        await store.close()
    assert counting.snapshot().get == 0


async def test_a_put_whose_answer_was_lost_is_done_once(store: S3Store, proxy: FaultProxy) -> None:
    counting = Counting(store)
    await store.put("connected", b"")
    proxy.set(REFUSED, connections=1)
    before = counting.snapshot()
    await retrying(store).put("roster/000001", b"mine", if_absent=True)
    proxy.set(CLEAN)
    assert await store.get("roster/000001") == b"mine"
    traffic = counting.snapshot() - before
    assert (traffic.put, traffic.get) == (2, 2)


async def test_a_put_whose_answer_was_lost_finds_the_bytes_of_another(store: S3Store, proxy: FaultProxy) -> None:
    await store.put("roster/000001", b"theirs")
    proxy.set(REFUSED, connections=1)
    with pytest.raises(AlreadyExists):
        await retrying(store).put("roster/000001", b"mine", if_absent=True)
    proxy.set(CLEAN)
    assert await store.get("roster/000001") == b"theirs"
