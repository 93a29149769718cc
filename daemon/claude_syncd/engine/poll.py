"""Learns what other devices pushed: the roster, each device's log, and this device's own area."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from claude_syncd.core.model import RosterEntry
from claude_syncd.errors import AlreadyExists, IntegrityError, ObjectMissing, VaultError
from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from claude_syncd.core.model import LogEntry
    from claude_syncd.engine.site import Site
    from claude_syncd.local.state import Position

_NEXT_ROSTER = "roster_next"
CATCH_UP = 4
"""Log entries asked for at once while far behind."""


class Poller:
    """Reads logs into the state. One at a time; the round calls it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._next_roster = int(site.state.meta(_NEXT_ROSTER) or 1)

    async def join(self) -> None:
        """Read the whole roster and enter this device under the next free number if it is not there."""
        site = self._site
        await self.roster()
        while site.me not in await site.off_loop(site.state.positions):
            entry = RosterEntry(number=self._next_roster, device=site.me, name=site.name, time_ns=site.now_ns())
            data = await site.off_loop(codec.encode_roster, site.keys, entry)
            try:
                await site.store.put(layout.roster_name(entry.number), data, if_absent=True)
            except AlreadyExists:
                await self.roster()
                continue
            # A store without conditional put may have let another device in under this number: what is there counts.
            await self.roster()

    async def roster(self) -> None:
        """Take in devices that joined since: one GET where nobody did."""
        site = self._site
        while True:
            try:
                entry = await site.reader.roster(self._next_roster)
            except ObjectMissing:
                return
            await site.off_loop(site.state.joined, entry)
            self._next_roster += 1
            await site.off_loop(site.state.set_meta, _NEXT_ROSTER, str(self._next_roster))

    async def relist(self) -> None:
        """Find by listing what guessing names can't: entries that collided on a store without conditional put."""
        for device in await self._site.reader.devices():
            if device not in await self._site.off_loop(self._site.state.positions):
                entry = RosterEntry(number=0, device=device, name=device[:8], time_ns=0)
                await self._site.off_loop(self._site.state.joined, entry)

    async def own_area(self) -> int:
        """Integrate log entries of this device that the state has forgotten: it was lost or restored. How many."""
        return await self._device(self._site.me)

    async def has_twin(self) -> bool:
        """Whether somebody else has written this device's next log entry."""
        position = (await self._site.off_loop(self._site.state.positions)).get(self._site.me)
        return await self._entry(self._site.me, position.seq + 1 if position is not None else 1) is not None

    async def others(self) -> int:
        """Ask every other device's log for its next entry and take in all there is. How many entries came."""
        site = self._site
        positions = await site.off_loop(site.state.positions)
        others = [device for device in positions if device != site.me]
        counts = await asyncio.gather(*(self._reported(device) for device in others))
        if any(counts):
            await self._check_claims()
        return sum(counts)

    async def _reported(self, device: str) -> int:
        """Poll one device; what is wrong with its log is a problem to show, and no reason to skip the others."""
        problem = f"log:{device}"
        try:
            count = await self._device(device)
        except VaultError as error:
            self._site.problems[problem] = str(error)
            return 0
        self._site.problems.pop(problem, None)
        return count

    async def _device(self, device: str) -> int:
        site = self._site
        position = (await site.off_loop(site.state.positions)).get(device)
        seq = position.seq if position is not None else 0
        count, window = 0, 1
        while True:
            fetched = await asyncio.gather(*(self._entry(device, seq + 1 + i) for i in range(window)))
            for opened in fetched:
                if opened is None:
                    return count
                entry, sha256 = opened
                await site.off_loop(site.state.integrate, entry, sha256)
                seq, count = entry.seq, count + 1
            window = min(max(1, count), CATCH_UP)

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
            if _behind(position, seen.seq):
                # It may have been pushed since its log was asked.
                await self._reported(device)
                position = (await site.off_loop(site.state.positions)).get(device)
            problem = f"withheld:{device}"
            if _behind(position, seen.seq):
                error = IntegrityError(
                    f"the store withholds log entry {seen.seq} of device {device}, which another device has seen"
                )
                site.problems[problem] = str(error)
            else:
                site.problems.pop(problem, None)


def _behind(position: Position | None, seq: int) -> bool:
    return position is None or position.seq < seq
