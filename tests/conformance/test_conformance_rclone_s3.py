"""`rclone serve s3` promises less than a store of ours does: what of it is noticed, and what is made up for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from s3_place import overwriting_s3_options, s3_options
from s3_server import s3_client

from claude_syncd.errors import ObjectMissing
from claude_syncd.store.open import open_store
from claude_syncd.store.probe import probe
from claude_syncd.store.s3 import S3Store

if TYPE_CHECKING:
    from s3_rclone import RcloneS3Server

    from claude_syncd.store.options import S3Options

pytestmark = pytest.mark.servers


async def test_the_probe_finds_that_it_overwrites(rclone_s3_server: RcloneS3Server) -> None:
    store = S3Store(s3_options(rclone_s3_server))
    found = await probe(store)
    assert not found.refuses
    assert found.problems == ("the store can't refuse to overwrite",)
    assert list(await store.list("")) == []
    await store.close()


async def test_who_looks_first_does_not_overwrite(rclone_s3_server: RcloneS3Server) -> None:
    store = open_store(overwriting_s3_options(rclone_s3_server)).store
    assert (await probe(store)).refuses
    assert list(await store.list("")) == []
    await store.close()


async def half_a_put(server: RcloneS3Server, options: S3Options, name: str) -> asyncio.StreamWriter:
    """Send the first half of an object, and no more."""
    client = s3_client(server.endpoint, server.access_key, server.secret_key)
    key = f"{options.prefix}/{name}"
    signed = urlsplit(client.generate_presigned_url("put_object", Params={"Bucket": options.bucket, "Key": key}))
    client.close()
    _, writer = await asyncio.open_connection(signed.hostname, signed.port)
    head = f"PUT {signed.path}?{signed.query} HTTP/1.1\r\nHost: {signed.netloc}\r\nContent-Length: 2000000\r\n\r\n"
    writer.write(head.encode() + bytes(1_000_000))
    await writer.drain()
    return writer


async def test_nothing_is_seen_of_half_a_put(rclone_s3_server: RcloneS3Server) -> None:
    options = s3_options(rclone_s3_server)
    store = S3Store(options)
    await store.put("vault.json", b"the old one")
    new = await half_a_put(rclone_s3_server, options, "packs")
    old = await half_a_put(rclone_s3_server, options, "vault.json")
    for ended in (None, new, old):
        if ended is not None:
            ended.transport.abort()
        for _ in range(20):
            with pytest.raises(ObjectMissing):
                await store.get("packs")
            assert await store.get("vault.json") == b"the old one"
    await store.close()
