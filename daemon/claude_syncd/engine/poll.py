"""Learns what other devices pushed: the roster, each device's log and checkpoints, and this device's own area."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from claude_syncd.core.compaction import FENCED
from claude_syncd.core.elapsed import DAY
from claude_syncd.core.model import RosterEntry
from claude_syncd.engine.checkpoints import read_newest
from claude_syncd.engine.publish import publish
from claude_syncd.errors import AlreadyExists, IntegrityError, NotSetUp, ObjectMissing, VaultError
from claude_syncd.vault import codec, layout
from claude_syncd.vault.area import Area

if TYPE_CHECKING:
    from claude_syncd.core.model import LogEntry
    from claude_syncd.engine.site import Site
    from claude_syncd.local.devices import Position

_NEXT_ROSTER = "roster_next"
_LISTED = "listed_ns"
_BEFORE_FENCED = 10 * DAY  # others count from what they heard last, which was before this device listed last
CATCH_UP = 4
"""Log entries asked for at once while far behind."""
FAR = 16
"""So many log entries are not read one by one where a checkpoint stands for them."""


class Poller:
    """Reads logs and checkpoints into the state. One at a time; the round calls it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._next_roster = int(site.state.meta(_NEXT_ROSTER) or 1)
        self._shown: dict[str, Area] = {}

    @property
    def next_roster(self) -> int:
        """The number that the next entry of the roster has."""
        return self._next_roster

    async def begin(self) -> bool:
        """Once at start: be in the roster, take in what this device has written and its state has forgotten, as it was
        lost or restored, and do as `relist` does. One LIST.

        Of the own log one entry more than was listed is asked for: a listing may lack the newest yet, and who does not
        know it takes it for a twin's later.
        """
        site = self._site
        await self.join()
        before = await site.off_loop(site.state.positions)
        areas = await site.reader.areas()
        self._check_reach(before, areas)
        await read_newest(site, site.me, areas.get(site.me, Area()))
        await self._device(site.me)
        self._shown = areas
        return await self._listed(before, areas)

    async def join(self) -> None:
        """Read the whole roster and enter this device under the next free number if it is not there."""
        site = self._site
        await self.roster()
        while site.me not in await site.off_loop(site.state.positions):
            entry = RosterEntry(number=self._next_roster, device=site.me, name=site.name, time_ns=site.now_ns())
            data = await site.off_loop(codec.encode_roster, site.keys, entry)
            try:
                await publish(site.store, layout.roster_name(entry.number), data)
            except AlreadyExists:
                await self.roster()
                continue
            # A store without conditional put may have let another device in under this number: what is there counts.
            await self.roster()

    async def roster(self) -> None:
        """Take in devices that joined or were removed since: one GET where nothing happened. Raises NotSetUp where
        this device was removed.
        """
        site = self._site
        while True:
            try:
                entry = await site.reader.roster(self._next_roster)
            except ObjectMissing:
                return
            if entry.name:
                await site.off_loop(site.state.joined, entry)
            else:
                await self._removed(entry.device)
            self._next_roster += 1
            await site.off_loop(site.state.set_meta, _NEXT_ROSTER, str(self._next_roster))

    async def _removed(self, device: str) -> None:
        """Forget a device that was removed, once what others published in its place is known here."""
        site = self._site
        if device == site.me:
            raise NotSetUp(
                "this device was removed from the vault; its files stay as they are",
                hint="to join again as a new device, run `claude-syncctl reset --local`, then `claude-syncctl init`",
            )
        if device in await site.off_loop(site.state.positions):
            await self.others(but=device)
            await site.off_loop(site.state.remove_device, device)
            for problem in ("log", "withheld", "rolled-back"):
                site.problems.pop(f"{problem}:{device}", None)

    async def relist(self) -> bool:
        """Find by listing what guessing names can't: logs that were compacted, entries of the roster that collided on a
        store without conditional put, a store that was rolled back.

        Whether this device had not looked for so long that others may have forgotten about it.
        """
        site = self._site
        await self.roster()
        before = await site.off_loop(site.state.positions)
        areas = await site.reader.areas()
        self._check_reach(before, areas)
        return await self._listed(before, areas)

    async def _listed(self, before: dict[str, Position], areas: dict[str, Area]) -> bool:
        """Take in what a listing has shown; `before`: what was known when it was asked for."""
        site = self._site
        looked = int(await site.off_loop(site.state.meta, _LISTED) or 0)
        gone = await site.off_loop(site.state.removed)
        for device in areas.keys() - before.keys() - gone:
            entry = RosterEntry(number=0, device=device, name=device[:8], time_ns=0)
            await site.off_loop(site.state.joined, entry)
        for device, area in areas.items():
            # Of the own area: what somebody else wrote under this id tells of a twin.
            if device not in {site.me, *gone} and await self._is_compacted(device, area):
                await self._reported(device, area)
        await site.off_loop(site.state.conclude)
        now = site.now_ns()
        await site.off_loop(site.state.set_meta, _LISTED, str(now))
        return 0 < looked < now - (FENCED - _BEFORE_FENCED) * 1_000_000_000

    async def has_twin(self) -> bool:
        """Whether somebody else has written this device's next log entry, and maybe compacted it since. One LIST."""
        position = (await self._site.off_loop(self._site.state.positions)).get(self._site.me)
        area = await self._site.reader.area(self._site.me)
        return position is not None and area.reaches > position.seq

    async def others(self, but: str = "") -> int:
        """Ask every other device's log for its next entry and take in all there is. How many entries came."""
        positions = await self._site.off_loop(self._site.state.positions)
        return await self._take_in({device: None for device in positions if device != but})

    async def shown(self) -> int:
        """The same right after `begin`: no more is asked for than its listing has shown."""
        areas, self._shown = self._shown, {}
        positions = await self._site.off_loop(self._site.state.positions)
        return await self._take_in({device: areas.get(device) for device in positions})

    async def _take_in(self, areas: dict[str, Area | None]) -> int:
        site = self._site
        await site.off_loop(site.passed)
        others = ((device, area) for device, area in areas.items() if device != site.me)
        counts = await asyncio.gather(*(self._reported(device, area) for device, area in others))
        if any(counts):
            await self._check_claims()
            await site.off_loop(site.state.conclude)
        return sum(counts)

    async def _reported(self, device: str, area: Area | None = None) -> int:
        """Poll one device, or take in what a listing of its `area` has shown, by its newest checkpoint if need be; what
        is wrong with its log is a problem to show, and no reason to skip the others.
        """
        problem = f"log:{device}"
        try:
            if area is not None and await self._is_compacted(device, area):
                await read_newest(self._site, device, area)
            count = await self._device(device, area.newest_entry if area is not None else 0)
        except ObjectMissing:
            return 0  # the checkpoint was replaced by a newer one just now: the next listing shows that
        except VaultError as error:
            self._site.problems[problem] = str(error)
            return 0
        self._site.problems.pop(problem, None)
        return count

    async def _device(self, device: str, listed: int = 0) -> int:
        """Take in what there is of one log; what a listing has shown, up to `listed`, where there was one."""
        site = self._site
        position = (await site.off_loop(site.state.positions)).get(device)
        seq = position.seq if position is not None else 0
        count, window = 0, 1
        while not 0 < listed <= seq:
            if listed > seq:
                window = min(listed - seq, CATCH_UP)
            fetched = await asyncio.gather(*(self._entry(device, seq + 1 + i) for i in range(window)))
            for opened in fetched:
                if opened is None:
                    return count
                entry, sha256 = opened
                await site.off_loop(site.state.integrate, entry, sha256)
                seq, count = entry.seq, count + 1
            window = min(max(1, count), CATCH_UP)
        return count

    async def _is_compacted(self, device: str, area: Area) -> bool:
        """Whether to go on from the device's newest checkpoint: nothing of its log was read, its next entry is gone, or
        far more of them wait.
        """
        position = (await self._site.off_loop(self._site.state.positions)).get(device)
        seq = position.seq if position is not None else 0
        far = seq == 0 or seq + 1 not in area.log or area.newest_checkpoint - seq >= FAR
        return far and area.newest_checkpoint > seq

    async def _entry(self, device: str, seq: int) -> tuple[LogEntry, str] | None:
        try:
            opened = await self._site.reader.log_entry(device, seq)
        except ObjectMissing:
            return None
        return opened.entry, opened.sha256

    async def _check_claims(self) -> None:
        """Compare how far each log reaches with how far other devices have seen it reach: a store that hides
        entries, or shows an older state, is found out.
        """
        site = self._site
        claims = await site.off_loop(site.state.claims)
        for device, seen in claims.items():
            position = (await site.off_loop(site.state.positions)).get(device)
            if position is None:
                continue  # not in the roster yet, or not any more
            if position.seq < seen.seq:
                # It may have been pushed since its log was asked, or compacted.
                await self._reported(device)
                position = (await site.off_loop(site.state.positions)).get(device)
            if position is not None and position.seq < seen.seq:
                await self._reported(device, await site.reader.area(device))
                position = (await site.off_loop(site.state.positions)).get(device)
            problem = f"withheld:{device}"
            if position is not None and position.seq < seen.seq:
                error = IntegrityError(
                    f"the store withholds log entry {seen.seq} of device {device}, which another device has seen"
                )
                site.problems[problem] = str(error)
            else:
                site.problems.pop(problem, None)

    def _check_reach(self, positions: dict[str, Position], areas: dict[str, Area]) -> None:
        """Tell of areas that show less than was read before: a device never takes back what it wrote."""
        for device, position in positions.items():
            area = areas.get(device, Area())
            problem = f"rolled-back:{device}"
            if area.reaches < position.seq or area.newest_checkpoint < position.checkpoint:
                whose = "this device" if device == self._site.me else f"device {device}"
                error = IntegrityError(
                    f"the store shows {whose} as of log entry {area.reaches}, but entry {position.seq} was read before:"
                    " it was rolled back"
                )
                self._site.problems[problem] = str(error)
            else:
                self._site.problems.pop(problem, None)
