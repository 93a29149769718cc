"""What lasting refusals of real S3 servers look like: each a StoreRefused that says what to do, without secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from s3_place import s3_options
from s3_server import S3Server, s3_client

from claude_syncd.errors import ObjectMissing, StoreRefused
from claude_syncd.store.open import open_store
from claude_syncd.store.probe import probe
from claude_syncd.store.s3 import S3Store

if TYPE_CHECKING:
    from ceph_server import CephServer

    from claude_syncd.store.options import S3Options


async def refusal(options: S3Options) -> StoreRefused:
    """The one refusal that every method gives; it is not retried."""
    opened = open_store(options)
    try:
        with pytest.raises(StoreRefused) as getting:
            await opened.store.get("vault.json")
        with pytest.raises(StoreRefused):
            await opened.store.put("vault.json", b"data")
        with pytest.raises(StoreRefused):
            await opened.store.put("vault.json", b"data", if_absent=True)
        with pytest.raises(StoreRefused):
            await opened.store.list("")
        with pytest.raises(StoreRefused):
            await opened.store.delete("vault.json")
        assert sum(opened.counter.snapshot().requests.values()) == 5
    finally:
        await opened.store.close()
    assert str(options.secret_access_key) not in f"{getting.value} {getting.value.hint} {options!r}"
    return getting.value


async def test_no_such_bucket(s3_server: S3Server) -> None:
    error = await refusal(replace(s3_options(s3_server), bucket="no-such-bucket"))
    assert "no such bucket" in str(error)
    assert "bucket" in error.hint


async def test_objects_of_others_are_not_seen(s3_server: S3Server) -> None:
    options = s3_options(s3_server)
    mine, other = S3Store(options), S3Store(replace(options, prefix=f"{options.prefix}2"))
    client = s3_client(s3_server.endpoint, s3_server.access_key, s3_server.secret_key)
    try:
        for key in (f"{options.prefix}/folder/", f"{options.prefix}/a b", f"{options.prefix}/../x", options.prefix):
            client.put_object(Bucket=s3_server.bucket, Key=key, Body=b"x")
        await mine.put("vault.json", b"mine")
        assert [info.name for info in await mine.list("")] == ["vault.json"]
        assert list(await other.list("")) == []
        with pytest.raises(ObjectMissing):
            await other.get("vault.json")
    finally:
        client.close()
        await mine.close()
        await other.close()


@pytest.mark.servers
async def test_an_unknown_access_key(ceph_server: CephServer) -> None:
    error = await refusal(replace(s3_options(ceph_server), access_key_id="AKIANOBODYNOBODYNOBO"))
    assert "InvalidAccessKeyId" in str(error)
    assert "access_key_id" in error.hint


@pytest.mark.servers
async def test_a_wrong_secret_key(ceph_server: CephServer) -> None:
    error = await refusal(replace(s3_options(ceph_server), secret_access_key="wrong-secret"))
    assert "SignatureDoesNotMatch" in str(error)
    assert "secret_access_key" in error.hint


@pytest.mark.servers
async def test_no_such_bucket_on_ceph(ceph_server: CephServer) -> None:
    assert "no such bucket" in str(await refusal(replace(s3_options(ceph_server), bucket="no-such-bucket")))


@pytest.mark.servers
async def test_no_permission_to_list(ceph_server: CephServer) -> None:
    blind = replace(
        s3_options(ceph_server),
        access_key_id=ceph_server.blind_access_key,
        secret_access_key=ceph_server.blind_secret_key,
    )
    store = S3Store(blind)
    try:
        await store.put("vault.json", b"data")
        assert await store.get("vault.json") == b"data"
        # Without the permission to list, a missing object is forbidden, and must never be taken for missing.
        with pytest.raises(StoreRefused, match="permission denied"):
            await store.get("devices/ab/log/000000000001")
        with pytest.raises(StoreRefused) as refused:
            await probe(store)
    finally:
        await store.close()
    assert "ListBucket" in refused.value.hint
