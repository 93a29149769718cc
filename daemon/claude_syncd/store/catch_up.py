"""Brings the members of a mirror up to date, and finds out where they disagree."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreError, StoreUnavailable
from claude_syncd.store.mirror import PATIENCE
from claude_syncd.store.mirror_plan import HEADER, View, compare, ends, is_mutable, resized
from claude_syncd.tasks import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from claude_syncd.store.member import Member
    from claude_syncd.store.mirror import Mirrored
    from claude_syncd.store.mirror_plan import Step

_AT_ONCE: Final = 2
"""Objects copied at a time: pushes and pulls come first."""


async def check_headers(mirror: Mirrored, header: str, *, patience: float = PATIENCE) -> None:
    """Leave out every member that holds another vault, or says nothing for `patience` seconds.

    `header`: SHA-256 (hex) of the bytes of vault.json.
    """

    async def check(member: Member) -> None:
        try:
            async with asyncio.timeout(patience):
                await look(member)
        except TimeoutError:
            mirror.failed(member, StoreUnavailable(f"it does not answer within {patience:g} seconds"))

    async def look(member: Member) -> None:
        found = None
        try:
            found = sha256(await member.store.get(HEADER)).hexdigest()
        except ObjectMissing:
            pass  # it is new, or was emptied: it is filled
        except StoreError as error:
            mirror.failed(member, error)
            return
        mirror.answered(member)
        member.foreign = found is not None and found != header

    await together(*(check(member) for member in mirror.members))


async def catch_up(
    mirror: Mirrored,
    areas: Collection[str],
    devices: Collection[str],
    header: str,
    *,
    whole: Callable[[str, bytes], Awaitable[bool]],
    patience: float = PATIENCE,
) -> int:
    """Bring every member in reach up to date; gives how many objects were copied or deleted. Raises StoreError if none
    is in reach.

    `areas`: the devices whose areas are this one's own. `devices`: all that the vault knows. `header`,
    `patience`: see `check_headers`. `whole`: whether these bytes are the object of that name, as far as that can be
    told; others are copied nowhere. What a member fails at is left for another time.
    """
    await mirror.settled(patience)
    mirror.deleted.clear()
    await check_headers(mirror, header, patience=patience)
    noted = {member: set(member.missed) for member in mirror.members}
    usable = [member for member in mirror.members if not member.foreign and member.down is None]
    listings = await mirror.listings(usable, "")
    mirror.wanted.clear()
    members = [member for member in mirror.members if member in listings]
    views = [View({info.name: info.size for info in listings[member]}, dict(member.missed)) for member in members]
    comparison = compare(views, areas)
    for member, view, lacking, settled in zip(members, views, comparison.lacking, comparison.settled, strict=True):
        member.known = True
        member.lacking = {name for name in lacking | member.lacking if name not in view.sizes} - mirror.deleted
        for name in settled & noted[member]:
            member.missed.pop(name, None)
    copying = _Copying(mirror, members, views, whole)
    await copying.run(comparison.steps)
    after = [
        replace(view, sizes={**view.sizes, **dict.fromkeys(copying.copied.get(member, ()), -1)})
        for member, view in zip(members, views, strict=True)
    ]
    _note_oddities(members, after, resized(views), devices)
    await mirror.save()
    return copying.done


def _note_oddities(
    members: Sequence[Member], views: Sequence[View], sizes: dict[str, list[int]], devices: Collection[str]
) -> None:
    """`sizes`: what `resized` found among these members."""
    for number, (member, view) in enumerate(zip(members, views, strict=True)):
        # Other bytes of the same size were found in passing, and stay until the object is another.
        odd = {name: what for name, what in member.odd.items() if name in view.sizes and name not in sizes}
        reach = ends(view)
        for device, seq in member.furthest.items():
            end = reach.get(device, 0)
            if device in devices and end < seq:
                odd[device] = f"it serves an older state: the log of device {device[:8]} ends at {end}, and had {seq}"
        for device, seq in reach.items():
            member.furthest[device] = max(seq, member.furthest.get(device, 0))
        member.furthest = {device: seq for device, seq in member.furthest.items() if device in devices}
        for name, holders in sizes.items():
            suspects = [holder for holder in holders if name in members[holder].doubted]
            if number in suspects:
                member.damaged(name)
                odd[name] = member.odd[name]
            elif number in holders[1:] and not suspects:
                odd[name] = f"its {name} has another size than that of {members[holders[0]].address}"
        member.odd = odd


class _Copying:
    """Carries out steps, a few at a time; what fails is left. `copied`: names that each member has got."""

    def __init__(
        self,
        mirror: Mirrored,
        members: Sequence[Member],
        views: Sequence[View],
        whole: Callable[[str, bytes], Awaitable[bool]],
    ) -> None:
        self.done = 0
        self.copied: dict[Member, set[str]] = {}
        self._mirror = mirror
        self._members = members
        self._views = views
        self._whole = whole

    async def run(self, steps: Sequence[Step]) -> None:
        todo = iter(steps)
        await together(*(self._work(todo) for _ in range(_AT_ONCE)))

    async def _work(self, todo: Iterator[Step]) -> None:
        for step in todo:
            target = self._members[step.target]
            source = self._members[step.source] if step.source is not None else None
            if is_mutable(step.name):
                async with self._mirror.changing:
                    await self._carry_out(step.name, target, source)
            else:
                await self._carry_out(step.name, target, source)

    async def _carry_out(self, name: str, target: Member, source: Member | None) -> None:
        """Unless it was overtaken by a change since it was decided, or one of the two is down by now."""
        if target.down is not None or not (name in target.missed or name in target.lacking):
            return
        if source is None:
            if target.missed.get(name) and await self._delete(name, target):
                self.done += 1
            return
        data = await self._good_copy(name, target, source)
        if data is None or name in self._mirror.deleted or not await self._put(name, data, target):
            return
        self.done += 1
        self.copied.setdefault(target, set()).add(name)
        if name in self._mirror.deleted and not await self._delete(name, target):
            target.missed[name] = True
            await self._mirror.save()

    async def _good_copy(self, name: str, target: Member, source: Member) -> bytes | None:
        """The object as `source` has it, or, where that is damaged, another member; None if nobody has it whole."""
        able = [
            member
            for member, view in zip(self._members, self._views, strict=True)
            if name in view.sizes and name not in view.missed and member not in (source, target)
        ]
        for member in sorted([source, *able], key=lambda member: name in member.doubted):
            data = await self._read(name, member)
            if data is None:
                return None
            if await self._whole(name, data):
                member.whole(name)
                return data
            member.damaged(name)
        return None

    async def _read(self, name: str, source: Member) -> bytes | None:
        if source.down is not None:
            return None
        try:
            return await source.store.get(name)
        except ObjectMissing:
            return None
        except StoreError as error:
            self._mirror.failed(source, error)
            return None

    async def _put(self, name: str, data: bytes, target: Member) -> bool:
        try:
            await target.store.put(name, data, if_absent=not is_mutable(name) or name not in target.missed)
        except AlreadyExists:
            await self._mirror.agree(target, name, data)
        except StoreError as error:
            self._mirror.failed(target, error)
            return False
        else:
            target.whole(name)
        target.missed.pop(name, None)
        target.reaches(name)
        return True

    async def _delete(self, name: str, target: Member) -> bool:
        try:
            await target.store.delete(name)
        except StoreError as error:
            self._mirror.failed(target, error)
            return False
        target.missed.pop(name, None)
        return True
