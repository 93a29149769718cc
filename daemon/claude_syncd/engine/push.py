"""Push: one log entry for all that changed here, with packs before it when there is much."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.model import Base, Extends, Kind, LogEntry, Published, Record, Seen, Slice, base_of, heads, join
from claude_syncd.core.reconcile import Action, conflict_path
from claude_syncd.core.status import Progress
from claude_syncd.engine.feed import Draft, Feeder
from claude_syncd.engine.outbox import send_left, send_new
from claude_syncd.local.state import Staged, Tracked
from claude_syncd.tasks import together
from claude_syncd.vault import codec, layout
from claude_syncd.vault.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.core.model import Vector
    from claude_syncd.engine.outbox import Outbox
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site
    from claude_syncd.local.devices import Position

RECORDS_PER_ENTRY = layout.MAX_RECORDS
BYTES_PER_ENTRY = 4 * 1024**3
INDEX_PER_ENTRY = 8 * 1024**2  # half of what a reader takes
_LANES = 2
_AT_ONCE = 8  # blobs that a lane reads and seals in one go: each trip to a worker's thread costs the loop something


@dataclass(slots=True)
class Pushed:
    """What a push did, and which paths it has to see again."""

    uploaded: int = 0
    deleted: int = 0
    conflicts: int = 0
    again: list[str] = field(default_factory=list)


async def push(site: Site, outbox: Outbox, items: Sequence[Item]) -> Pushed:
    """Publish the UPLOAD and DELETE items and the withdrawals among `items`. Raises StoreError; what was published
    before stays, and packs that are up are not sent again.

    An entry that still waits goes out instead: `items` were planned without it, so all of them are seen again.
    """
    done = Pushed()
    if items and await send_left(site, outbox):
        done.again += [i.path for i in items]
        return done
    staged = await site.off_loop(site.state.staged)
    if items and staged:
        # A copy of this device that runs elsewhere may have found that nothing names these packs.
        area = await site.reader.area(site.me)
        await site.off_loop(site.state.unstage_lost, area.packs.keys())
    for batch in _batches(items):
        await _push_batch(site, outbox, batch, done)
    return done


def _batches(items: Iterable[Item]) -> Iterable[list[Item]]:
    batch: list[Item] = []
    content = index = records = 0
    for item in sorted(items, key=lambda i: i.path):
        size = item.local.size if item.local is not None else 0
        own = 1 if item.outcome.withdraw is None else 2  # and that of the kept side
        row = own * _index_bytes(item, size)
        full = records + own > RECORDS_PER_ENTRY or content + size > BYTES_PER_ENTRY or index + row > INDEX_PER_ENTRY
        if batch and full:
            yield batch
            batch, content, index, records = [], 0, 0, 0
        batch.append(item)
        content, index, records = content + size, index + row, records + own
    if batch:
        yield batch


def _index_bytes(item: Item, size: int) -> int:
    """About what a record takes in the index; an entry whose index is too large could not be published at all."""
    devices = len(item.outcome.vector) + len(item.own)
    return 2 * len(item.path.encode()) + 50 * devices + 40 * (size >> 20) + 300


async def _push_batch(site: Site, outbox: Outbox, items: list[Item], done: Pushed) -> None:
    positions = await site.off_loop(site.state.positions)
    seq = positions[site.me].seq + 1
    uploads = [i for i in items if i.outcome.action is Action.UPLOAD]
    feeder = await site.off_loop(Feeder, site, uploads, seq)
    staging = _Staging(feeder)
    async with Writer(site.keys, site.me, seq, site.store.put, site.pool, noted=staging.noted) as writer:
        await _feed(site, feeder, writer, staging)
        records = await site.off_loop(_compose, site, items, feeder.drafts, writer, seq)
        done.again += [d.item.path for d in feeder.drafts if d.record is None]
        if not records:
            return
        kept = sum(p.record.path.startswith("conflicts/") and p.extends is not None for p in records)
        records = await site.off_loop(_standing_alone, site, records)
        entry = _entry(site, positions, records)
        await site.off_loop(site.state.check, entry)
        data = await writer.entry(entry)
    await send_new(site, outbox, entry, data)
    await site.off_loop(_settle, site, items, feeder.drafts, records, seq)
    done.uploaded += sum(d.record is not None for d in feeder.drafts)
    done.deleted += sum(i.outcome.action is Action.DELETE for i in items)
    done.conflicts += kept


def _entry(site: Site, positions: dict[str, Position], records: list[Published]) -> LogEntry:
    mine = positions[site.me]
    return LogEntry(
        device=site.me,
        seq=mine.seq + 1,
        prev=mine.sha256,
        time_ns=site.now_ns(),
        name=site.name,
        seen=seen_here(positions, site.me),
        records=tuple(records),
    )


async def publish(site: Site, outbox: Outbox, writer: Writer, records: list[Published]) -> None:
    """Write the next log entry, with `records` and what the finished `writer` holds. Raises StoreError, FormatError."""
    entry = _entry(site, await site.off_loop(site.state.positions), records)
    await site.off_loop(site.state.check, entry)
    await send_new(site, outbox, entry, await writer.entry(entry))


async def say_seen(site: Site, outbox: Outbox) -> None:
    """Publish how far this device has read the others' logs, and nothing else. Raises StoreError."""
    if await send_left(site, outbox):
        return  # that one has said it
    entry = _entry(site, await site.off_loop(site.state.positions), [])
    await send_new(site, outbox, entry, await site.off_loop(codec.encode_log, site.keys, entry, []))


def _standing_alone(site: Site, records: list[Published]) -> list[Published]:
    """The records with all of their slices where they would extend one that a checkpoint has written anew, or may: not
    every reader has the same slices of it.
    """
    floor = site.state.floor(site.me)
    return [
        p
        if p.extends is None or p.extends.seq > floor
        else Published(
            record=p.record, slices=(*site.state.slices(p.extends.path, site.me)[: p.extends.keep], *p.slices)
        )
        for p in records
    ]


def seen_here(positions: dict[str, Position], me: str) -> dict[str, Seen]:
    """How far this device has read the others' logs."""
    return {p.device: Seen(p.seq, p.sha256) for p in positions.values() if p.device != me and p.seq > 0}


async def _feed(site: Site, feeder: Feeder, writer: Writer, staging: _Staging) -> None:
    """Read, seal and collect. Each lane reads in turn and seals what it read while another one reads, so that no more
    than a few blobs are held and no worker waits for another's result.
    """
    turn = threading.Lock()
    cuts = feeder.cuts()
    done = 0
    total = sum(d.item.local.size for d in feeder.drafts if d.item.local is not None)

    def sealed() -> list[tuple[int, codec.Sealed]]:
        with turn:
            taken = list(islice(cuts, _AT_ONCE))
        return [(cut.number, codec.seal_chunk(site.keys, cut.plain)) for cut in taken]

    async def lane() -> None:
        nonlocal done
        while blobs := await site.off_loop(sealed):
            await writer.add_sealed(blobs)
            done += sum(blob.plain for _, blob in blobs)
            if staging.news:
                await site.off_loop(staging.flush, site, writer)
            site.progress(
                Progress(phase="upload", done=0, total=len(feeder.drafts), bytes_done=done, bytes_total=total)
            )

    try:
        await together(*(lane() for _ in range(_LANES)))
        await writer.finish()
    finally:
        staging.flush(site, writer)  # a push that is cut off here resumes after what is up; no more than a few rows


class _Staging:
    """Notes in the state which files are in packs that are up."""

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder
        self._up: set[int] = set()
        self._turn = threading.Lock()
        self.news = False
        """Whether a pack is up that nothing is noted of yet."""
        self._next = 0  # drafts before this one are noted, or never will be

    def noted(self, name: str, tickets: list[int]) -> None:
        """The writer's word that a pack is durable."""
        del name
        self._up.update(tickets)
        self.news = True

    def flush(self, site: Site, writer: Writer) -> None:
        """Write down the files that are whole since the last time. Files go up in order, so packs do, nearly."""
        with self._turn:
            self.news = False
            whole = []
            drafts = self._feeder.drafts
            while self._next < len(drafts):
                draft = drafts[self._next]
                if draft.record is None or any(ticket not in self._up for ticket, _, _ in draft.pieces):
                    break
                self._next += 1
                if draft.pieces and draft.identity is not None and draft.extends is None:
                    record = draft.record
                    slices = _slices(draft, writer)
                    whole.append(
                        Staged(
                            path=record.path,
                            identity=draft.identity,
                            size=record.size,
                            sha256=record.sha256,
                            slices=slices,
                        )
                    )
            if whole:
                site.state.stage(whole)


def _slices(draft: Draft, writer: Writer) -> tuple[Slice, ...]:
    slices = list(draft.ready)
    for ticket, start, length in draft.pieces:
        name, blob = writer.place(ticket)
        slices.append(Slice(name, blob, start, length))
    return tuple(slices)


def _compose(site: Site, items: list[Item], drafts: list[Draft], writer: Writer, seq: int) -> list[Published]:
    published = [
        Published(record=d.record, extends=d.extends, slices=_slices(d, writer)) for d in drafts if d.record is not None
    ]
    writing = {p.record.path for p in published}
    failed = {d.item.path for d in drafts if d.record is None}
    for item in items:
        outcome = item.outcome
        if outcome.action is Action.DELETE:
            published.append(
                Published(
                    record=Record(
                        path=item.path,
                        kind=Kind.TOMBSTONE,
                        device=site.me,
                        seq=seq,
                        vector=join(outcome.vector, item.own, {site.me: seq}),
                        mtime_ns=site.now_ns(),
                    )
                )
            )
            writing.add(item.path)
        if outcome.withdraw is None or item.path in failed:
            continue
        lost = outcome.withdraw
        if item.path not in writing:
            published.append(_instead(site, item, lost, join(lost.vector, item.own, {site.me: seq})))
            writing.add(item.path)
        kept = conflict_path(item.path, lost.sha256)
        if not outcome.keep_withdrawn or lost.device != site.me or kept in writing:
            continue
        newest = site.state.newest(kept)
        known = heads(newest)
        if not any(h.kind is Kind.FILE for h in known):
            writing.add(kept)
            ancestors = (r.vector for r in newest if r in known or r.device == site.me)
            published.append(_kept(site, lost, kept, join({site.me: seq}, *ancestors)))
    return published


def _instead(site: Site, item: Item, lost: Record, vector: Vector) -> Published:
    """What supersedes a losing side: a withdrawal, or this device's own winning record once more."""
    affirm = item.outcome.affirm
    if affirm is None:
        return Published(
            record=Record(
                path=item.path,
                kind=Kind.WITHDRAWN,
                device=site.me,
                seq=vector[site.me],
                vector=vector,
                mtime_ns=lost.mtime_ns,
            )
        )
    slices = site.state.slices(item.path, site.me)
    return Published(
        record=msgspec.structs.replace(affirm, seq=vector[site.me], vector=vector),
        extends=Extends(path=item.path, seq=affirm.seq, keep=len(slices)) if slices else None,
    )


def _kept(site: Site, lost: Record, path: str, vector: Vector) -> Published:
    """The losing side under its new name: the bytes are in this device's area already. It supersedes the end of an
    earlier conflict between the same contents.
    """
    return Published(
        record=Record(
            path=path,
            kind=Kind.FILE,
            device=site.me,
            seq=vector[site.me],
            vector=vector,
            size=lost.size,
            mtime_ns=lost.mtime_ns,
            mode=lost.mode,
            sha256=lost.sha256,
        ),
        extends=Extends(path=lost.path, seq=lost.seq, keep=len(site.state.slices(lost.path, site.me))),
    )


def _settle(site: Site, items: list[Item], drafts: list[Draft], records: list[Published], seq: int) -> None:
    """The log entry is up: what was read for it is the base now."""
    state = site.state
    whole = {p.record.path: p.slices for p in records if p.extends is None}
    tracked = []
    for draft in drafts:
        record, item = draft.record, draft.item
        if record is not None:
            base = base_of(record, record.vector)
            local_mode = item.found.mode if item.found is not None else record.mode
            slices = whole.get(item.path)
            if slices is None:
                slices = state.slices(item.path, site.me)
            tracked.append(
                (item.path, Tracked(base=base, identity=draft.identity, local_mode=local_mode, slices=slices))
            )
    for item in items:
        if item.outcome.action is Action.DELETE:
            vector = join(item.outcome.vector, item.own, {site.me: seq})
            tracked.append((item.path, Tracked(base=Base(kind=Kind.TOMBSTONE, vector=vector))))
    # Another device's version that this one does not cover may be what belongs here now: it is decided again.
    shared = state.shared([path for path, _ in tracked], site.me)
    contested = {path for path, known in state.known(shared).items() if len(heads(known.newest)) > 1}
    state.track([t for t in tracked if t[0] not in contested])
    state.track([t for t in tracked if t[0] in contested], finished=False)
    state.unstage()
