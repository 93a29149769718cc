"""Fetches and verifies objects: entries one by one, blobs in parallel with few requests and bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from claude_syncd.errors import FormatError, IntegrityError, VaultError
from claude_syncd.store.base import MAX_OBJECT, Span
from claude_syncd.tasks import off_loop, together
from claude_syncd.vault import codec, frame, layout
from claude_syncd.vault.area import Area, areas
from claude_syncd.vault.memory import Budget, ByteCache

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from claude_syncd.core.model import RosterEntry
    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.errors import SyncError
    from claude_syncd.store.base import Readable

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FIRST_TAIL: Final = 64 * 1024  # the index of a full pack of 160 blobs has 9 KB; an object this small comes whole
_GAP: Final = 128 * 1024  # unwanted bytes that cost less than another request
_RUN: Final = 8 * 1024 * 1024
_WHOLE_FROM: Final = 16  # so many wanted blobs, most of those up to the last, are worth a whole pack at once
_MEMORY: Final = 3 * MAX_OBJECT  # ciphertext in flight
_LARGEST_INDEX: Final = 8 * 1024 * 1024  # sealed; 65,536 blobs take about 4 MiB
_SMALL: Final = layout.INLINE_LIMIT + (1 << 20)  # what a log entry may be expected to take
_CACHED_INDEXES: Final = 256

_AT_ONCE: Final = 4  # blobs opened in one go: each trip to a worker's thread takes the loop a tenth of a millisecond

Take = Callable[[str, int, bytes], None]
"""Takes a blob: object, number, plaintext."""


def no_other_copy(_name: str, _error: SyncError) -> bool:
    """What a single store says to a doubt."""
    return False


class Reader:
    """Reads one vault. Everything it returns is verified; errors name the object.

    IntegrityError and FormatError say what was wrong with an object, ObjectMissing that it is not there. An object that
    can't be read is read anew as long as the store may have another copy of it.
    """

    def __init__(
        self,
        store: Readable,
        keys: VaultKeys,
        executor: Executor,
        *,
        parallel: int = 8,
        cache_bytes: int = 16 << 20,
        doubt: Callable[[str, VaultError], bool] = no_other_copy,
    ) -> None:
        """`parallel`: objects fetched at once; `cache_bytes`: log entries kept for their blobs' sake; `doubt`: told
        the name of an object that can't be read, and why, says whether the store will give another copy of it.
        """
        self._store = store
        self._keys = keys
        self._executor = executor
        self._parallel = parallel
        self._doubt = doubt
        self._memory = Budget(_MEMORY)
        self._objects = ByteCache(cache_bytes)
        self._packs: ByteCache | None = None
        self._indexes: OrderedDict[str, tuple[codec.BlobInfo, ...]] = OrderedDict()

    async def log_entry(self, device: str, seq: int) -> codec.OpenedLog:
        """Fetch a log entry. Its blobs can then be read without fetching it again, while the cache holds it."""
        name = layout.log_name(device, seq)

        async def read() -> codec.OpenedLog:
            data = await self._store.get(name)
            opened = await self._run(codec.open_log, self._keys, name, data)
            if opened.blobs:
                self._objects.put(name, data)
                self._remember(name, opened.blobs)
            return opened

        return await self._authentic(name, read)

    async def checkpoint(self, device: str, seq: int) -> codec.OpenedCheckpoint:
        """Fetch a checkpoint."""
        name = layout.checkpoint_name(device, seq)

        async def read() -> codec.OpenedCheckpoint:
            return await self._run(codec.open_checkpoint, self._keys, name, await self._store.get(name))

        return await self._authentic(name, read)

    async def roster(self, number: int) -> RosterEntry:
        """Fetch a roster entry."""
        name = layout.roster_name(number)

        async def read() -> RosterEntry:
            return await self._run(codec.open_roster, self._keys, name, await self._store.get(name))

        return await self._authentic(name, read)

    async def roster_numbers(self) -> tuple[int, ...]:
        """The numbers of the roster entries that are there, ascending. One LIST."""
        found = [layout.try_parse(info.name) for info in await self._store.list(layout.ROSTER_PREFIX)]
        return tuple(sorted(name.number for name in found if name is not None))

    async def areas(self) -> dict[str, Area]:
        """Every device's area as it is now, by device. One LIST."""
        return areas(await self._store.list(layout.DEVICES_PREFIX))

    async def area(self, device: str) -> Area:
        """One device's area as it is now. One LIST."""
        return areas(await self._store.list(layout.area(device))).get(device, Area())

    async def plain_sizes(self, pack: str) -> tuple[int, ...]:
        """How many bytes of plaintext each blob of a pack holds, by its index. One or two GETs of its end."""

        async def read() -> tuple[codec.BlobInfo, ...]:
            return self._indexes.get(pack) or (await self._index(pack))[1]

        blobs = await self._authentic(pack, read)
        return tuple(blob.plain for blob in blobs)

    async def head(self, pack: str) -> None:
        """See that the first bytes of a pack are as they should be, which `blobs` may pass over. A GET more."""

        async def read() -> None:
            blobs = self._indexes.get(pack) or (await self._index(pack))[1]
            epoch = frame.read_head(pack, await self._store.get(pack, Span(0, frame.HEADER_BYTES)))
            if any(blob.epoch != epoch for blob in blobs):
                raise IntegrityError(f"{pack} was altered: it names another key than it was sealed with")

        await self._authentic(pack, read)

    async def blobs(self, wants: Mapping[str, Collection[int]], take: Callable[[str, int, bytes], None]) -> None:
        """Open every wanted blob and hand (object, blob number, plaintext) to `take`, in the worker's thread.

        An object's blobs come nearly in order, two lanes of a few blobs side by side, and so do several objects.
        Ciphertext in flight is bounded to about three packs, plaintext to one blob for each worker. The first error
        ends it; when this returns or raises, `take` is not called any more.
        """
        todo = deque((name, sorted(set(numbers))) for name, numbers in wants.items() if numbers)

        async def work() -> None:
            while todo:
                await self._hand_over(*todo.popleft(), take)

        await together(*(work() for _ in range(min(self._parallel, len(todo)))))

    @contextmanager
    def keeping_a_pack(self) -> Iterator[None]:
        """While many blobs are asked for in portions: the last pack that came whole stays for the next portion."""
        self._packs = ByteCache(MAX_OBJECT)
        try:
            yield
        finally:
            self._packs = None

    async def _authentic(self, name: str, read: Callable[[], Awaitable[_T]]) -> _T:
        while True:
            try:
                return await read()
            except VaultError as error:
                for cache in (self._objects, self._packs):
                    if cache is not None:
                        cache.drop(name)
                self._indexes.pop(name, None)
                if not self._doubt(name, error):
                    raise

    async def _hand_over(self, name: str, numbers: list[int], take: Take) -> None:
        """Hand over the wanted blobs of one object, each once, from as many copies of it as that takes."""
        taken: set[int] = set()

        def take_once(_: str, number: int, plain: bytes) -> None:
            taken.add(number)
            take(name, number, plain)

        async def read() -> None:
            await self._fetch(name, [number for number in numbers if number not in taken], take_once)

        await self._authentic(name, read)

    async def _fetch(self, name: str, numbers: list[int], take: Take) -> None:
        """Hand over the wanted blobs of one object."""
        kind = layout.parse(name).type
        blobs = self._indexes.get(name)
        if blobs is not None:
            held = self._objects.get(name)
            if held is None and self._packs is not None:
                held = self._packs.get(name)
            if held is not None:
                await self._open(name, numbers, blobs, held, 0, take)
                return
        elif kind is layout.Type.PACK and not _dense(numbers):
            tail, blobs = await self._index(name)
            start = _size(blobs) - (len(tail) - codec.index_size(name, tail))
            near = [n for n in numbers if n < len(blobs) and blobs[n].offset >= start]
            await self._open(name, near, blobs, tail, start, take)
            numbers = numbers[: len(numbers) - len(near)] if near else numbers
        else:
            async with self._memory.take(MAX_OBJECT if kind is layout.Type.PACK else _SMALL):
                data = await self._store.get(name)
                blobs = await self._run(codec.open_blobs, self._keys, name, data)
                self._remember(name, blobs)
                if kind is layout.Type.LOG:
                    self._objects.put(name, data)
                elif self._packs is not None:
                    self._packs.put(name, data)
                await self._open(name, numbers, blobs, data, 0, take)
            return
        _check(name, numbers, blobs)
        for first, end, run in _runs(numbers, blobs):
            async with self._memory.take(end - first):
                data = await self._store.get(name, Span(first, end - first))
                if len(data) != end - first:
                    raise IntegrityError(f"{name} is truncated: bytes {first} to {end} are not all there")
                await self._open(name, run, blobs, data, first, take)

    async def _index(self, name: str) -> tuple[bytes, tuple[codec.BlobInfo, ...]]:
        """The last bytes of a pack, and where its blobs are."""
        tail = await self._store.get(name, Span(-_FIRST_TAIL, _FIRST_TAIL))
        size = codec.index_size(name, tail)
        if size > len(tail):
            if size > _LARGEST_INDEX:
                raise IntegrityError(f"{name} has a trailer that can't be right")
            tail = await self._store.get(name, Span(-size, size))
        blobs = await self._run(codec.open_index, self._keys, name, tail)
        if _size(blobs) + size < len(tail):
            raise IntegrityError(f"{name} has bytes added to it")
        self._remember(name, blobs)
        return tail, blobs

    async def _open(
        self, name: str, numbers: Sequence[int], blobs: Sequence[codec.BlobInfo], data: bytes, start: int, take: Take
    ) -> None:
        """Hand over blobs whose ciphertext is in `data`, the object's bytes from `start` on."""
        _check(name, numbers, blobs)

        remaining = iter(numbers)

        async def lane() -> None:
            while some := list(islice(remaining, _AT_ONCE)):
                await self._run(_open_blobs, self._keys, name, some, blobs, data, start, take)

        await together(lane(), lane())

    def _remember(self, name: str, blobs: tuple[codec.BlobInfo, ...]) -> None:
        self._indexes[name] = blobs
        self._indexes.move_to_end(name)
        while len(self._indexes) > _CACHED_INDEXES:
            self._indexes.popitem(last=False)

    async def _run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await off_loop(self._executor, work, *args, **kwargs)


def _open_blobs(
    keys: VaultKeys,
    name: str,
    numbers: Sequence[int],
    blobs: Sequence[codec.BlobInfo],
    data: bytes,
    start: int,
    take: Take,
) -> None:
    for number in numbers:
        info = blobs[number]
        offset = info.offset - start
        take(name, number, codec.open_blob(keys, name, number, info, data[offset : offset + info.length]))


def _dense(numbers: Sequence[int]) -> bool:
    """Whether so many blobs are wanted that a pack is fetched whole without looking at its index first."""
    return len(numbers) >= _WHOLE_FROM and 2 * len(numbers) > numbers[-1] + 1


def _check(name: str, numbers: Sequence[int], blobs: Sequence[codec.BlobInfo]) -> None:
    if numbers and not 0 <= numbers[0] <= numbers[-1] < len(blobs):
        raise FormatError(f"a record refers to blob {numbers[-1]} of {name}, which has {len(blobs)}")


def _size(blobs: Sequence[codec.BlobInfo]) -> int:
    """Where the index begins."""
    return blobs[-1].offset + blobs[-1].length if blobs else 8


def _runs(numbers: Sequence[int], blobs: Sequence[codec.BlobInfo]) -> list[tuple[int, int, list[int]]]:
    """The wanted blobs (ascending) as few byte ranges: (first, end, blobs in it)."""
    most = 2 * sum(blobs[n].length for n in numbers) > _size(blobs)
    runs: list[tuple[int, int, list[int]]] = []
    for number in numbers:
        info = blobs[number]
        end = info.offset + info.length
        if runs:
            first, so_far, members = runs[-1]
            if most or (info.offset - so_far <= _GAP and end - first <= _RUN):
                runs[-1] = (first, end, [*members, number])
                continue
        runs.append((info.offset, end, [number]))
    return runs
