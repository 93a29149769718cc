"""Cuts what a push uploads into blobs: small files share one, large ones are cut at 1 MiB. Each byte is read once."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from claude_syncd.core.model import Extends, Kind, Record, Slice, join
from claude_syncd.engine.plan import identity_of, is_settled
from claude_syncd.engine.projected import content_of
from claude_syncd.errors import Changed, LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from claude_syncd.core.model import Identity, Local, Vector
    from claude_syncd.core.portable import Root
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site
    from claude_syncd.local.reading import Opener

BLOB = 1024 * 1024
"""No blob holds more plaintext."""
FOLD_AT = 64
"""So many appended slices at the end of a file are folded into whole blobs."""
_WORTH_LOOKING = 32 * 1024  # a smaller content that is in the area under another name is simply sent again


@dataclass(slots=True)
class Draft:
    """One file on its way into a log entry. `record` is set when all of it was read."""

    item: Item
    vector: Vector
    record: Record | None = None
    extends: Extends | None = None
    identity: Identity | None = None
    pieces: list[tuple[int, int, int]] = field(default_factory=list)  # number of the cut, start, length
    ready: tuple[Slice, ...] = ()  # slices in packs that are up already, from a push that was cut off


@dataclass(frozen=True, slots=True)
class Cut:
    """A blob's plaintext. `number` counts the cuts of one feeder from 0; drafts refer to it."""

    number: int
    plain: bytes


class Feeder:
    """Reads the files of one push in order. Synchronous and for one thread at a time."""

    def __init__(self, site: Site, items: Sequence[Item], seq: int) -> None:
        """`seq`: of the log entry that they are for."""
        self._site = site
        self._seq = seq
        self._number = 0  # of the cut that is being filled
        self._filling: list[bytes] = []
        self._filled = 0  # bytes in it
        self._openers: dict[Root, Opener] = {}
        # Every record is looked at for that; most pushes are of files that are known.
        self._sizes = site.state.sizes(site.me) if any(map(_worth_looking, items)) else frozenset[int]()
        self._staged = site.state.staged()
        self.drafts = [Draft(item=i, vector=join(i.outcome.vector, i.own, {site.me: seq})) for i in items]

    def cuts(self) -> Iterator[Cut]:
        """Every blob to seal, in order. A draft without a record afterwards could not be read; it is left out."""
        with ExitStack() as stack:
            self._openers = {root: stack.enter_context(of.opener()) for root, of in self._site.contents.items()}
            for draft in self.drafts:
                problem = f"read:{draft.item.path}"
                try:
                    yield from self._file(draft)
                except Changed:
                    continue  # the next round sees it again
                except LocalError as error:
                    self._site.problems[problem] = str(error)
                else:
                    self._site.problems.pop(problem, None)
            if self._filled:
                yield self._cut()

    def _file(self, draft: Draft) -> Iterator[Cut]:
        item = draft.item
        staged = self._staged.get(item.path)
        same = staged is not None and item.found is not None and staged.identity == item.found.identity
        # What a file of two forms stands for may have changed since, though the file did not.
        if staged is not None and same and (item.local is None or item.local.sha256 in ("", staged.sha256)):
            draft.ready, draft.identity = staged.slices, staged.identity
            if item.local is not None:
                self._finish(draft, replace(item.local, size=staged.size, sha256=staged.sha256))
            return
        if item.local is not None and _worth_looking(item) and item.local.size in self._sizes:
            draft.item = item = self._observed(item)
        if item.fresh:
            yield from self._afresh(draft)
        elif item.local is not None:
            yield from self._known(draft, item.local)

    def _afresh(self, draft: Draft) -> Iterator[Cut]:
        """A file that nothing is known of: hashed as it is read."""
        item = draft.item
        now_ns = self._site.now_ns()
        stream = self._site.contents[item.spot.root].stream(
            item.spot.rel,
            now_ns=now_ns,
            lines=item.lines,
            settled=is_settled(item, now_ns),
            opener=self._openers[item.spot.root],
        )
        for data in stream:
            yield from self._take(draft, data)
        seen = stream.observation
        draft.identity = None if seen.racy or seen.torn else seen.identity
        self._finish(draft, seen.local)  # it may have been written to since it was looked at

    def _known(self, draft: Draft, local: Local) -> Iterator[Cut]:
        """A file whose content is known: only what this device's area does not hold yet is read again."""
        item = draft.item
        read = content_of(self._site, item.spot).read
        draft.extends, start = self._kept(item, local)
        append_from = item.observation.append_from if item.observation is not None else None
        if item.observation is not None and start == (append_from or 0) < local.size:
            for data in read(item.spot.rel, start, local.size, item.observation.rest_sha256):
                yield from self._take(draft, data)
        elif start < local.size:
            # Hashed from its beginning: when appended slices are folded now and then, the whole file is verified.
            yield from self._skipping(draft, start, read(item.spot.rel, 0, local.size, local.sha256))
        draft.identity = identity_of(item)
        self._finish(draft, local)

    def _kept(self, item: Item, local: Local) -> tuple[Extends | None, int]:
        """What of this device's own area the content begins with, and how many bytes that is."""
        state, me = self._site.state, self._site.me
        same = state.same_content(me, local.sha256, local.size)
        if same is not None:
            record, slices = same
            return Extends(path=record.path, seq=record.seq, keep=len(slices)), local.size
        own = next((r for r in state.newest(item.path) if r.device == me and r.kind is Kind.FILE), None)
        base = item.tracked.base if item.tracked is not None else None
        if own is None or base is None or item.observation is None or item.observation.append_from is None:
            return None, 0
        if (own.sha256, own.size) != (base.sha256, base.size):
            return None, 0
        keep, start = fold_point(state.slices(item.path, me), local.size - own.size)
        return Extends(path=item.path, seq=own.seq, keep=keep), start

    def _observed(self, item: Item) -> Item:
        now_ns = self._site.now_ns()
        observation = self._site.contents[item.spot.root].observe(
            item.spot.rel, now_ns=now_ns, lines=item.lines, settled=is_settled(item, now_ns)
        )
        return dataclasses.replace(item, observation=observation, local=observation.local)

    def _skipping(self, draft: Draft, start: int, chunks: Iterable[bytes]) -> Iterator[Cut]:
        position = 0
        for data in chunks:
            end = position + len(data)
            if end > start:
                yield from self._take(draft, data[max(0, start - position) :])
            position = end

    def _take(self, draft: Draft, data: bytes) -> Iterator[Cut]:
        """Put at most 1 MiB into the blob that is being filled, or into the next where it does not fit."""
        if self._filled + len(data) > BLOB:
            yield self._cut()
        draft.pieces.append((self._number, self._filled, len(data)))
        self._filling.append(data)
        self._filled += len(data)
        if self._filled >= BLOB:
            yield self._cut()

    def _cut(self) -> Cut:
        cut = Cut(self._number, b"".join(self._filling))  # a single piece, as most are in a first push, is not copied
        self._number += 1
        self._filling, self._filled = [], 0
        return cut

    def _finish(self, draft: Draft, local: Local) -> None:
        draft.record = Record(
            path=draft.item.path,
            kind=Kind.FILE,
            device=self._site.me,
            seq=self._seq,
            vector=draft.vector,
            size=local.size,
            mtime_ns=local.mtime_ns,
            mode=local.mode,
            sha256=local.sha256,
        )


def _worth_looking(item: Item) -> bool:
    """Whether a content that is not known yet is large enough to look for it under another name."""
    return item.fresh and item.local is not None and item.local.size >= _WORTH_LOOKING


def fold_point(slices: Sequence[Slice], new: int) -> tuple[int, int]:
    """How many of a growing file's slices to keep, and the offset where its upload begins.

    Appended slices stay as they are until 64 of them, or 1 MiB with the `new` bytes, have gathered behind the last
    whole blob; then they are uploaded again as whole blobs.
    """
    keep = len(slices)
    while keep > 0 and slices[keep - 1].length < BLOB:
        keep -= 1
    tail = slices[keep:]
    start = sum(s.length for s in slices[:keep])
    appended = sum(s.length for s in tail)
    if tail and (len(tail) >= FOLD_AT or appended + new >= BLOB):
        return keep, start
    return len(slices), start + appended
