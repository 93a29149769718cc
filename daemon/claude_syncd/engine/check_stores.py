"""Verifies what each store of a vault holds.

The vault as such is checked once, by a copy of each object that is whole, wherever that is: what is found then is lost
or damaged in every store. That leaves the other copies, which only have to be the objects that their names say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from claude_syncd.core.status import Finding, StoreCheck
from claude_syncd.engine.check_vault import OBJECTS_AT_ONCE, check_vault
from claude_syncd.errors import ObjectMissing, StoreError, StoreUnavailable, VaultError
from claude_syncd.store.catch_up import check_headers
from claude_syncd.store.copies import Copies
from claude_syncd.store.member import SEE
from claude_syncd.store.mirror_plan import HEADER, KEYS, View, ends
from claude_syncd.store.retry import Retrying
from claude_syncd.tasks import together
from claude_syncd.vault import layout
from claude_syncd.vault.memory import Budget
from claude_syncd.vault.reader import Reader
from claude_syncd.vault.whole import verify

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from claude_syncd.core.status import CheckReport
    from claude_syncd.engine.check_vault import Checked
    from claude_syncd.engine.site import Site
    from claude_syncd.store.member import Member
    from claude_syncd.store.mirror import Mirrored

_MEMORY: Final = 96 * 1024 * 1024
_ANOTHER: Final = (
    "it is not that of this vault: it is damaged, or this place holds another vault. The store is left alone; if it is "
    "this vault's, move its vault.json away, and it is copied again"
)


async def check_stores(site: Site, mirror: Mirrored, *, read_data: bool) -> CheckReport:
    """As `check`. A store that is out of reach is told as such, and the others are checked.

    Raises StoreError when none is in reach.
    """
    furthest = {member: dict(member.furthest) for member in mirror.members}
    await check_headers(mirror, site.keys.header)
    failed = {member: member.down for member in mirror.members if member.down is not None}
    members, copies, checked = await _check_whole(site, mirror, failed, read_data=read_data)
    each = _EachStore(site, members, copies, checked, read_data=read_data)
    await each.run([furthest[member] for member in members])
    told = {member: each.told(number, mirror.deleted) for number, member in enumerate(members)}
    findings = [one for one in checked.findings if one.object not in checked.unreadable & each.damaged.keys()]
    for member in mirror.members:
        if member in failed:
            problem = f"{member.address} was not checked, it is out of reach: {failed[member]}"
            told[member] = StoreCheck(url=member.address, problem=problem, hint=failed[member].hint)
        elif member not in told:
            findings.append(Finding(object=HEADER, problem=_ANOTHER, store=member.address))
            problem = f"{member.address} was not checked: its vault.json is not that of this vault"
            told[member] = StoreCheck(url=member.address, problem=problem, hint=SEE)
    return replace(checked, findings=[*findings, *each.findings]).report([told[member] for member in mirror.members])


async def _check_whole(
    site: Site, mirror: Mirrored, failed: dict[Member, StoreError], *, read_data: bool
) -> tuple[list[Member], Copies, Checked]:
    """Check the vault by what is whole in one of the stores. Gives those, how it was read from them, and what was
    found; a store that fails on the way is added to `failed`, and it is done without it.
    """
    while True:
        members = [member for member in mirror.members if member not in failed and not member.foreign]
        if not members:
            raise next(iter(failed.values()), StoreUnavailable("no store is left that holds this vault"))
        copies = Copies([Retrying(member.store) for member in members], [member.missed for member in members])
        try:
            for prefix in (HEADER, KEYS):
                await copies.list(prefix)
            reader = Reader(copies, site.keys, site.pool, doubt=copies.doubt)
            return members, copies, await check_vault(site, reader, read_data=read_data)
        except StoreError:
            if not copies.failed:
                raise
            failed |= {members[number]: error for number, error in copies.failed.items()}


class _EachStore:
    """Looks at the copies that the check of the vault did not read. `members` are the stores of `copies`.

    `damaged`: objects with a copy that is no good, and by the number of the store what is wrong with it.
    """

    def __init__(
        self, site: Site, members: Sequence[Member], copies: Copies, checked: Checked, *, read_data: bool
    ) -> None:
        self.findings: list[Finding] = []
        self.damaged: dict[str, dict[int, str]] = {}
        self._site = site
        self._members = members
        self._copies = copies
        self._checked = checked
        self._read_data = read_data
        self._readers = [Reader(store, site.keys, site.pool) for store in copies.stores]
        self._memory = Budget(_MEMORY)
        self._cut_off: dict[int, StoreError] = {}

    async def run(self, furthest: Sequence[Mapping[str, int]]) -> None:
        """Fill in what is found. `furthest`: how far each store's logs are known to have reached."""
        await together(*(self._store(number) for number in range(len(self._members))))
        for name, stores in list(self.damaged.items()):
            others = [number for number in self._copies.holders(name) if number not in stores]
            await together(*(self._closer_look(number, name) for number in others))
        await self._slots()
        for number, ends_before in enumerate(furthest):
            self._rolled_back(number, ends_before)
        for name, stores in sorted(self.damaged.items()):
            self._tell(name, stores)
        for number, member in enumerate(self._members):
            self._note(number, member)

    def told(self, number: int, deleted: Collection[str]) -> StoreCheck:
        """What was found in that store. `deleted`: objects that have gone meanwhile."""
        gone = self._copies.gone.union(deleted)
        here = self._copies.sizes[number]
        everything = {name for sizes in self._copies.sizes for name in sizes if self._counts(name)} - gone
        error = self._cut_off.get(number)
        url = self._members[number].address
        return StoreCheck(
            url=url,
            objects=sum(name in here for name in everything),
            damaged=sum(number in stores for stores in self.damaged.values()),
            behind=sum(name not in here for name in everything),
            problem=f"{url} was not checked to the end: {error}" if error is not None else "",
            hint=error.hint if error is not None else "",
        )

    async def _store(self, number: int) -> None:
        todo = iter([name for name in self._copies.sizes[number] if not self._was_read(number, name)])
        try:
            await together(*(self._work(number, todo) for _ in range(OBJECTS_AT_ONCE)))
        except StoreError as error:
            self._cut_off[number] = error

    async def _closer_look(self, number: int, name: str) -> None:
        """Before the object is said to be whole there."""
        if number in self._cut_off:
            return
        try:
            await self._closely(number, name)
        except StoreError as error:
            self._cut_off[number] = error

    def _was_read(self, number: int, name: str) -> bool:
        """Whether the check of the vault has read that copy, or nobody has to."""
        if layout.try_parse(name) is None or not self._counts(name):
            return True
        sure = name not in self._copies.doubted and name not in self._checked.unreadable
        return sure and self._copies.holders(name)[0] == number

    def _counts(self, name: str) -> bool:
        """What is left of a removed device does not."""
        parsed = layout.try_parse(name)
        return name == HEADER or name.startswith(KEYS) or (parsed is not None and not self._is_removed(parsed.device))

    def _is_removed(self, device: str) -> bool:
        return device in self._checked.removed

    async def _work(self, number: int, todo: Iterator[str]) -> None:
        for name in todo:
            if self._read_data or layout.parse(name).type is not layout.Type.PACK:
                await self._closely(number, name)
            else:
                await self._tail(number, name)

    async def _tail(self, number: int, name: str) -> None:
        try:
            await self._readers[number].plain_sizes(name)
        except ObjectMissing:
            self._copies.gone.add(name)
        except VaultError as error:
            self.damaged.setdefault(name, {})[number] = str(error)

    async def _closely(self, number: int, name: str) -> None:
        """Look at every byte of that copy."""
        try:
            async with self._memory.take(self._copies.sizes[number][name]):
                data = await self._copies.read(number, name)
                digest = await self._site.off_loop(verify, self._site.keys, name, data)
        except ObjectMissing:
            return
        except VaultError as error:
            self.damaged.setdefault(name, {})[number] = str(error)
            return
        if self._checked.digests.get(name, digest) != digest:
            other = self._members[self._copies.holders(name)[0]].address
            self._found(number, name, f"it is another one than in {other}, and both are authentic: see `status`")

    async def _slots(self) -> None:
        """Key slots can't be verified without what opens them: they must be alike."""
        for name in sorted({name for sizes in self._copies.sizes for name in sizes if name.startswith(KEYS)}):
            first: tuple[int, bytes] | None = None
            for number in self._copies.holders(name):
                try:
                    data = await self._copies.read(number, name)
                except ObjectMissing:
                    continue
                except StoreError as error:
                    self._cut_off[number] = error
                    continue
                if first is None:
                    first = number, data
                elif data != first[1]:
                    self._found(number, name, f"it is another one than in {self._members[first[0]].address}")

    def _rolled_back(self, number: int, furthest: Mapping[str, int]) -> None:
        reach = ends(View(self._copies.sizes[number], {}))
        for device, seq in furthest.items():
            end = reach.get(device, 0)
            if end < seq and device in self._checked.devices:
                problem = (
                    f"its log ends at {end} here, and had {seq}: the store was rolled back, or has lost what followed; "
                    "its device copies that there again"
                )
                self._found(number, layout.area(device), problem)

    def _tell(self, name: str, stores: Mapping[int, str]) -> None:
        others = [number for number in self._copies.holders(name) if number not in stores]
        good = next((number for number in others if number not in self._cut_off), None)
        for number, problem in stores.items():
            if good is None or name in self._copies.gone:
                what = "no other store that was looked at has it whole"
            else:
                what = f"{self._members[good].address} has it whole: move it away in this store, and it is copied again"
            self._found(number, name, f"{problem}; {what}")

    def _note(self, number: int, member: Member) -> None:
        """So that devices ask another store first for what is damaged, and `status` says it, until that has changed."""
        for name, stores in self.damaged.items():
            if number in stores:
                member.damaged(name)
        if self._read_data and number not in self._cut_off:
            found = {one.object for one in self.findings if one.store == member.address}
            for name in (member.doubted | member.odd.keys()) - found:
                if layout.try_parse(name) is not None and name in self._copies.sizes[number]:
                    member.whole(name)

    def _found(self, number: int, name: str, problem: str) -> None:
        self.findings.append(Finding(object=name, problem=problem, store=self._members[number].address))
