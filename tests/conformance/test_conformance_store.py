"""What the port promises, held against every store."""

from __future__ import annotations

import asyncio
import secrets
import string

import pytest

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreRefused
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo, Span, Store
from claude_syncd.store.probe import probe

MIB = 1024 * 1024

# For what takes long: each server once, since the wrappers do nothing there that they don't do elsewhere.
once_per_store = pytest.mark.parametrize(
    "store",
    [
        *("memory", "folder", "folder-opened", "s3", "gcs", "webdav", "mirror"),
        *(
            pytest.param(server, marks=pytest.mark.servers)
            for server in ("ceph", "fake_gcs", "apache", "rclone-opened", "rclone_s3-opened")
        ),
        pytest.param("git", marks=pytest.mark.long),  # 2,501 objects, of which 32 at a time share a push
    ],
    indirect=True,
)


async def put_all(store: Store, objects: dict[str, bytes]) -> None:
    turn = asyncio.Semaphore(32)

    async def put(name: str, data: bytes) -> None:
        async with turn:
            await store.put(name, data)

    async with asyncio.TaskGroup() as group:
        for name, data in objects.items():
            group.create_task(put(name, data))


async def names(store: Store, prefix: str) -> list[str]:
    return [info.name for info in await store.list(prefix)]


async def test_an_object_comes_back_as_it_was_put(store: Store) -> None:
    data = secrets.token_bytes(5000)
    await store.put("devices/ab/log/000000000001", data)
    assert await store.get("devices/ab/log/000000000001") == data


async def test_a_put_overwrites_the_whole_object(store: Store) -> None:
    await store.put("vault.json", b"a longer version")
    await store.put("vault.json", b"short")
    assert await store.get("vault.json") == b"short"
    assert list(await store.list("")) == [ObjectInfo("vault.json", 5)]


async def test_a_conditional_put_stores_where_nothing_is(store: Store) -> None:
    await store.put("roster/000001", b"first", if_absent=True)
    assert await store.get("roster/000001") == b"first"


async def test_a_conditional_put_never_overwrites(store: Store) -> None:
    await store.put("roster/000001", b"first")
    with pytest.raises(AlreadyExists):
        await store.put("roster/000001", b"second", if_absent=True)
    assert await store.get("roster/000001") == b"first"


async def test_a_name_is_free_again_after_a_delete(store: Store) -> None:
    await store.put("keys/a.age", b"first", if_absent=True)
    await store.delete("keys/a.age")
    await store.put("keys/a.age", b"second", if_absent=True)
    assert await store.get("keys/a.age") == b"second"


async def test_one_of_many_conditional_writers_wins(store: Store) -> None:
    writings = [bytes([n]) * 3000 for n in range(16)]

    async def write(data: bytes) -> bytes | None:
        try:
            await store.put("roster/000007", data, if_absent=True)
        except AlreadyExists:
            return None
        return data

    results = await asyncio.gather(*map(write, writings))
    winners = [data for data in results if data is not None]
    assert len(winners) == 1
    assert await store.get("roster/000007") == winners[0]


async def test_readers_see_whole_objects_while_others_write(store: Store) -> None:
    writings = {bytes([n]) * (20_000 + n) for n in range(12)}
    await store.put("vault.json", next(iter(writings)))

    async def read() -> None:
        for _ in range(20):
            assert await store.get("vault.json") in writings

    async with asyncio.TaskGroup() as group:
        for data in writings:
            group.create_task(store.put("vault.json", data))
        for _ in range(4):
            group.create_task(read())
    assert await store.get("vault.json") in writings


SPANS = [
    (Span(0, 10), b"0123456789"),
    (Span(0, 1), b"0"),
    (Span(3, 4), b"3456"),
    (Span(9, 1), b"9"),
    (Span(7, 100), b"789"),
    (Span(10, 5), b""),
    (Span(999, 5), b""),
    (Span(4, 0), b""),
    (Span(-1, 1), b"9"),
    (Span(-4, 4), b"6789"),
    (Span(-10, 10), b"0123456789"),
    (Span(-99, 99), b"0123456789"),
]


async def test_a_span_is_part_of_an_object(store: Store) -> None:
    await store.put("packs/x", b"0123456789")
    assert [(span, await store.get("packs/x", span)) for span, _ in SPANS] == SPANS


async def test_an_empty_object_is_an_object(store: Store) -> None:
    await store.put("packs/empty", b"")
    assert await store.get("packs/empty") == b""
    assert {await store.get("packs/empty", span) for span, _ in SPANS} == {b""}
    assert list(await store.list("packs/")) == [ObjectInfo("packs/empty", 0)]


@once_per_store
@pytest.mark.parametrize("size", [1, MIB + 1, 32 * MIB])
async def test_objects_of_every_size(store: Store, size: int) -> None:
    data = secrets.token_bytes(4096) * (size // 4096) + secrets.token_bytes(size % 4096)
    await store.put("packs/large", data)
    assert await store.get("packs/large") == data
    assert await store.get("packs/large", Span(-40, 40)) == data[-40:]
    assert await store.get("packs/large", Span(size // 2, 5000)) == data[size // 2 : size // 2 + 5000]
    assert list(await store.list("packs/")) == [ObjectInfo("packs/large", size)]


async def test_more_bytes_than_an_object_has_are_refused(store: Store) -> None:
    with pytest.raises(StoreRefused):
        await store.put("packs/huge", bytes(MAX_OBJECT + 1))
    assert list(await store.list("")) == []


async def test_a_missing_object_is_said_to_be_missing(store: Store) -> None:
    await store.put("devices/ab/log/000000000001", b"here")
    for missing in ("devices/ab/log/000000000002", "devices/ab", "devices/ab/log", "devices/xy/log/000000000001", "no"):
        for span in (None, Span(0, 10), Span(-10, 10)):
            with pytest.raises(ObjectMissing):
                await store.get(missing, span)


async def test_a_deleted_object_is_missing(store: Store) -> None:
    await put_all(store, {"devices/ab/packs/1": b"1", "devices/ab/packs/2": b"2"})
    await store.delete("devices/ab/packs/1")
    with pytest.raises(ObjectMissing):
        await store.get("devices/ab/packs/1")
    assert await names(store, "") == ["devices/ab/packs/2"]


async def test_deleting_what_is_missing_is_no_error(store: Store) -> None:
    await store.put("devices/ab/packs/1", b"1")
    for missing in ("devices/ab/packs/2", "devices/ab", "devices/cd/packs/1", "devices/ab/packs/1/2"):
        await store.delete(missing)
    await store.delete("devices/ab/packs/1")
    await store.delete("devices/ab/packs/1")
    assert list(await store.list("")) == []


async def test_an_empty_store_lists_nothing(store: Store) -> None:
    for prefix in ("", "devices/", "devices/ab/log/", "r"):
        assert list(await store.list(prefix)) == []


async def test_a_listing_is_by_prefix_and_in_order(store: Store) -> None:
    written = ["a/b", "a-b", "a.b", "a/b.c/d", "a/bc", "ab", "A", "a/c/d/e", "a_b", "b", "a/B", "a0"]
    await put_all(store, {name: name.encode() for name in written})
    assert await names(store, "") == sorted(written)
    assert await names(store, "a") == sorted(name for name in written if name.startswith("a"))
    assert await names(store, "a/") == ["a/B", "a/b", "a/b.c/d", "a/bc", "a/c/d/e"]
    assert await names(store, "a/b") == ["a/b", "a/b.c/d", "a/bc"]
    assert await names(store, "a/c/d/") == ["a/c/d/e"]
    assert await names(store, "a/b/") == []
    assert await names(store, "c") == []


@once_per_store
async def test_a_listing_of_many_objects_is_complete(store: Store) -> None:
    written = {f"devices/{n % 3}/packs/{n:05}": b"x" * (n % 7) for n in range(2_501)}
    await put_all(store, written)
    expected = [ObjectInfo(name, len(data)) for name, data in sorted(written.items())]
    assert list(await store.list("")) == expected
    assert list(await store.list("devices/1/")) == [info for info in expected if info.name.startswith("devices/1/")]


async def test_names_have_every_character_of_the_layout(store: Store) -> None:
    written = [
        f"x/{string.ascii_lowercase}",
        f"y/{string.ascii_uppercase}.{string.digits}",
        "-._/.hidden/-dash/_low/...",
        "keys/" + "k" * 200,
        "/".join(["p" * 50] * 9),
    ]
    await put_all(store, {name: name.encode() for name in written})
    for name in written:
        assert await store.get(name) == name.encode()
    assert await names(store, "") == sorted(written)


BAD_NAMES = [
    *("", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "tmp", "tmp/a"),
    *("a b", "a\nb", "a\\b", "a:b", "é", "a\0b", "a%2Fb", "~", "a/*", "p" * 201, "/".join(["p" * 99] * 6)),
]


async def test_other_names_are_refused(store: Store) -> None:
    for name in BAD_NAMES:
        with pytest.raises(StoreRefused):
            await store.put(name, b"data")
        with pytest.raises(StoreRefused):
            await store.get(name)
        with pytest.raises(StoreRefused):
            await store.delete(name)
    assert list(await store.list("")) == []


async def test_many_things_at_once(store: Store) -> None:
    written = {f"devices/d{n % 5}/log/{n:012}": secrets.token_bytes(n * 10) for n in range(60)}

    async def live(name: str, data: bytes) -> None:
        await store.put(name, data, if_absent=True)
        assert await store.get(name) == data
        await store.list(name[:10])
        if name.endswith("0"):
            await store.delete(name)

    async with asyncio.TaskGroup() as group:
        for name, data in written.items():
            group.create_task(live(name, data))
    assert await names(store, "devices/") == sorted(name for name in written if not name.endswith("0"))


async def test_history_is_dropped_and_every_object_stays(store: Store) -> None:
    for n in range(4):
        await store.put(f"devices/ab/log/{n:012}", b"%d" % n)
    await store.delete("devices/ab/log/000000000000")
    await store.drop_history()
    await store.drop_history()
    assert await names(store, "") == [f"devices/ab/log/{n:012}" for n in (1, 2, 3)]
    assert await store.get("devices/ab/log/000000000003") == b"3"
    await store.put("devices/ab/log/000000000004", b"4")
    assert await store.get("devices/ab/log/000000000004") == b"4"


async def test_the_probe_finds_nothing_wrong_and_leaves_nothing(store: Store) -> None:
    found = await probe(store)
    assert (found.conditional_put, found.lists, found.problems) == (True, True, ())
    assert list(await store.list("")) == []
