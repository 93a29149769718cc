"""Google Cloud Storage and WebDAV behind a network that breaks: errors are passing, data is whole or not there."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from faults import BLACKHOLE, CLEAN, REFUSED, Fault, FaultProxy
from gcs_place import gcs_options
from gcs_server import GcsServer
from s3_server import free_port
from webdav_place import webdav_options
from webdav_server import WebDavServer

from claude_syncd.errors import AlreadyExists, StoreUnavailable
from claude_syncd.store.base import Span
from claude_syncd.store.count import Counting
from claude_syncd.store.gcs import GcsStore
from claude_syncd.store.open import create_store
from claude_syncd.store.retry import Retrying
from claude_syncd.store.webdav import WebDavStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from claude_syncd.store.report import ReportingStore

KIB = 1024


@pytest.fixture(scope="module", params=["gcs", "webdav"])
def server(request: pytest.FixtureRequest) -> Iterator[GcsServer | WebDavServer]:
    made = GcsServer() if request.param == "gcs" else WebDavServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def proxy(server: GcsServer | WebDavServer) -> Iterator[FaultProxy]:
    made = FaultProxy(int(urlsplit(server.endpoint).port or 0))
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def make(server: GcsServer | WebDavServer, proxy: FaultProxy) -> Callable[..., ReportingStore]:
    """Make a store, all of the same place; `port` is the proxy's unless it is given."""
    proxy.set(CLEAN)
    if isinstance(server, GcsServer):
        bucket = gcs_options(server)

        def gcs(port: int = proxy.port, patience: float = 60.0) -> ReportingStore:
            return GcsStore(replace(bucket, endpoint=f"http://127.0.0.1:{port}"), patience=patience)

        return gcs
    folder = webdav_options(server)
    await create_store(folder)

    def webdav(port: int = proxy.port, patience: float = 60.0) -> ReportingStore:
        return WebDavStore(replace(folder, url=f"http://127.0.0.1:{port}/dav"), patience=patience)

    return webdav


@pytest.fixture
async def store(make: Callable[..., ReportingStore]) -> AsyncIterator[ReportingStore]:
    made = make()
    yield made
    await made.close()


def retrying(store: ReportingStore | Counting) -> Retrying:
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
async def test_an_answer_cut_off_is_passing(
    store: ReportingStore, proxy: FaultProxy, fault: Fault, span: Span | None
) -> None:
    data = secrets.token_bytes(400 * KIB)
    await store.put("packs/a", data)
    proxy.set(fault)
    with pytest.raises(StoreUnavailable):
        await store.get("packs/a", span)
    proxy.set(fault, connections=2)
    assert await retrying(store).get("packs/a", span) == data


async def test_a_listing_cut_off_is_no_listing(store: ReportingStore, proxy: FaultProxy) -> None:
    for n in range(40):
        await store.put(f"roster/{n:06}", b"x")
    proxy.set(Fault(after=KIB, then="close"))
    with pytest.raises(StoreUnavailable):
        await store.list("roster/")
    proxy.set(CLEAN)
    assert len(list(await store.list("roster/"))) == 40


async def test_a_server_that_falls_silent_is_given_up(make: Callable[..., ReportingStore], proxy: FaultProxy) -> None:
    store = make(patience=0.2)
    try:
        await store.put("vault.json", b"data")
        proxy.set(BLACKHOLE)
        for call in (store.get("x"), store.put("x", b"more"), store.list(""), store.delete("x")):
            with pytest.raises(StoreUnavailable, match="no answer in time"):
                await call
    finally:
        await store.close()


async def test_a_slow_network_is_no_error(make: Callable[..., ReportingStore], proxy: FaultProxy) -> None:
    store = make(patience=0.3)
    try:
        proxy.set(Fault(latency=0.03))
        data = secrets.token_bytes(200 * KIB)  # comes in 13 pieces or more, so for longer than the patience
        await store.put("packs/a", data)
        assert await store.get("packs/a") == data
    finally:
        await store.close()


async def test_nobody_listens(make: Callable[..., ReportingStore]) -> None:
    store = make(port=free_port())
    counting = Counting(store)
    for call in (counting.get("x"), counting.put("x", b"data"), counting.list(""), counting.delete("x")):
        with pytest.raises(StoreUnavailable, match="no connection"):
            await call
    await store.close()
    assert sum(counting.snapshot().requests.values()) == 0


async def test_a_put_whose_answer_was_lost_is_done_once(make: Callable[..., ReportingStore], proxy: FaultProxy) -> None:
    proxy.set(REFUSED)
    store = make()
    with pytest.raises(StoreUnavailable):
        await store.put("roster/000001", b"mine", if_absent=True)
    proxy.set(REFUSED, connections=2)
    await retrying(store).put("roster/000001", b"mine", if_absent=True)
    assert await store.get("roster/000001") == b"mine"
    await store.close()


async def test_a_put_whose_answer_was_lost_finds_the_bytes_of_another(store: ReportingStore, proxy: FaultProxy) -> None:
    await store.put("roster/000001", b"theirs")
    proxy.set(REFUSED, connections=1)
    with pytest.raises(AlreadyExists):
        await retrying(store).put("roster/000001", b"mine", if_absent=True)
    proxy.set(CLEAN)
    assert await store.get("roster/000001") == b"theirs"


async def test_who_is_cancelled_disturbs_nobody(make: Callable[..., ReportingStore], proxy: FaultProxy) -> None:
    proxy.set(Fault(latency=0.01))
    store = make()
    data = secrets.token_bytes(400 * KIB)
    await store.put("packs/a", data)
    calls = [asyncio.create_task(store.get("packs/a")) for _ in range(6)]
    puts = [asyncio.create_task(store.put(f"packs/b{n}", data)) for n in range(4)]
    await asyncio.sleep(0)
    for task in (*calls[::2], *puts[::2]):
        task.cancel()
    ended = await asyncio.gather(*calls, *puts, return_exceptions=True)
    assert [type(end) for end in ended[::2]] == [asyncio.CancelledError] * 5
    assert ended[1::2] == [data, data, data, None, None]
    for n in (1, 3):
        assert await store.get(f"packs/b{n}") == data
    await store.close()
