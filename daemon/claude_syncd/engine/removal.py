"""Takes a device out of the vault: what only it held is published by this one, then its area is deleted."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.model import Kind, Published, Record, RosterEntry, heads, join
from claude_syncd.core.reconcile import conflict_path
from claude_syncd.engine.moving import Mover
from claude_syncd.engine.outbox import send_left
from claude_syncd.engine.push import BYTES_PER_ENTRY, RECORDS_PER_ENTRY, publish
from claude_syncd.errors import AlreadyExists, UsageError, VaultError
from claude_syncd.tasks import together
from claude_syncd.vault import codec, layout
from claude_syncd.vault.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.core.model import Vector
    from claude_syncd.engine.round import Round
    from claude_syncd.engine.site import Site

_AT_ONCE = 64


def meant(site: Site, device: str) -> str:
    """The id of the device that a user means by an id, the beginning of one, or a name. Raises UsageError."""
    positions = site.state.positions()
    if device in {site.me, site.name} or (len(device) >= 6 and site.me.startswith(device)):
        raise UsageError(
            "a device does not remove itself",
            hint="run `claude-syncctl reset --local` here, then `claude-syncctl devices remove` on another device",
        )
    known = {d: p.name for d, p in positions.items() if d != site.me}
    found = [d for d, name in known.items() if device in {d, name}]
    if not found and len(device) >= 6:
        found = [d for d in [*known, *site.state.removed()] if d.startswith(device)]
    if len(found) != 1:
        what = "no device is" if not found else "more than one device is"
        raise UsageError(f"{what} called {device}", hint="see `claude-syncctl devices`")
    return found[0]


async def remove(round_: Round, device: str) -> int:
    """Remove a device of the vault for good. How many versions were published in its place. Raises StoreError,
    VaultError; what was cut off is finished by the same call.
    """
    site, published = round_.site, 0
    if device not in await site.off_loop(site.state.removed):
        async with round_.between_rounds():
            await send_left(site, round_.outbox)  # or what is published here would take its number
            await round_.poller.relist()
            taken = None
            while (reach := await _read(round_, device)) != taken:  # it may have pushed meanwhile
                taken = reach
                published += await _take_over(round_, device)
            await _strike_out(round_, device)
    await _delete(site, device)
    return published


async def _read(round_: Round, device: str) -> int:
    """Read all that the device has published; how far its log reaches. Raises VaultError where it can't be read."""
    site = round_.site
    await round_.poller.others()
    problem = site.problems.get(f"log:{device}") or site.problems.get(f"withheld:{device}")
    if problem is not None:
        raise VaultError(f"what the device holds can't be read, so it is not removed: {problem}")
    position = (await site.off_loop(site.state.positions)).get(device)
    return position.seq if position is not None else 0


async def _take_over(round_: Round, device: str) -> int:
    site, count = round_.site, 0
    left = iter(await site.off_loop(_needed, site, device))
    while batch := _batch(left):
        positions = await site.off_loop(site.state.positions)
        seq = positions[site.me].seq + 1
        async with Writer(site.keys, site.me, seq, site.store.put, site.pool) as writer:
            mover = Mover(site, writer)
            for one in batch:
                if one.record.device != site.me:
                    await mover.add(one.slices)
            await mover.finish()
            await publish(site, round_.outbox, writer, [_ours(site, one, seq, mover) for one in batch])
        count += len(batch)
    return count


def _batch(left: Iterator[Published]) -> list[Published]:
    batch: list[Published] = []
    size = 0
    for one in islice(left, RECORDS_PER_ENTRY):
        batch.append(one)
        size += one.record.size
        if size >= BYTES_PER_ENTRY // 4:
            break
    return batch


def _ours(site: Site, one: Published, seq: int, mover: Mover) -> Published:
    vector = join(one.record.vector, {site.me: seq})
    record = msgspec.structs.replace(one.record, device=site.me, seq=seq, vector=vector)
    return Published(record=record, slices=mover.repointed(one.slices))


def _needed(site: Site, device: str) -> list[Published]:
    """What has to be published so that nothing changes when the records of `device` are gone. Their records are those
    of the device, or of this one where its own version is published once more.
    """
    return [one for path in site.state.paths() if (one := _needed_of(site, device, path)) is not None]


def _needed_of(site: Site, device: str, path: str) -> Published | None:
    newest = site.state.newest(path)
    theirs = next((r for r in newest if r.device == device), None)
    if theirs is None:
        return None
    now, then = heads(newest), heads([r for r in newest if r is not theirs])
    uncovered = [h for h in then if h not in now]
    mine = next((r for r in newest if r.device == site.me), None)
    if theirs not in now or theirs.kind is Kind.WITHDRAWN:
        return _covering(site, theirs, mine) if uncovered else None
    if not uncovered and any(h is not theirs and _content(h) == _content(theirs) for h in now):
        return None
    if mine is None or mine not in now or mine.kind is not Kind.FILE or _content(mine) == _content(theirs):
        return _instead(site, theirs, path, mine.vector if mine is not None else {})
    if theirs.kind is Kind.FILE:
        # Two sides of a conflict, and a device has one record of a path: the other side is kept beside it.
        kept = conflict_path(path, theirs.sha256)
        known = site.state.newest(kept)
        if path.startswith("conflicts/") or any(h.kind is Kind.FILE for h in heads(known)):
            return _covering(site, theirs, mine)
        return _instead(site, theirs, kept, join(*(r.vector for r in known)))
    return _covering(site, theirs, mine)


def _instead(site: Site, theirs: Record, path: str, own: Vector) -> Published:
    vector = join(own, theirs.vector) if path == theirs.path else own
    record = msgspec.structs.replace(theirs, path=path, vector=vector)
    return Published(record=record, slices=site.state.slices(theirs.path, theirs.device))


def _covering(site: Site, theirs: Record, mine: Record | None) -> Published:
    """What supersedes all that their record superseded: this device's own version once more, or a withdrawal."""
    if mine is None or mine.kind is not Kind.FILE:
        vector = join(theirs.vector, mine.vector if mine is not None else {})
        record = Record(
            path=theirs.path,
            kind=Kind.WITHDRAWN,
            device=theirs.device,
            seq=theirs.seq,
            vector=vector,
            mtime_ns=theirs.mtime_ns,
        )
        return Published(record=record)
    vector = join(mine.vector, {d: s for d, s in theirs.vector.items() if d != theirs.device})
    return Published(
        record=msgspec.structs.replace(mine, vector=vector), slices=site.state.slices(mine.path, mine.device)
    )


def _content(record: Record) -> tuple[Kind, str, int]:
    return (record.kind, record.sha256, record.mode)


async def _strike_out(round_: Round, device: str) -> None:
    """Enter the removal into the roster."""
    site = round_.site
    while device not in await site.off_loop(site.state.removed):
        entry = RosterEntry(number=round_.poller.next_roster, device=device, name="", time_ns=site.now_ns())
        data = await site.off_loop(codec.encode_roster, site.keys, entry)
        with suppress(AlreadyExists):  # somebody else's entry is read, then it is tried under the next number
            await site.store.put(layout.roster_name(entry.number), data, if_absent=True)
        await round_.poller.roster()


async def _delete(site: Site, device: str) -> None:
    names = list((await site.reader.area(device)).objects(device))
    for first in range(0, len(names), _AT_ONCE):
        await together(*(site.store.delete(name) for name in names[first : first + _AT_ONCE]))
    if names:
        await site.store.drop_history()
