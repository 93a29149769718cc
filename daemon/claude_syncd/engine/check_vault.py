"""Verifies a vault, object by object: that each is what its name says, and that all fits together."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.status import CheckReport, Finding
from claude_syncd.engine.check_data import DataCheck
from claude_syncd.errors import ObjectMissing, VaultError
from claude_syncd.local.state import State
from claude_syncd.tasks import together
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from claude_syncd.core.model import Record, Slice
    from claude_syncd.core.status import StoreCheck
    from claude_syncd.engine.site import Site
    from claude_syncd.local.devices import Position
    from claude_syncd.vault.area import Area
    from claude_syncd.vault.reader import Reader

OBJECTS_AT_ONCE = 8
_FINDINGS = 1000


@dataclass(slots=True)
class Checked:
    """What was found. `unreadable`: objects that are not what they should be, each with a finding. `digests`: SHA-256
    (hex) of each log entry and checkpoint. `spare`: sizes of the objects that nothing names. `read`: bytes.
    """

    findings: list[Finding] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    spare: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    files: int = 0
    read: int = 0

    def report(self, stores: list[StoreCheck] | msgspec.UnsetType = msgspec.UNSET) -> CheckReport:
        """As it is told. `stores`: what was found in each of them."""
        return CheckReport(
            objects=self.objects,
            files=self.files,
            bytes_read=self.read,
            spare_objects=len(self.spare),
            spare_bytes=sum(self.spare.values()),
            findings=self.findings[:_FINDINGS],
            more=max(0, len(self.findings) - _FINDINGS),
            stores=stores,
        )


async def check_vault(site: Site, reader: Reader, *, read_data: bool) -> Checked:
    """Look at every object of a vault. With `read_data` every blob is decrypted, and every file's hash compared.
    `reader`: one that remembers nothing yet.

    Changes nothing, here or there. Raises StoreError when the store can't be read.
    """
    with tempfile.TemporaryDirectory(dir=site.places.state, prefix="check-") as folder:
        state = await site.off_loop(State, Path(folder) / "state.db")
        try:
            return await _Check(site, state, reader).run(read_data=read_data)
        finally:
            state.close()


@dataclass(slots=True)
class _Check:
    """`state` starts empty: it takes in every log and checkpoint as a new device would."""

    site: Site
    state: State
    reader: Reader
    checked: Checked = field(default_factory=Checked)
    blobs: dict[str, tuple[int, ...]] = field(default_factory=dict)  # object -> lengths of its blobs' plaintexts

    async def run(self, *, read_data: bool) -> Checked:
        read_before = await self.site.off_loop(self.site.state.positions)
        removed = await self._roster()
        areas = await self.reader.areas()
        for device, area in areas.items():
            if device in removed:
                self._found(layout.area(device), "a removed device still has objects: `devices remove` was cut off")
            else:
                await self._area(device, area, read_data=read_data)
        await self._seen(areas, read_before)
        named = await self.site.off_loop(self._references, areas)
        self.checked.removed = removed
        self.checked.devices = set(await self.site.off_loop(self.state.positions))
        self.checked.spare = {
            name: size
            for device, area in areas.items()
            for name, size in area.packs.items()
            if device not in removed and name not in named
        }
        if read_data:
            await self._data()
        return self.checked

    def _found(self, name: str, problem: str) -> None:
        self.checked.findings.append(Finding(object=name, problem=problem))

    def _unreadable(self, name: str, problem: str) -> None:
        self.checked.unreadable.add(name)
        self._found(name, problem)

    async def _roster(self) -> set[str]:
        """The devices that were removed."""
        removed = set()
        numbers = await self.reader.roster_numbers()
        for number in numbers:
            try:
                entry = await self.reader.roster(number)
            except (VaultError, ObjectMissing) as error:
                self._unreadable(layout.roster_name(number), str(error))
                continue
            self.checked.objects += 1
            if entry.name:
                await self.site.off_loop(self.state.joined, entry)
            else:
                removed.add(entry.device)
                await self.site.off_loop(self.state.remove_device, entry.device)
        missing = set(range(1, max(numbers, default=0))) - set(numbers)
        for number in sorted(missing):
            self._found(layout.roster_name(number), "it is missing, and later ones are there")
        return removed

    async def _area(self, device: str, area: Area, *, read_data: bool) -> None:
        self.checked.objects += len(area.log) + len(area.checkpoints) + len(area.packs)
        for seq in sorted(area.checkpoints):
            await self._checkpoint(device, seq, newest=seq == area.newest_checkpoint)
        await self._log(device, area)
        packs = list(area.packs)
        for first in range(0, len(packs), OBJECTS_AT_ONCE):
            await together(*(self._pack(name, read_data=read_data) for name in packs[first : first + OBJECTS_AT_ONCE]))

    async def _checkpoint(self, device: str, seq: int, *, newest: bool) -> None:
        name = layout.checkpoint_name(device, seq)
        try:
            opened = await self.reader.checkpoint(device, seq)
            self.blobs[name] = tuple(blob.plain for blob in opened.blobs)
            self.checked.digests[name] = opened.sha256
            if newest:
                await self.site.off_loop(self.state.integrate_checkpoint, opened.checkpoint, opened.records)
            else:
                await self.site.off_loop(_read_through, opened.records)
        except ObjectMissing:
            return  # deleted by its device meanwhile
        except VaultError as error:
            self._unreadable(name, str(error))

    async def _log(self, device: str, area: Area) -> None:
        """Every entry by itself, and those behind the newest checkpoint one after another."""
        position = (await self.site.off_loop(self.state.positions)).get(device)
        seq = position.seq if position is not None else 0
        previous: tuple[int, str] = (0, "")
        for number in sorted(area.log):
            name = layout.log_name(device, number)
            try:
                opened = await self.reader.log_entry(device, number)
            except ObjectMissing:
                continue
            except VaultError as error:
                self._unreadable(name, str(error))
                continue
            self.blobs[name] = tuple(blob.plain for blob in opened.blobs)
            self.checked.digests[name] = opened.sha256
            if previous[0] == number - 1 and opened.entry.prev != previous[1]:
                self._found(name, "it does not continue the entry before it")
            if position is not None and number == position.checkpoint and opened.sha256 != position.sha256:
                self._found(name, "it is not the entry that the checkpoint stands for")
            previous = (number, opened.sha256)
            if number <= seq:
                continue
            try:
                await self.site.off_loop(self.state.integrate, opened.entry, opened.sha256)
            except VaultError as error:
                self._found(name, str(error))
        reached = (await self.site.off_loop(self.state.positions)).get(device)
        if area.newest_entry > (reached.seq if reached is not None else 0):
            self._found(layout.area(device), "its log has a gap, or an entry that can't be read: what follows is lost")

    async def _pack(self, name: str, *, read_data: bool) -> None:
        try:
            self.blobs[name] = await self.reader.plain_sizes(name)
            if read_data:
                await self.reader.head(name)
        except ObjectMissing:
            return
        except VaultError as error:
            self._unreadable(name, str(error))

    async def _seen(self, areas: dict[str, Area], read_before: dict[str, Position]) -> None:
        """What devices, this one among them, have seen of each other's logs must be there."""
        for device, seen in (await self.site.off_loop(self.state.claims)).items():
            self._compare(device, seen.seq, seen.sha256, areas.get(device), "another device has seen it")
        for device, position in read_before.items():
            self._compare(device, position.seq, position.sha256, areas.get(device), "this device has read it")

    def _compare(self, device: str, seq: int, sha256: str, area: Area | None, who: str) -> None:
        if seq == 0 or device not in self.state.positions():
            return
        name = layout.log_name(device, seq)
        if area is None or area.reaches < seq:
            self._found(name, f"it is not there, and {who}: the store was rolled back, or withholds it")
        elif self.checked.digests.get(name, sha256) != sha256:
            self._found(name, f"it is another one than it was when {who}: the store was rolled back or altered")

    def _references(self, areas: dict[str, Area]) -> set[str]:
        """Check that whatever a record names is there. All objects that are named."""
        there = {name for device, area in areas.items() for name in area.objects(device)}
        named: set[str] = set()
        wrong: set[str] = set()
        for record, slices in self._records():
            for one in slices:
                named.add(one.object)
                sizes = self.blobs.get(one.object)
                if one.object not in there:
                    problem = f"{record.path} needs it, and it is missing"
                elif sizes is not None and (one.blob >= len(sizes) or one.start + one.length > sizes[one.blob]):
                    problem = f"{record.path} names bytes of it that are not there"
                else:
                    continue
                if one.object not in wrong:
                    wrong.add(one.object)
                    self._found(one.object, problem)
        return named

    def _records(self) -> Iterator[tuple[Record, tuple[Slice, ...]]]:
        for device in self.state.positions():
            yield from self.state.contents(device)

    async def _data(self) -> None:
        data = DataCheck(self.reader)
        await data.files(self._records())
        await data.rest(self.blobs)
        self.checked.files, self.checked.read = data.right, data.read
        for path, problem in data.wrong:
            self._found(path, problem)
        for name, problem in data.bad.items():
            self._unreadable(name, problem)


def _read_through(portions: Iterable[object]) -> None:
    for _ in portions:
        pass
