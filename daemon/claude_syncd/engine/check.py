"""Verifies the whole vault, object by object: that each is what its name says, and that all fits together."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.core.model import Kind
from claude_syncd.core.status import CheckReport, Finding
from claude_syncd.errors import ObjectMissing, VaultError
from claude_syncd.local.state import State
from claude_syncd.vault import layout
from claude_syncd.vault.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from claude_syncd.core.model import Record, Slice
    from claude_syncd.engine.site import Site
    from claude_syncd.local.devices import Position
    from claude_syncd.vault.area import Area

_AT_ONCE = 16 * 1024 * 1024
_OBJECTS_AT_ONCE = 8
_FINDINGS = 1000


async def check(site: Site, *, read_data: bool) -> CheckReport:
    """Look at every object of the vault. With `read_data` every blob is decrypted, and every file's hash compared.

    Changes nothing, here or there. Raises StoreError when the store can't be read.
    """
    with tempfile.TemporaryDirectory(dir=site.places.state, prefix="check-") as folder:
        state = await site.off_loop(State, Path(folder) / "state.db")
        try:
            reader = Reader(site.store, site.keys, site.pool)  # one that remembers nothing
            return await _Check(site, state, reader).run(read_data=read_data)
        finally:
            state.close()


@dataclass(slots=True)
class _Check:
    """`state` starts empty: it takes in every log and checkpoint as a new device would."""

    site: Site
    state: State
    reader: Reader
    findings: list[Finding] = field(default_factory=list)
    objects: int = 0
    blobs: dict[str, tuple[int, ...]] = field(default_factory=dict)  # object -> lengths of its blobs' plaintexts
    hashes: dict[tuple[str, int], str] = field(default_factory=dict)  # of each log entry

    async def run(self, *, read_data: bool) -> CheckReport:
        read_before = await self.site.off_loop(self.site.state.positions)
        removed = await self._roster()
        areas = await self.reader.areas()
        for device, area in areas.items():
            if device in removed:
                self._found(layout.area(device), "a removed device still has objects: `devices remove` was cut off")
            else:
                await self._area(device, area)
        await self._seen(areas, read_before)
        named = await self.site.off_loop(self._references, areas)
        spare = {
            name: size
            for device, area in areas.items()
            for name, size in area.packs.items()
            if device not in removed and name not in named
        }
        files = read = 0
        if read_data:
            files, read = await self._data()
        return CheckReport(
            objects=self.objects,
            files=files,
            bytes_read=read,
            spare_objects=len(spare),
            spare_bytes=sum(spare.values()),
            findings=self.findings[:_FINDINGS],
            more=max(0, len(self.findings) - _FINDINGS),
        )

    def _found(self, name: str, problem: str) -> None:
        self.findings.append(Finding(object=name, problem=problem))

    async def _roster(self) -> set[str]:
        """The devices that were removed."""
        removed = set()
        numbers = await self.reader.roster_numbers()
        for number in numbers:
            try:
                entry = await self.reader.roster(number)
            except (VaultError, ObjectMissing) as error:
                self._found(layout.roster_name(number), str(error))
                continue
            self.objects += 1
            if entry.name:
                await self.site.off_loop(self.state.joined, entry)
            else:
                removed.add(entry.device)
                await self.site.off_loop(self.state.remove_device, entry.device)
        missing = set(range(1, max(numbers, default=0))) - set(numbers)
        for number in sorted(missing):
            self._found(layout.roster_name(number), "it is missing, and later ones are there")
        return removed

    async def _area(self, device: str, area: Area) -> None:
        self.objects += len(area.log) + len(area.checkpoints) + len(area.packs)
        for seq in sorted(area.checkpoints):
            await self._checkpoint(device, seq, newest=seq == area.newest_checkpoint)
        await self._log(device, area)
        packs = list(area.packs)
        for first in range(0, len(packs), _OBJECTS_AT_ONCE):
            await asyncio.gather(*(self._pack(name) for name in packs[first : first + _OBJECTS_AT_ONCE]))

    async def _checkpoint(self, device: str, seq: int, *, newest: bool) -> None:
        name = layout.checkpoint_name(device, seq)
        try:
            opened = await self.reader.checkpoint(device, seq)
            self.blobs[name] = tuple(blob.plain for blob in opened.blobs)
            if newest:
                await self.site.off_loop(self.state.integrate_checkpoint, opened.checkpoint, opened.records)
            else:
                await self.site.off_loop(_read_through, opened.records)
        except ObjectMissing:
            return  # deleted by its device meanwhile
        except VaultError as error:
            self._found(name, str(error))

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
                self._found(name, str(error))
                continue
            self.blobs[name] = tuple(blob.plain for blob in opened.blobs)
            self.hashes[device, number] = opened.sha256
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

    async def _pack(self, name: str) -> None:
        try:
            self.blobs[name] = await self.reader.plain_sizes(name)
        except ObjectMissing:
            return
        except VaultError as error:
            self._found(name, str(error))

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
        elif self.hashes.get((device, seq), sha256) != sha256:
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

    async def _data(self) -> tuple[int, int]:
        """Decrypt every blob and hash every file. How many files were right, and how many bytes were read."""
        read, files = 0, 0
        done: set[tuple[str, int]] = set()
        bad: dict[str, str] = {}
        hashers: dict[int, hashlib._Hash] = {}
        for group in _groups(self._records()):
            pieces: dict[tuple[str, int], bytes] = {}
            await self._fetch({(s.object, s.blob) for _, _, s, _ in group if s is not None}, pieces, bad)
            for number, record, one, last in group:
                hasher = hashers.setdefault(number, hashlib.sha256())
                if one is not None:
                    plain = pieces.get((one.object, one.blob), b"")
                    hasher.update(plain[one.start : one.start + one.length])
                if last:
                    del hashers[number]
                    if hasher.hexdigest() == record.sha256:
                        files += 1
                    else:
                        self._found(record.path, f"version {record.seq} of device {record.device} can't be read whole")
            done |= pieces.keys()
            read += sum(map(len, pieces.values()))
        left = [(name, n) for name, sizes in self.blobs.items() for n in range(len(sizes)) if (name, n) not in done]
        for first in range(0, len(left), 16):
            rest: dict[tuple[str, int], bytes] = {}
            await self._fetch(set(left[first : first + 16]), rest, bad)
            read += sum(map(len, rest.values()))
        for name, problem in bad.items():
            self._found(name, problem)
        return files, read

    async def _fetch(
        self, wanted: set[tuple[str, int]], pieces: dict[tuple[str, int], bytes], bad: dict[str, str]
    ) -> None:
        wants: dict[str, set[int]] = {}
        for name, blob in wanted:
            wants.setdefault(name, set()).add(blob)

        def take(name: str, blob: int, plain: bytes) -> None:
            pieces[name, blob] = plain

        try:
            await self.reader.blobs(wants, take)
        except (VaultError, ObjectMissing):
            for name, blob in sorted(wanted - pieces.keys()):
                try:
                    await self.reader.blobs({name: {blob}}, take)
                except (VaultError, ObjectMissing) as error:
                    bad.setdefault(name, str(error))


_Part = tuple[int, "Record", "Slice | None", bool]


def _groups(records: Iterable[tuple[Record, tuple[Slice, ...]]]) -> Iterator[list[_Part]]:
    """The slices of all files in order, some MiB at a time; the last of each is marked."""
    group: list[_Part] = []
    size = 0
    for number, (record, slices) in enumerate(records):
        if record.kind is not Kind.FILE:
            continue
        for place, one in enumerate(slices or (None,)):
            group.append((number, record, one, place >= len(slices) - 1))
            size += one.length if one is not None else 0
            if size >= _AT_ONCE or len(group) >= 4096:
                yield group
                group, size = [], 0
    if group:
        yield group


def _read_through(portions: Iterable[object]) -> None:
    for _ in portions:
        pass
