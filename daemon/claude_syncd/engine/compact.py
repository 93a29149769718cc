"""Keeps this device's own area small: folds its log into a checkpoint now and then, and deletes what that replaced.

    say      an entry without records now and then: what was seen here; others forget their tombstones by it
    compact  what is alive moves into packs, the checkpoint goes up, the state follows; only the beginning and the end
             of it keep rounds waiting
    sweep    what nothing names any more goes, a day later by elapsed time: a reader may be on its way to it

What a crash leaves behind is packs that nothing names; they are swept like the rest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from claude_syncd.core.compaction import GRACE, MOST_ENTRIES, Live, Terms, Use, due, moving_runs, vacated
from claude_syncd.core.compaction import waited_for as _waited_for
from claude_syncd.core.elapsed import DAY
from claude_syncd.core.model import Checkpoint
from claude_syncd.engine.checkpoints import read_newest
from claude_syncd.engine.moving import Mover
from claude_syncd.engine.push import say_seen, seen_here
from claude_syncd.engine.versions import expire_trash, forget_versions, versions_beyond
from claude_syncd.errors import AlreadyExists, FormatError, ObjectMissing, SyncError
from claude_syncd.log import get_logger
from claude_syncd.tasks import together
from claude_syncd.vault import codec, layout
from claude_syncd.vault.area import Area
from claude_syncd.vault.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from claude_syncd.engine.outbox import Outbox
    from claude_syncd.engine.site import Site
    from claude_syncd.local.devices import Position

    BetweenRounds = Callable[[], AbstractAsyncContextManager[None]]

_log = get_logger(__name__)

LOOK_EVERY = 30.0
AGAIN_AFTER = 600.0
WEIGH_EVERY = 6 * 3600
SWEEP_EVERY = DAY
SAY_EVERY = DAY
_AT_ONCE = 64  # objects deleted while a round waits


class Compactor:
    """Does one thing at a time; `work` is called whenever there may be something to do."""

    def __init__(self, site: Site, between_rounds: BetweenRounds, outbox: Outbox) -> None:
        """`between_rounds()`: while it is entered no round is under way."""
        self._site = site
        self._between_rounds = between_rounds
        self._outbox = outbox

    async def run(self, may: Callable[[], Awaitable[bool]]) -> None:
        """Do what is due, as it becomes due, until cancelled; only while `may` says so."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if await may() and not await self.once():
                await asyncio.sleep(AGAIN_AFTER)

    async def once(self) -> bool:
        """Do what is due now. Whether it went well; what can't be done is told in the log, and waits."""
        try:
            await self.work()
        except SyncError as error:
            _log.warning("compaction was put off", error=str(error), hint=error.hint)
        except Exception:  # noqa: BLE001 - a defect must not end the daemon, nor pass unseen
            _log.exception("internal error")
        else:
            return True
        return False

    async def work(self) -> None:
        """Do what is due. Raises StoreError, VaultError, LocalError; what is not done is done the next time."""
        site = self._site
        lived = await site.off_loop(site.passed)
        mine = await self._mine()
        if await site.off_loop(_has_news, site, mine, lived):
            await self._say()
        if await self._due(lived):
            await self.compact()
            await self.sweep()
        elif await site.off_loop(_may_sweep, site, lived):
            await self.sweep()

    async def _mine(self) -> Position:
        return (await self._site.off_loop(self._site.state.positions))[self._site.me]

    async def _say(self) -> None:
        async with self._between_rounds():
            await say_seen(self._site, self._outbox)

    # -- compact ------------------------------------------------------------------------------------------------------

    async def _due(self, lived: int) -> bool:
        site, mine = self._site, await self._mine()
        if mine.seq < int(await site.off_loop(site.state.meta, _key("not-before", site)) or 0):
            return False
        size = int(await site.off_loop(site.state.meta, _key("checkpoint-size", site)) or 0)
        if due(entries=mine.seq - mine.checkpoint, resting=lived - mine.at, size=size, live=0, dead=0):
            return True
        key = _key("weighed", site)
        if mine.seq == 0 or lived - int(await site.off_loop(site.state.meta, key) or -WEIGH_EVERY) < WEIGH_EVERY:
            return False
        await site.off_loop(site.state.set_meta, key, str(lived))
        if any(device == site.me for _, device, _ in await site.off_loop(versions_beyond, site)):
            return True
        uses = await self._uses(await site.reader.area(site.me), await site.off_loop(_in_use, site))
        sealed = sum(use.sealed for use in uses.values())
        live = sum(use.sealed * use.live // max(use.plain, use.live, 1) for use in uses.values())
        return due(entries=0, resting=0, size=0, live=live, dead=sealed - live)

    async def compact(self) -> None:
        """Write a checkpoint of all until now."""
        site = self._site
        areas = await site.reader.areas()
        area, mine = areas.get(site.me, Area()), await self._mine()
        if area.newest_checkpoint > mine.checkpoint:
            async with self._between_rounds():
                await read_newest(site, site.me, area)  # it went up before a crash
            return
        if mine.seq == 0 or area.reaches != mine.seq:
            return  # another writer under this id, or a store that was rolled back: both are found out elsewhere
        if mine.seq == mine.checkpoint:
            await self._say()
        terms = await self._terms(areas)
        async with self._between_rounds():
            if await site.off_loop(self._outbox.waiting):
                return  # it may extend records as the log has them, and is sealed
            # Not earlier: what the last checkpoint names is not deleted before there is a new one.
            await site.off_loop(forget_versions, site)
            positions = await site.off_loop(site.state.positions)
            seq = await site.off_loop(site.state.begin_checkpoint, site.me, terms)
            checkpoint = Checkpoint(
                device=site.me,
                seq=seq,
                sha256=positions[site.me].sha256,
                time_ns=site.now_ns(),
                name=site.name,
                seen=seen_here(positions, site.me),
            )
        live = await site.off_loop(_outgoing, site)
        leaving = vacated(await self._uses(area, live))
        await self._move(leaving, seq)
        data = await self._encoded(checkpoint)
        if site.me != checkpoint.device:
            return  # a round took a new id meanwhile: that area is another writer's
        if data is None:
            await site.off_loop(site.state.set_meta, _key("not-before", site), str(seq + 8 * MOST_ENTRIES))
            return
        try:
            await site.store.put(layout.checkpoint_name(checkpoint.device, seq), data, if_absent=True)
        except AlreadyExists:
            return  # from an attempt that seemed to fail: the next one finds it
        async with self._between_rounds():
            await site.off_loop(site.state.compacted, checkpoint)
            await site.off_loop(site.state.set_meta, _key("checkpoint-size", site), str(len(data)))
        _log.info("compacted", checkpoint=seq, moved_objects=len(leaving), bytes=len(data))

    async def _terms(self, areas: dict[str, Area]) -> Terms:
        """What may be forgotten. Reads other devices' checkpoints where only those can say that a file is gone."""
        site, state = self._site, self._site.state
        now, retention = state.lived, site.retention_days * DAY
        positions = await site.off_loop(state.positions)
        if await site.off_loop(state.has_old_tombstones, site.me, now - retention):
            async with self._between_rounds():
                for device in positions.keys() - {site.me}:
                    try:
                        await read_newest(site, device, areas.get(device, Area()))
                    except ObjectMissing:
                        continue  # replaced just now; it is read the next time
                await site.off_loop(state.conclude)
        waited = _waited_for({d: p.at for d, p in positions.items() if d != site.me}, now)
        seen = await site.off_loop(state.seen_of, site.me)
        return Terms(
            now=now,
            retention=retention,
            seen_by_all=min((seen.get(device, 0) for device in waited), default=positions[site.me].seq),
            oldest={d: min(area.log) for d, area in areas.items() if area.log and d != site.me},
        )

    async def _uses(self, area: Area, live: Live) -> dict[str, Use]:
        """How much of each object of the own area is in use; what is to be swept anyhow is left out."""
        site = self._site
        used = live.objects()
        known = await site.off_loop(site.state.plain_sizes)
        sizes = {name: known.get(name, 0) for name in area.packs if name in used}

        async def ask(name: str) -> None:
            sizes[name] = sum(await site.reader.plain_sizes(name))

        missing = [name for name, plain in sizes.items() if not plain]
        for first in range(0, len(missing), 8):
            await together(*(ask(name) for name in missing[first : first + 8]))
        await site.off_loop(site.state.note_plain_sizes, sizes)
        spare = await site.off_loop(site.state.spare)
        uses = {}
        for name, sealed in area.objects(site.me).items():
            kind = layout.parse(name).type
            if name in spare or kind is layout.Type.CHECKPOINT:
                continue
            alive = live.bytes_of(name)
            uses[name] = Use(
                log=kind is layout.Type.LOG, sealed=sealed, plain=max(sizes.get(name, 0), alive), live=alive
            )
        return uses

    async def _move(self, leaving: set[str], seq: int) -> None:
        """Have all of the checkpoint that lies in `leaving` written anew."""
        site = self._site
        if not leaving:
            return
        async with Writer(site.keys, site.me, seq, site.store.put, site.pool, inline_limit=0) as writer:
            mover = Mover(site, writer)
            portions = site.state.outgoing_places(leaving)
            while (placed := await site.off_loop(next, portions, None)) is not None:
                for one in placed:
                    for run in moving_runs(one.slices, leaving, fold=one.newest):
                        await mover.add(run)
            await mover.finish()
            await site.off_loop(_repoint, site, mover)

    async def _encoded(self, checkpoint: Checkpoint) -> bytes | None:
        """The sealed checkpoint, without superseded records if it is too large with them; None if it still is."""
        site, problem = self._site, ""
        for _ in range(2):
            records = (record for portion in site.state.outgoing(site.me) for record in portion)
            try:
                return await site.off_loop(codec.encode_checkpoint, site.keys, checkpoint, records)
            except FormatError as error:
                problem = str(error)
            if not await site.off_loop(site.state.leave_out_superseded):
                break
        _log.warning("no checkpoint is written, the log stays as it is", reason=problem)
        return None

    # -- sweep --------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Delete what nothing has named for a day, and note what nothing names now; and what is old in the trash."""
        site = self._site
        deleted = False
        while await self._sweep_some():
            deleted = True
        if deleted:
            await site.store.drop_history()
        async with self._between_rounds():
            await site.off_loop(expire_trash, site)

    async def _sweep_some(self) -> bool:
        """Whether there is more."""
        site = self._site
        async with self._between_rounds():
            mine = await self._mine()
            area = await site.reader.area(site.me)
            # What is not as this device knows it is looked at elsewhere; until then nothing is deleted.
            unsettled = area.newest_checkpoint != mine.checkpoint or area.reaches != mine.seq
            waiting = await site.off_loop(self._outbox.waiting)
            if unsettled or waiting:
                return False
            lived = await site.off_loop(site.passed)
            old = await site.off_loop(_spare, site, area, mine.checkpoint, lived)
            some = old[:_AT_ONCE]
            await together(*(site.store.delete(name) for name in some))
            await site.off_loop(site.state.set_meta, _key("swept", site), str(lived))
            return len(some) > 0


def _key(word: str, site: Site) -> str:
    return f"{word}:{site.me}"


def _has_news(site: Site, mine: Position, lived: int) -> bool:
    """Whether others have published what this device has read and not said so for a day."""
    if lived - mine.at < SAY_EVERY:
        return False
    others = [p for p in site.state.positions().values() if p.device != site.me]
    return any(p.news > site.state.seen_of(p.device).get(site.me, 0) for p in others)


def _may_sweep(site: Site, lived: int) -> bool:
    last = int(site.state.meta(_key("swept", site)) or -SWEEP_EVERY)
    return lived - last >= SWEEP_EVERY or any(lived - since >= GRACE for since in site.state.spare().values())


def _outgoing(site: Site) -> Live:
    live = Live()
    for portion in site.state.outgoing_places():
        for one in portion:
            live.add(one.slices)
    return live


def _in_use(site: Site) -> Live:
    live = Live()
    for slices in site.state.in_use(site.me):
        live.add(slices)
    return live


def _repoint(site: Site, mover: Mover) -> None:
    for portion in site.state.outgoing_places(mover.objects()):
        now = ((one, mover.repointed(one.slices)) for one in portion)
        site.state.repoint([one._replace(slices=new) for one, new in now if new != one.slices])


def _spare(site: Site, area: Area, checkpoint: int, lived: int) -> list[str]:
    """The objects of the own area that nothing has named for the grace, the oldest log entries first."""
    used = site.state.objects_in_use(site.me)
    names = {layout.log_name(site.me, seq) for seq in area.log if seq <= checkpoint}
    names |= {layout.checkpoint_name(site.me, seq) for seq in area.checkpoints if seq < checkpoint}
    names |= area.packs.keys()
    since = site.state.note_spare(names - used)
    return sorted(name for name, then in since.items() if lived - then >= GRACE)
