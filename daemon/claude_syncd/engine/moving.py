"""Writes contents of the vault anew: reads them from the objects they are in, and puts them into packs."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING

from claude_syncd.core.compaction import BLOB, repointed
from claude_syncd.core.model import Slice
from claude_syncd.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.engine.site import Site
    from claude_syncd.vault.writer import Writer

AT_ONCE = 32 * 1024 * 1024
"""So many bytes of plaintext are held, and as many again on their way into a pack."""

_start = attrgetter("start")


class Mover:
    """Moves runs of slices, each byte of a blob once, however many slices have it. After `finish`, `repointed` says
    where a content is now.

    The slices of a run follow each other in one content: they become whole blobs, as far as they go.
    """

    def __init__(self, site: Site, writer: Writer) -> None:
        """`writer`: of no log entry; all that it is given goes into packs."""
        self._site = site
        self._writer = writer
        self._runs: list[list[Slice]] = []
        self._waiting = 0
        self._blob = bytearray()
        self._pieces: list[tuple[Slice, int, int]] = []  # whose bytes they are, start and length in the blob
        self._placed: dict[Slice, list[tuple[int, int, int]]] = {}  # ticket, start, length
        self._spans: dict[tuple[str, int], list[Slice]] = {}  # what was moved of each blob: apart, by start

    async def add(self, run: Sequence[Slice]) -> None:
        """Move these, but what of them was moved before."""
        left = []
        for one in run:
            spans = self._spans.setdefault((one.object, one.blob), [])
            for new in _uncovered(one, spans):
                insort(spans, new, key=_start)
                self._placed[new] = []
                left.append(new)
                self._waiting += new.length
        if left:
            self._runs.append(left)
        if self._waiting >= AT_ONCE:
            await self._move()

    async def finish(self) -> None:
        """All that was added is in packs that are up."""
        await self._move()
        await self._flush()
        await self._writer.finish()

    def objects(self) -> set[str]:
        """The objects that something was moved out of."""
        return {name for name, _ in self._spans}

    def repointed(self, slices: Sequence[Slice]) -> tuple[Slice, ...]:
        """The same content in its new places."""
        return repointed(slices, {one: now for one in slices if (now := self._now(one))})

    def _now(self, one: Slice) -> tuple[Slice, ...]:
        """Where a slice is now; nothing unless all of it was moved."""
        found, end = [], one.start + one.length
        for span in _overlapping(one, self._spans.get((one.object, one.blob), ())):
            at = span.start
            for ticket, start, length in self._placed[span]:
                first, last = max(at, one.start), min(at + length, end)
                if first < last:
                    found.append(Slice(*self._writer.place(ticket), start + first - at, last - first))
                at += length
        return tuple(found) if sum(s.length for s in found) == one.length else ()

    async def _move(self) -> None:
        runs, self._runs, self._waiting = self._runs, [], 0
        wants: defaultdict[tuple[str, int], list[Slice]] = defaultdict(list)
        for one in (s for run in runs for s in run):
            wants[one.object, one.blob].append(one)
        objects: defaultdict[str, set[int]] = defaultdict(set)
        for name, blob in wants:
            objects[name].add(blob)
        found: dict[Slice, bytes] = {}

        def take(name: str, blob: int, plain: bytes) -> None:
            for one in wants[name, blob]:
                data = plain[one.start : one.start + one.length]
                if len(data) != one.length:
                    raise IntegrityError(f"a record names bytes that are not in blob {blob} of {name}")
                found[one] = data

        await self._site.reader.blobs(objects, take)
        for run in runs:
            if sum(s.length for s in run) >= BLOB:
                await self._flush()  # so that it is cut into whole blobs
            for one in run:
                await self._take(one, found.pop(one))
            await asyncio.sleep(0)

    async def _take(self, one: Slice, data: bytes) -> None:
        done = 0
        while done < len(data):
            some = data[done : done + BLOB - len(self._blob)]
            self._pieces.append((one, len(self._blob), len(some)))
            self._blob += some
            done += len(some)
            if len(self._blob) == BLOB:
                await self._flush()

    async def _flush(self) -> None:
        if self._blob:
            plain, self._blob = bytes(self._blob), bytearray()
            pieces, self._pieces = self._pieces, []
            ticket = await self._writer.add(plain)
            for one, start, length in pieces:
                self._placed[one].append((ticket, start, length))


def _overlapping(one: Slice, spans: Sequence[Slice]) -> Sequence[Slice]:
    """Those of `spans`, in order and apart, that a slice may have a part of: a blob of a log has thousands."""
    first = bisect_right(spans, one.start, key=_start)
    last = bisect_left(spans, one.start + one.length, lo=first, key=_start)
    return spans[max(0, first - 1) : last]


def _uncovered(one: Slice, spans: Sequence[Slice]) -> list[Slice]:
    """The parts of a slice that none of `spans`, in order, has."""
    parts, start, end = [], one.start, one.start + one.length
    for span in _overlapping(one, spans):
        if start < span.start:
            parts.append(Slice(one.object, one.blob, start, span.start - start))
        start = max(start, span.start + span.length)
    if start < end:
        parts.append(Slice(one.object, one.blob, start, end - start))
    return parts
