from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from vault_samples import DEVICE, OTHER, file_record, sample_entry

from claude_syncd.core.model import Checkpoint, RosterEntry, Slice
from claude_syncd.errors import FormatError, IntegrityError, ObjectMissing, WrongKey
from claude_syncd.store.count import Counting
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.mirror import Mirrored
from claude_syncd.vault import codec, layout
from claude_syncd.vault.area import Area
from claude_syncd.vault.memory import Budget, ByteCache
from claude_syncd.vault.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.store.base import Span

LOG = layout.log_name(DEVICE, 1)


@pytest.fixture
def reader(store: Counting, keys: VaultKeys, executor: ThreadPoolExecutor) -> Reader:
    return Reader(store, keys, executor)


def put_pack(memory: MemoryStore, keys: VaultKeys, plains: Iterable[bytes]) -> str:
    name, data = codec.encode_pack(keys, DEVICE, [codec.seal_chunk(keys, plain) for plain in plains])
    memory.objects[name] = data
    return name


def put_log(memory: MemoryStore, keys: VaultKeys, plains: list[bytes], seq: int = 1) -> str:
    name = layout.log_name(DEVICE, seq)
    slices = [Slice(name, number, 0, len(plain)) for number, plain in enumerate(plains)]
    entry = sample_entry(file_record("tree/a", b"".join(plains), seq, *slices), seq=seq)
    memory.objects[name] = codec.encode_log(keys, entry, [codec.seal_chunk(keys, plain) for plain in plains])
    return name


def noise(count: int, size: int) -> list[bytes]:
    source = random.Random(count * size)
    return [source.randbytes(size) for _ in range(count)]


async def read(reader: Reader, wants: Mapping[str, Collection[int]]) -> dict[tuple[str, int], bytes]:
    found: dict[tuple[str, int], bytes] = {}

    def take(name: str, number: int, plain: bytes) -> None:
        assert (name, number) not in found
        found[name, number] = plain

    await reader.blobs(wants, take)
    return found


async def test_an_entry_and_its_blobs_cost_one_get(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    put_log(memory, keys, [b"one", b"two"])
    opened = await reader.log_entry(DEVICE, 1)
    assert opened == codec.open_log(keys, LOG, memory.objects[LOG])
    assert await read(reader, {LOG: [0, 1]}) == {(LOG, 0): b"one", (LOG, 1): b"two"}
    assert await read(reader, {LOG: {1}}) == {(LOG, 1): b"two"}
    assert store.snapshot().get == 1


async def test_an_entry_that_is_not_there_is_missing(reader: Reader) -> None:
    with pytest.raises(ObjectMissing):
        await reader.log_entry(DEVICE, 1)
    with pytest.raises(ObjectMissing):
        await read(reader, {layout.pack_name(DEVICE, "ab" * 32): [0]})


async def test_an_entry_with_a_damaged_blob_is_no_entry(reader: Reader, memory: MemoryStore, keys: VaultKeys) -> None:
    """Else the hash of the damaged one would be noted, and the next entry, whole as it is, would not follow it."""
    put_log(memory, keys, [b"one", b"two"])
    memory.objects[LOG] = damaged(memory.objects[LOG], 20)
    with pytest.raises(IntegrityError, match="blob 0"):
        await reader.log_entry(DEVICE, 1)


async def test_entries_that_the_cache_can_not_hold_are_fetched_again(
    store: Counting, memory: MemoryStore, keys: VaultKeys, executor: ThreadPoolExecutor
) -> None:
    names = [put_log(memory, keys, noise(1, 5000), seq) for seq in (1, 2, 3)]
    reader = Reader(store, keys, executor, cache_bytes=13_000)
    for seq in (1, 2, 3):
        await reader.log_entry(DEVICE, seq)
    before = store.snapshot()
    for name in reversed(names):
        assert await read(reader, {name: [0]}) == {(name, 0): noise(1, 5000)[0]}
    assert (store.snapshot() - before).get == 1


@pytest.fixture
def copies(memory: MemoryStore) -> tuple[MemoryStore, MemoryStore]:
    return memory, MemoryStore()


@pytest.fixture
async def mirror(copies: tuple[MemoryStore, MemoryStore]) -> AsyncIterator[Mirrored]:
    made = Mirrored(copies)
    yield made
    await made.close()


@pytest.fixture
def twofold(mirror: Mirrored, keys: VaultKeys, executor: ThreadPoolExecutor) -> Reader:
    return Reader(mirror, keys, executor, doubt=mirror.doubt)


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + (data[at:][1:] if at >= 0 else b"")


def states(mirror: Mirrored) -> list[str]:
    return [standing.state for standing in mirror.standing()]


@pytest.mark.parametrize("at", [0, 20, -1])
async def test_an_entry_that_one_store_damaged_comes_from_another(
    copies: tuple[MemoryStore, MemoryStore], mirror: Mirrored, twofold: Reader, keys: VaultKeys, at: int
) -> None:
    put_log(copies[0], keys, [b"one", b"two"])
    whole = copies[0].objects[LOG]
    copies[1].objects[LOG] = whole
    copies[0].objects[LOG] = damaged(whole, at)
    assert await twofold.log_entry(DEVICE, 1) == codec.open_log(keys, LOG, whole)
    assert await read(twofold, {LOG: [0, 1]}) == {(LOG, 0): b"one", (LOG, 1): b"two"}
    assert states(mirror) == ["disagrees", "ok"]
    assert f"its {LOG} is damaged" in mirror.standing()[0].problem


@pytest.mark.parametrize("at", [4, 7])
async def test_an_entry_that_may_be_of_another_version_or_key_comes_from_another(
    copies: tuple[MemoryStore, MemoryStore], mirror: Mirrored, twofold: Reader, keys: VaultKeys, at: int
) -> None:
    put_log(copies[0], keys, [b"one"])
    whole = copies[0].objects[LOG]
    copies[0].objects[LOG] = copies[1].objects[LOG] = damaged(whole, at)
    with pytest.raises((FormatError, WrongKey)):
        await twofold.log_entry(DEVICE, 1)
    copies[1].objects[LOG] = whole
    assert await twofold.log_entry(DEVICE, 1) == codec.open_log(keys, LOG, whole)
    assert states(mirror) == ["ok", "ok"]  # nobody is accused of what may be right


@pytest.mark.parametrize("count", [2, 20])
async def test_blobs_that_one_store_damaged_come_from_another(
    copies: tuple[MemoryStore, MemoryStore], mirror: Mirrored, twofold: Reader, keys: VaultKeys, count: int
) -> None:
    plains = noise(count, 40_000)
    name = put_pack(copies[0], keys, plains)
    whole = copies[0].objects[name]
    copies[1].objects[name] = whole
    for at in (100, len(whole) // 2, -1):
        copies[0].objects[name] = damaged(whole, at)
        found = await read(twofold, {name: range(count)})
        assert found == {(name, n): plain for n, plain in enumerate(plains)}
    assert states(mirror) == ["disagrees", "ok"]


async def test_what_all_stores_damaged_is_an_error_until_one_is_mended(
    copies: tuple[MemoryStore, MemoryStore], mirror: Mirrored, twofold: Reader, keys: VaultKeys
) -> None:
    put_log(copies[0], keys, [b"one"])
    whole = copies[0].objects[LOG]
    copies[0].objects[LOG] = copies[1].objects[LOG] = damaged(whole, -1)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="altered"):
            await twofold.log_entry(DEVICE, 1)
    del copies[1].objects[LOG]
    with pytest.raises(IntegrityError, match="altered"):
        await twofold.log_entry(DEVICE, 1)
    assert states(mirror) == ["disagrees", "disagrees"]
    copies[0].objects[LOG] = whole
    assert await twofold.log_entry(DEVICE, 1) == codec.open_log(keys, LOG, whole)


async def test_a_small_pack_is_one_get(reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys) -> None:
    name = put_pack(memory, keys, [b"one", b"two", b"three"])
    assert await read(reader, {name: [2, 0]}) == {(name, 0): b"one", (name, 2): b"three"}
    assert store.snapshot().get == 1


async def test_a_pack_that_is_wanted_whole_is_one_get(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    plains = noise(31, 1 << 20)
    name = put_pack(memory, keys, plains)
    assert await read(reader, {name: range(31)}) == {(name, n): plain for n, plain in enumerate(plains)}
    assert store.snapshot().get == 1


async def test_a_pack_that_is_wanted_in_portions_is_one_get(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    plains = noise(62, 1 << 19)
    name = put_pack(memory, keys, plains)
    with reader.keeping_a_pack():
        assert len(await read(reader, {name: range(31)})) == 31
        assert len(await read(reader, {name: range(31, 62)})) == 31
    assert store.snapshot().get == 1
    assert len(await read(reader, {name: [0]})) == 1
    assert store.snapshot().get == 2  # it is not held for longer


async def test_a_few_blobs_of_a_pack_cost_little_more_than_themselves(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    plains = noise(31, 1 << 20)
    name = put_pack(memory, keys, plains)
    assert await read(reader, {name: [3, 4, 20]}) == {(name, n): plains[n] for n in (3, 4, 20)}
    traffic = store.snapshot()
    assert traffic.get == 3  # the end of the pack, blobs 3 and 4 together, blob 20
    assert traffic.bytes_down < 3 * (1 << 20) + 100_000
    assert await read(reader, {name: [7]}) == {(name, 7): plains[7]}
    assert (store.snapshot() - traffic).get == 1  # the index is remembered


async def test_most_of_a_pack_is_one_range(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    plains = noise(15, 1 << 20)
    name = put_pack(memory, keys, plains)
    assert len(await read(reader, {name: range(0, 15, 1)})) == 15
    assert store.snapshot().get == 2
    assert len(await read(reader, {name: [0, 1, 2, 3, 4, 10, 11, 14]})) == 8
    assert store.snapshot().get == 3


async def test_blobs_in_the_end_of_a_pack_come_with_its_index(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    plains = [*noise(2, 200_000), b"last"]
    name = put_pack(memory, keys, plains)
    assert await read(reader, {name: [2]}) == {(name, 2): b"last"}
    assert store.snapshot().get == 1
    assert await read(reader, {name: [0, 2]}) == {(name, 0): plains[0], (name, 2): b"last"}


async def test_an_index_longer_than_the_first_guess_is_fetched(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    name = put_pack(memory, keys, (n.to_bytes(4, "big") for n in range(2500)))
    assert codec.index_size(name, memory.objects[name]) > 64 * 1024
    assert await read(reader, {name: [5]}) == {(name, 5): (5).to_bytes(4, "big")}
    assert store.snapshot().get == 3


async def test_many_objects_are_read_at_once(
    memory: MemoryStore, keys: VaultKeys, executor: ThreadPoolExecutor
) -> None:
    names = [put_log(memory, keys, [b"x%d" % seq], seq) for seq in range(1, 21)]
    together = asyncio.Barrier(5)

    class Meeting(Counting):
        async def get(self, name: str, span: Span | None = None) -> bytes:
            await together.wait()  # goes on only when five requests are under way
            return await super().get(name, span)

    found = await read(Reader(Meeting(memory), keys, executor, parallel=5), dict.fromkeys(names, (0,)))
    assert found == {(name, 0): b"x%d" % seq for seq, name in enumerate(names, 1)}


async def test_at_most_three_packs_are_in_flight(
    memory: MemoryStore, keys: VaultKeys, executor: ThreadPoolExecutor
) -> None:
    names = [put_pack(memory, keys, noise(16, 2000 + n)) for n in range(9)]
    active: list[int] = [0, 0]
    three = asyncio.Event()

    class Watching(Counting):
        async def get(self, name: str, span: Span | None = None) -> bytes:
            active[0] += 1
            active[1] = max(active)
            if active[0] == 3:
                three.set()
            await three.wait()  # however long a thread takes to have the next one begun
            for _ in range(100):  # a fourth one would come now
                await asyncio.sleep(0)
            active[0] -= 1
            return await super().get(name, span)

    await read(Reader(Watching(memory), keys, executor), dict.fromkeys(names, range(16)))
    assert active == [0, 3]


async def test_nothing_wanted_costs_nothing(reader: Reader, store: Counting) -> None:
    assert await read(reader, {}) == {}
    assert await read(reader, {LOG: []}) == {}
    assert store.snapshot().get == 0


async def test_a_blob_that_an_object_lacks_is_a_format_error(
    reader: Reader, memory: MemoryStore, keys: VaultKeys
) -> None:
    pack = put_pack(memory, keys, noise(2, 50_000))
    log = put_log(memory, keys, [b"one"])
    for name, numbers, has in ((pack, [2], 2), (pack, [0, 9], 2), (log, [1], 1), (log, [-1], 1)):
        with pytest.raises(FormatError, match=f"{name}, which has {has}"):
            await read(reader, {name: numbers})


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize("place", [8, 100_000, -400, -20, -1])
async def test_a_damaged_pack_is_refused_however_it_is_read(
    reader: Reader, memory: MemoryStore, keys: VaultKeys, count: int, place: int
) -> None:
    name = put_pack(memory, keys, noise(count, 60_000))
    data = bytearray(memory.objects[name])
    data[place] ^= 1
    memory.objects[name] = bytes(data)
    with pytest.raises(IntegrityError, match=name):
        await read(reader, {name: range(count)})


@pytest.mark.parametrize("count", [3, 20])
async def test_a_truncated_or_extended_pack_is_refused(
    memory: MemoryStore, keys: VaultKeys, executor: ThreadPoolExecutor, count: int
) -> None:
    name = put_pack(memory, keys, noise(count, 60_000))
    data = memory.objects[name]
    for damaged in (b"", data[:10], data[:-1], data[1:], data[:-50_000], data + b"x"):
        memory.objects[name] = damaged
        with pytest.raises(IntegrityError, match=name):
            await read(Reader(memory, keys, executor), {name: range(count)})


async def test_a_pack_whose_blobs_vanish_once_its_index_is_known_is_refused(
    reader: Reader, memory: MemoryStore, keys: VaultKeys
) -> None:
    name = put_pack(memory, keys, noise(10, 100_000))
    await read(reader, {name: [1]})
    memory.objects[name] = memory.objects[name][:500_000]
    with pytest.raises(IntegrityError, match=f"{name} is truncated"):
        await read(reader, {name: [5]})


async def test_a_damaged_entry_is_refused_and_not_remembered(
    reader: Reader, memory: MemoryStore, keys: VaultKeys
) -> None:
    put_log(memory, keys, [b"one"])
    good = memory.objects[LOG]
    memory.objects[LOG] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(IntegrityError, match=LOG):
        await reader.log_entry(DEVICE, 1)
    memory.objects[LOG] = good
    assert await read(reader, {LOG: [0]}) == {(LOG, 0): b"one"}


async def test_nothing_is_taken_once_it_has_ended(reader: Reader, memory: MemoryStore, keys: VaultKeys) -> None:
    names = [put_log(memory, keys, [b"x"] * 5, seq) for seq in range(1, 11)]
    before = asyncio.all_tasks()
    taken: list[str] = []

    def refuse(name: str, number: int, plain: bytes) -> None:
        taken.append(name)
        raise FormatError("enough")

    with pytest.raises(FormatError, match="enough"):
        await reader.blobs(dict.fromkeys(names, range(5)), refuse)
    assert asyncio.all_tasks() == before
    count = len(taken)
    assert len(await read(reader, dict.fromkeys(names, range(5)))) == 50
    assert len(taken) == count


async def test_roster_and_devices_are_listed(
    reader: Reader, store: Counting, memory: MemoryStore, keys: VaultKeys
) -> None:
    entry = RosterEntry(number=2, device=DEVICE, name="laptop", time_ns=1)
    memory.objects["roster/000002"] = codec.encode_roster(keys, entry)
    memory.objects["roster/000001"] = b""
    memory.objects["roster/notes.txt"] = b""
    for seq in (1, 2, 11):
        memory.objects[layout.log_name(DEVICE, seq)] = b""
    memory.objects[layout.pack_name(OTHER, "ab" * 32)] = b""
    memory.objects["devices/README"] = b""
    assert await reader.roster(2) == entry
    assert await reader.roster_numbers() == (1, 2)
    memory.objects[layout.checkpoint_name(DEVICE, 12)] = b"abc"
    area = Area(log={1: 0, 2: 0, 11: 0}, checkpoints={12: 3})
    assert await reader.areas() == {DEVICE: area, OTHER: Area(packs={layout.pack_name(OTHER, "ab" * 32): 0})}
    assert await reader.area(DEVICE) == area
    assert (area.newest_entry, area.newest_checkpoint, area.reaches) == (11, 12, 12)
    assert area.objects(DEVICE).keys() == {name for name in memory.objects if name.startswith(layout.area(DEVICE))}
    assert store.snapshot().requests == {"put": 0, "get": 1, "list": 3, "delete": 0, "head": 0}


async def test_a_checkpoint_is_read(reader: Reader, memory: MemoryStore, keys: VaultKeys) -> None:
    checkpoint = Checkpoint(device=DEVICE, seq=3, sha256="ef" * 32, time_ns=1, name="laptop", seen={})
    memory.objects[layout.checkpoint_name(DEVICE, 3)] = codec.encode_checkpoint(keys, checkpoint, [])
    assert (await reader.checkpoint(DEVICE, 3)).checkpoint == checkpoint


async def test_a_budget_serves_in_turn_and_survives_cancellation() -> None:
    budget = Budget(10)
    log: list[str] = []

    async def take(name: str, count: int, until: asyncio.Event) -> None:
        async with budget.take(count):
            log.append(name)
            await until.wait()

    done, never = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(take("first", 8, done))
    large = asyncio.create_task(take("large", 99, never))
    small = asyncio.create_task(take("small", 1, done))
    for _ in range(10):
        await asyncio.sleep(0)
    assert log == ["first"]  # a small one never starves a large one
    large.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert log == ["first", "small"]
    done.set()
    await asyncio.gather(first, small)
    holder = asyncio.create_task(take("all of it", 99, never))
    for _ in range(10):
        await asyncio.sleep(0)
    assert log[-1] == "all of it"
    holder.cancel()
    await asyncio.gather(holder, large, return_exceptions=True)
    async with budget.take(10):
        pass


def test_a_cache_drops_what_was_not_used_for_longest() -> None:
    cache = ByteCache(10)
    cache.put("a", b"aaaa")
    cache.put("b", b"bbbb")
    assert cache.get("a") == b"aaaa"
    cache.put("c", b"cccc")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"aaaa", None, b"cccc")
    cache.put("a", b"x" * 11)
    assert cache.get("a") is None
    cache.put("c", b"c")
    cache.put("d", b"d" * 9)
    assert (cache.get("c"), cache.get("d")) == (b"c", b"d" * 9)
