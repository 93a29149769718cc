"""What a device keeps of its own area, what it forgets, and what it writes anew in fewer objects. Pure.

Times are seconds as in core/elapsed.py. Bytes are plaintext bytes but for `sealed`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claude_syncd.core.elapsed import AWAY, DAY
from claude_syncd.core.model import Kind, Slice, covers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from claude_syncd.core.model import Record

ENTRIES = 16
"""So many log entries since the last checkpoint are folded into a new one: whoever joins reads them one by one."""
MOST_ENTRIES = 128
"""So many where a checkpoint is large."""
CHECKPOINT_SHARE = 16 * 1024
"""More sealed bytes of checkpoints than this for each entry are not worth it."""
ENTRIES_AT_REST = 8
"""So many are enough where nothing was pushed for REST seconds: that is seldom, so it costs little."""
REST = 600
DEAD_FLOOR = 16 * 1024 * 1024
"""Less than so many dead bytes are not worth the work, however few are alive."""
GRACE = DAY + AWAY
"""What a checkpoint replaces is deleted so much later: a reader may be on its way to it. A clock that jumps ahead
hurries elapsed time by AWAY; a full day is left then.
"""
FENCED = 180 * DAY
"""A device that was silent for so long is not waited for."""
SMALL_PACK = 16 * 1024 * 1024
"""A pack of more sealed bytes is written anew only when most of it is dead."""
_SMALLEST = 64 * 1024
BLOB = 1024 * 1024


class Held(NamedTuple):
    """A device's newest record of a path, and when it came in here."""

    record: Record
    at: int


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One object of the own area that holds blobs."""

    log: bool
    sealed: int
    plain: int
    live: int


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What decides when a record is forgotten. `seen_by_all`: every device that is waited for has integrated this
    device's log so far. `oldest`: for each other device that has a log, its oldest entry that is still there.
    """

    now: int
    retention: int
    seen_by_all: int
    oldest: dict[str, int] = {}


def forgotten(own: Held, others: Sequence[Held], terms: Terms) -> bool:
    """Whether nobody needs the device's newest record of a path any more (docs/format.md, "Checkpoint").

    `others`: the newest records that other devices have of the path.
    """
    if any(terms.now - other.at >= terms.retention and covers(other.record.vector, own.record) for other in others):
        return True
    return (
        own.record.kind is not Kind.FILE
        and terms.now - own.at >= terms.retention
        and own.record.seq <= terms.seen_by_all
        and all(other.record.kind is not Kind.FILE for other in others)
        # Whoever reads a log entry with a file that the tombstone covers must find the tombstone, too.
        and all(terms.oldest.get(device, seq + 1) > seq for device, seq in own.record.vector.items())
    )


def waited_for(last: Mapping[str, int], now: int) -> set[str]:
    """The devices that have not been silent for too long. `last`: when each was heard of last."""
    return {device for device, at in last.items() if now - at < FENCED}


def due(*, entries: int, resting: float, size: int, live: int, dead: int) -> bool:
    """Whether to compact: `entries` since the last checkpoint, which has `size` sealed bytes; the last of them
    `resting` seconds ago.
    """
    enough = min(max(ENTRIES, size // CHECKPOINT_SHARE), MOST_ENTRIES)
    if entries >= enough or (entries >= ENTRIES_AT_REST and resting >= REST):
        return True
    return dead >= DEAD_FLOOR and dead > live


class Live:
    """Adds up which bytes of which objects are in use. Bytes that several contents share count once."""

    def __init__(self) -> None:
        self._spans: defaultdict[str, defaultdict[int, set[tuple[int, int]]]] = defaultdict(lambda: defaultdict(set))

    def add(self, slices: Iterable[Slice]) -> None:
        """These are in use."""
        for one in slices:
            self._spans[one.object][one.blob].add((one.start, one.start + one.length))

    def merged(self, name: str, blob: int) -> list[tuple[int, int]]:
        """What of one blob is in use, as spans in order that don't touch."""
        spans: list[tuple[int, int]] = []
        for start, end in sorted(self._spans[name][blob]) if name in self._spans else ():
            _cover(spans, start, end)
        return spans

    def objects(self) -> set[str]:
        """Every object in use."""
        return set(self._spans)

    def bytes_of(self, name: str) -> int:
        """How many bytes of one object are in use."""
        return sum(map(_covered, self._spans[name].values())) if name in self._spans else 0


def fitting(limit: int, live: Live, versions: Iterable[Sequence[Slice]]) -> int:
    """How many of `versions`, the newest first, can be kept so that what they have besides `live` is at most `limit`
    bytes. Bytes that are in `live` or in a newer version cost nothing.
    """
    kept = total = 0
    covered: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for slices in versions:
        for one in slices:
            place = (one.object, one.blob)
            spans = covered.get(place)
            if spans is None:
                spans = covered[place] = live.merged(*place)
            total += _cover(spans, one.start, one.start + one.length)
        if total > limit:
            break
        kept += 1
    return kept


def _cover(spans: list[tuple[int, int]], start: int, end: int) -> int:
    """Take a span into `spans`, which are in order and don't touch; how many of its bytes were in none."""
    first = bisect_left(spans, start, key=lambda span: span[1])
    last = bisect_right(spans, end, key=lambda span: span[0])
    low, high = start, end
    if first < last:
        low, high = min(start, spans[first][0]), max(end, spans[last - 1][1])
    before = sum(b - a for a, b in spans[first:last])
    spans[first:last] = [(low, high)]
    return high - low - before


def _covered(spans: Iterable[tuple[int, int]]) -> int:
    total = reached = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def vacated(uses: Mapping[str, Use]) -> set[str]:
    """The objects whose live bytes move to new packs: log entries, packs that are mostly dead, and small packs, the
    smallest first, as long as what moves anyhow is worth at least half of the next one. So a byte moves a few times at
    the most, and the number of packs grows with the logarithm of small pushes.
    """
    chosen = {name for name, use in uses.items() if use.live and (use.log or 2 * use.live < use.plain)}
    if not chosen:
        return set()
    moving = sum(_sealed_live(uses[name]) for name in chosen)
    rest = sorted((use.sealed, name) for name, use in uses.items() if use.live and name not in chosen)
    for sealed, name in rest:
        if sealed >= SMALL_PACK or sealed > 2 * max(moving, _SMALLEST):
            break
        chosen.add(name)
        moving += _sealed_live(uses[name])
    return chosen


def _sealed_live(use: Use) -> int:
    return use.sealed * use.live // max(use.plain, 1)


def moving_runs(slices: Sequence[Slice], leaving: set[str], *, fold: bool) -> list[tuple[Slice, ...]]:
    """The slices of a content to write anew, in runs that follow each other in the content.

    All that lie in objects of `leaving`. With `fold` a tail of several small slices that has one of these moves as a
    whole, so that it becomes whole blobs again.
    """
    tail = len(slices)
    while fold and tail > 0 and slices[tail - 1].length < BLOB:
        tail -= 1
    if len(slices) - tail < 2 or not any(s.object in leaving for s in slices[tail:]):
        tail = len(slices)
    runs: list[tuple[Slice, ...]] = []
    run: list[Slice] = []
    for number, one in enumerate(slices):
        if number >= tail or one.object in leaving:
            run.append(one)
        elif run:
            runs.append(tuple(run))
            run = []
    if run:
        runs.append(tuple(run))
    return runs


def repointed(slices: Sequence[Slice], moved: Mapping[Slice, tuple[Slice, ...]]) -> tuple[Slice, ...]:
    """The same content in its new places; neighbours that lie side by side in one blob become one slice."""
    result: list[Slice] = []
    for old in slices:
        for new in moved.get(old, (old,)):
            last = result[-1] if result else None
            if last is not None and (last.object, last.blob, last.start + last.length) == (
                new.object,
                new.blob,
                new.start,
            ):
                result[-1] = Slice(last.object, last.blob, last.start, last.length + new.length)
            else:
                result.append(new)
    return tuple(result)
