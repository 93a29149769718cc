"""What the store on WebDAV takes Apache for, and how Apache signs in its users."""

from __future__ import annotations

import asyncio
import base64
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from webdav_apache import ApacheServer
from webdav_place import webdav_options

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreRefused
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.open import create_store
from claude_syncd.store.webdav import WebDavStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.store.options import WebDavOptions

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def digest_server() -> Iterator[ApacheServer]:
    server = ApacheServer(digest=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def half_a_put(options: WebDavOptions, name: str) -> asyncio.StreamWriter:
    """Begin a PUT of 2,000 bytes and send the half of them."""
    url = urlsplit(options.url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    credentials = base64.b64encode(f"{options.username}:{options.password}".encode()).decode()
    writer.write(
        f"PUT {url.path}/{options.prefix}/{name} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 2000\r\n"
        f"Authorization: Basic {credentials}\r\n\r\n".encode()
        + b"x" * 1000
    )
    await writer.drain()
    return writer


async def test_apache_shows_nothing_of_half_a_put(apache_server: ApacheServer) -> None:
    options = webdav_options(apache_server)
    await create_store(options)
    store = WebDavStore(options)
    await store.put("vault.json", b"the old one")
    new, old = await half_a_put(options, "packs"), await half_a_put(options, "vault.json")
    for _ in range(20):
        with pytest.raises(ObjectMissing):
            await store.get("packs")
        assert await store.get("vault.json") == b"the old one"
        assert [info.name for info in await store.list("")] == ["vault.json"]
    for writer in (new, old):
        writer.transport.abort()
    for _ in range(20):
        with pytest.raises(ObjectMissing):
            await store.get("packs")
        assert await store.get("vault.json") == b"the old one"
    await store.close()


async def test_a_push_to_apache_is_one_request(apache_server: ApacheServer) -> None:
    options = webdav_options(apache_server)
    await create_store(options)
    counting = Counting(WebDavStore(options))
    await counting.put("devices/ab/log/000000000001", b"data", if_absent=True)
    before = counting.snapshot()
    await counting.put("devices/ab/log/000000000002", b"data", if_absent=True)
    assert counting.snapshot() - before == Traffic(put=1, bytes_up=4)
    with pytest.raises(AlreadyExists):
        await counting.put("devices/ab/log/000000000002", b"more", if_absent=True)
    assert await counting.get("devices/ab/log/000000000002") == b"data"
    await counting.close()


async def test_apache_gets_a_digest_where_it_wants_one(digest_server: ApacheServer) -> None:
    options = webdav_options(digest_server)
    await create_store(options)
    store = WebDavStore(options)
    data = secrets.token_bytes(3_000_000)
    await store.put("devices/ab/packs/x", data)
    assert await store.get("devices/ab/packs/x") == data
    assert [info.size for info in await store.list("")] == [3_000_000]
    await store.delete("devices/ab/packs/x")
    assert list(await store.list("")) == []
    await store.close()
    for wrong in (replace(options, password="another"), replace(options, username="bob")):
        store = WebDavStore(wrong)
        with pytest.raises(StoreRefused, match="not accepted"):
            await store.list("")
        await store.close()
