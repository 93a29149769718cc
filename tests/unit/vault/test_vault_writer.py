from __future__ import annotations

import asyncio
import random
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from vault_samples import DEVICE, file_record, sample_entry

from claude_syncd.core.model import Slice
from claude_syncd.errors import FormatError, StoreUnavailable
from claude_syncd.vault import codec, layout
from claude_syncd.vault.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.store.count import Counting

LOG = layout.log_name(DEVICE, 1)


class Inline(Executor):
    """Runs everything at once in the caller, so that a test knows how far things are."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor hands over whatever came
            future.set_exception(error)
        return future


def noise(count: int, size: int, seed: int = 1) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(size) for _ in range(count)]


async def settled() -> None:
    """Let everything run that does not wait for the test; with Inline, nothing else is under way."""
    for _ in range(2000):
        await asyncio.sleep(0)


def read_back(keys: VaultKeys, objects: dict[str, bytes], name: str, number: int) -> bytes:
    info = codec.open_blobs(keys, name, objects[name])[number]
    return codec.open_blob(keys, name, number, info, objects[name][info.offset : info.offset + info.length])


async def test_a_small_push_is_one_put(keys: VaultKeys, store: Counting, executor: ThreadPoolExecutor) -> None:
    async with Writer(keys, DEVICE, 1, store.put, executor) as writer:
        tickets = [await writer.add(plain) for plain in (b"one", b"two")]
        await writer.finish()
        assert [writer.place(ticket) for ticket in tickets] == [(LOG, 0), (LOG, 1)]
        data = await writer.entry(
            sample_entry(file_record("tree/a", b"onetwo", 1, Slice(LOG, 0, 0, 3), Slice(LOG, 1, 0, 3)))
        )
        await store.put(LOG, data)
    assert store.snapshot().put == 1
    assert [read_back(keys, {LOG: data}, LOG, number) for number in (0, 1)] == [b"one", b"two"]


async def test_a_push_without_content_is_one_put(
    keys: VaultKeys, store: Counting, executor: ThreadPoolExecutor
) -> None:
    async with Writer(keys, DEVICE, 1, store.put, executor) as writer:
        await writer.finish()
        assert codec.open_log(keys, LOG, await writer.entry(sample_entry())).blobs == ()
    assert store.snapshot().put == 0


async def test_a_large_push_is_full_packs_and_one_entry(
    keys: VaultKeys, store: Counting, memory: Any, executor: ThreadPoolExecutor
) -> None:
    plains = noise(70, 1 << 20)
    noted: dict[str, list[int]] = {}
    async with Writer(keys, DEVICE, 1, store.put, executor, noted=lambda name, t: noted.update({name: t})) as writer:
        tickets = [await writer.add(plain) for plain in plains]
        await writer.finish()
        entry = await writer.entry(sample_entry())
    assert store.snapshot().put == 3  # 31 + 31 + 8 MiB of noise
    assert all(len(data) <= layout.PACK_LIMIT for data in memory.objects.values())
    assert codec.open_log(keys, LOG, entry).blobs == ()
    assert sorted(ticket for group in noted.values() for ticket in group) == tickets == list(range(70))
    assert {writer.place(t) for t in tickets} == {(name, n) for name, g in noted.items() for n in range(len(g))}
    for ticket in (0, 30, 31, 69):
        assert read_back(keys, memory.objects, *writer.place(ticket)) == plains[ticket]


async def test_blobs_keep_their_order_in_packs(keys: VaultKeys, store: Counting, executor: ThreadPoolExecutor) -> None:
    noted: list[list[int]] = []
    async with Writer(
        keys, DEVICE, 1, store.put, executor, noted=lambda _, t: noted.append(t), inline_limit=0, pack_limit=9000
    ) as writer:
        for plain in noise(20, 3000):
            await writer.add(plain)
        await writer.finish()
    assert sorted(noted) == [list(range(n, n + 2)) for n in range(0, 20, 2)]


async def test_a_total_just_over_the_limit_is_a_pack(
    keys: VaultKeys, store: Counting, executor: ThreadPoolExecutor
) -> None:
    for plain, packs in ((noise(1, 2000)[0], 0), (noise(1, 4000)[0], 1)):
        before = store.snapshot()
        async with Writer(keys, DEVICE, 1, store.put, executor, inline_limit=4000) as writer:
            await writer.add(plain)
            await writer.finish()
        assert (store.snapshot() - before).put == packs


async def test_memory_is_bounded_and_the_feeder_waits(keys: VaultKeys) -> None:
    gate = asyncio.Event()
    active: list[int] = [0, 0]
    accepted = 0

    async def upload(name: str, data: bytes) -> None:
        active[0] += 1
        active[1] = max(active)
        await gate.wait()
        active[0] -= 1

    async def feed(writer: Writer) -> None:
        nonlocal accepted
        for plain in noise(100, 1000):
            await writer.add(plain)
            accepted += 1
        await writer.finish()

    async with Writer(keys, DEVICE, 1, upload, Inline(), inline_limit=0, pack_limit=5000, parallel_packs=2) as writer:
        feeding = asyncio.create_task(feed(writer))
        await settled()
        # Two packs of two blobs on their way, a third one full, and at most eight that wait to be sealed.
        assert active == [2, 2]
        assert 6 <= accepted <= 6 + 8
        gate.set()
        await feeding
    assert active == [0, 2]
    assert accepted == 100


async def test_a_place_is_known_as_soon_as_its_pack_is_durable(keys: VaultKeys) -> None:
    gate = asyncio.Event()
    noted: list[str] = []

    async def upload(name: str, data: bytes) -> None:
        await gate.wait()

    async with Writer(
        keys, DEVICE, 1, upload, Inline(), noted=lambda name, _: noted.append(name), inline_limit=0, pack_limit=3000
    ) as writer:
        for plain in noise(3, 1000):
            await writer.add(plain)
            await settled()
        assert not noted
        with pytest.raises(KeyError):
            writer.place(0)
        gate.set()
        await settled()
        assert writer.place(0) == (noted[0], 0)
        with pytest.raises(KeyError):
            writer.place(2)
        await writer.finish()
        assert writer.place(2) == (noted[-1], 0)


async def test_a_failed_upload_reaches_the_feeder_and_ends_the_rest(keys: VaultKeys) -> None:
    cancelled: list[str] = []
    forever = asyncio.Event()

    async def upload(name: str, data: bytes) -> None:
        if not started:
            started.append(name)
            raise StoreUnavailable("no network")
        try:
            await forever.wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    async def feed(writer: Writer) -> None:
        for plain in noise(20, 1000):
            await writer.add(plain)
            await settled()

    started: list[str] = []
    noted: list[str] = []
    async with Writer(
        keys, DEVICE, 1, upload, Inline(), noted=lambda name, _: noted.append(name), inline_limit=0, pack_limit=3000
    ) as writer:
        with pytest.raises(StoreUnavailable, match="no network"):
            await feed(writer)
        for again in (writer.add(b"more"), writer.finish()):
            with pytest.raises(StoreUnavailable, match="no network"):
                await again
    assert not noted
    assert len(cancelled) <= 1


async def test_a_chunk_that_can_not_be_sealed_is_refused(keys: VaultKeys, executor: ThreadPoolExecutor) -> None:
    async def upload(name: str, data: bytes) -> None:
        raise AssertionError("nothing to upload")

    async def push(writer: Writer) -> None:
        for plain in (b"fine", b"", b"fine"):
            await writer.add(plain)
        await writer.finish()

    async with Writer(keys, DEVICE, 1, upload, executor) as writer:
        with pytest.raises(FormatError, match="1 MiB"):
            await push(writer)


async def test_leaving_early_ends_what_is_under_way(keys: VaultKeys) -> None:
    ended: list[str] = []

    async def upload(name: str, data: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with Writer(keys, DEVICE, 1, upload, Inline(), inline_limit=0, pack_limit=3000) as writer:
        for plain in noise(3, 1000):
            await writer.add(plain)
            await settled()
        assert not ended
    assert len(ended) == 2  # as many packs as may be under way at once


async def test_several_feeders_share_a_writer(
    keys: VaultKeys, store: Counting, memory: Any, executor: ThreadPoolExecutor
) -> None:
    plains = noise(60, 2000)
    async with Writer(keys, DEVICE, 1, store.put, executor, inline_limit=0, pack_limit=20_000) as writer:
        tickets = await asyncio.gather(*(writer.add(plain) for plain in plains))
        await writer.finish()
    assert tickets == list(range(60))
    assert [read_back(keys, memory.objects, *writer.place(ticket)) for ticket in tickets] == plains


async def test_a_writer_is_used_in_order(keys: VaultKeys, store: Counting) -> None:
    async with Writer(keys, DEVICE, 1, store.put, Inline()) as writer:
        with pytest.raises(RuntimeError, match="not finished"):
            await writer.entry(sample_entry())
        await writer.finish()
        with pytest.raises(RuntimeError, match="finished"):
            await writer.add(b"late")
