"""A store made of several that hold the same vault: docs/decisions/0021-mirrors.md says what it promises."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreError, StoreUnavailable, SyncError
from claude_syncd.store.member import Givers, Member, Standing, members_of, notes_of
from claude_syncd.store.mirror_plan import is_mutable
from claude_syncd.store.names import check_size, name_parts, prefix_parts
from claude_syncd.tasks import drop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from claude_syncd.store.base import ObjectInfo, Span, Store

_Task = asyncio.Task[StoreError | None]

PATIENCE: Final = 10.0
"""Seconds after which a member that is silent is not waited for where another may answer."""
FAREWELL: Final = 1.0
"""Seconds that `close` waits for what is under way to slower members; what is cut off is caught up another time."""
OWED: Final = 64 * 1024 * 1024
"""Bytes under way to a member that nobody waits for; what is more is copied to it later."""


class Mirrored:
    """Implements Store over `stores`, the preferred first. A member that failed is left out until it was caught up.

    `notes`: what `save` was given in an earlier run. `save` makes the notes durable, off the loop; None: they
    are forgotten. `wanted` is set when a member that is up has something to be caught up with.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        *,
        notes: bytes | None = None,
        save: Callable[[bytes], None] | None = None,
        patience: float = PATIENCE,
        farewell: float = FAREWELL,
    ) -> None:
        self.members = members_of(stores, notes)
        self.wanted = asyncio.Event()
        self.changing = asyncio.Lock()  # one change of an object that can be overwritten at a time
        self.deleted: set[str] = set()  # since the last catching up began
        self._save = save
        self._saving = asyncio.Lock()
        self._patience = patience
        self._farewell = farewell
        self._late: dict[_Task, tuple[Member, str]] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._givers = Givers()

    @property
    def address(self) -> str:
        """That of the first."""
        return self.members[0].address

    def standing(self) -> Sequence[Standing]:
        """How each member is."""
        return [member.standing() for member in self.members]

    # -- the port ---------------------------------------------------------------------------------------------------

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store: durable in one member. Immutable objects are sent to the others behind the caller's back."""
        name_parts(name)
        check_size(name, len(data))
        self.deleted.discard(name)
        if is_mutable(name):
            async with self.changing:
                await self._overwrite(name, data, if_absent=if_absent)
        else:
            await self._put_once(name, data, if_absent=if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store. Members out of reach may have an object that is said to be missing, if its name is guessed."""
        name_parts(name)
        guessed = name.startswith("roster/") or "/log/" in name
        stale = [member for member in self._usable() if name in member.missed]
        sure = [member for member in self._usable() if name not in member.missed]
        order = sorted(sure, key=lambda member: (name in member.doubted, name in member.lacking))
        up = [member for member in order if member.down is None]
        asked = up if up and guessed else [*up, *(member for member in order if member.down is not None)]
        try:
            member, data = await self._first(asked, name, span, believed=guessed)
        except StoreError as error:
            if not stale or isinstance(error, ObjectMissing):
                raise
            member, data = await self._first(stale, name, span, believed=guessed)
        member.reaches(name)
        self._givers.note(name, member)
        return data

    def doubt(self, name: str, error: SyncError) -> bool:
        """What `get` gave of this object last can't be read; whether another member may have it. See Givers."""
        return self._givers.doubt(name, error, self._usable())

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store: whatever is in one of the members that are in reach."""
        prefix_parts(prefix)
        found: dict[str, ObjectInfo] = {}
        listings = await self.listings(self._up(), prefix, patience=self._patience)
        for member in sorted(listings, key=self.members.index, reverse=True):
            hidden = member.missed if len(listings) > 1 else {}
            found |= {info.name: info for info in listings[member] if info.name not in hidden}
        return [found[name] for name in sorted(found)]

    async def delete(self, name: str) -> None:
        """See Store: gone from one, and noted where it is not gone yet."""
        name_parts(name)
        self.deleted.add(name)
        if is_mutable(name):
            async with self.changing:
                await self._delete(name)
        else:
            await self._delete(name)

    async def drop_history(self) -> None:
        """See Store."""
        for member in self._up():
            with suppress(StoreError):
                await member.store.drop_history()

    async def close(self) -> None:
        """See Store."""
        if self._following:
            await asyncio.wait(self._following, timeout=self._farewell)
        await drop([*self._late, *self._following])
        with suppress(SyncError):  # nothing is lost with it that listings do not tell
            await self.save()
        await asyncio.gather(*(member.store.close() for member in self.members))

    # -- what the catching up needs ---------------------------------------------------------------------------------

    async def settled(self, patience: float | None = None) -> None:
        """Wait for what is under way to slower members, at most for so many seconds."""
        if self._following:
            await asyncio.wait(self._following, timeout=patience)

    async def listings(
        self, members: Iterable[Member], prefix: str, *, patience: float | None = None
    ) -> dict[Member, Sequence[ObjectInfo]]:
        """What each of `members` lists; those that fail are down, and left out. Raises StoreError if all do.

        `patience`: seconds to wait for the others after the first has answered.
        """
        running = {asyncio.create_task(_listed(member.store, prefix)): member for member in members}
        found: dict[Member, Sequence[ObjectInfo]] = {}
        errors: list[StoreError] = []
        try:
            while running:
                done, _ = await asyncio.wait(
                    running, timeout=patience if found else None, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                for task in done:
                    member = running.pop(task)
                    try:
                        found[member] = task.result()
                    except StoreError as error:
                        self.failed(member, error)
                        errors.append(error)
                    else:
                        self.answered(member)
        finally:
            await drop(running)
        if not found:
            raise errors[0] if errors else StoreUnavailable("no store is in reach")
        return found

    def failed(self, member: Member, error: StoreError) -> None:
        """Leave the member out until it is caught up."""
        member.known = True
        if member.down is None:
            self.wanted.set()
        member.down = error

    def answered(self, member: Member) -> None:
        """It is up."""
        if member.down is not None:
            self.wanted.set()
        member.down = None

    async def save(self) -> None:
        """Make the notes durable; calls at the same time may share one writing."""
        if self._save is None:
            return
        async with self._saving:
            await asyncio.to_thread(self._save, notes_of(self.members))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _usable(self) -> Sequence[Member]:
        """All but those that hold another vault; all if that were none."""
        return [member for member in self.members if not member.foreign] or list(self.members)

    def _up(self) -> Sequence[Member]:
        return [member for member in self._usable() if member.down is None] or self._usable()

    async def _first(
        self, members: Sequence[Member], name: str, span: Span | None, *, believed: bool
    ) -> tuple[Member, bytes]:
        """Get an object from the first member that has it: the next is asked where one has not, fails or is slow.

        Raises ObjectMissing if all that answer say so, and either all answer or `believed`; else their first error.
        """
        waiting, running = deque(members), dict[asyncio.Task[bytes], Member]()
        missing: ObjectMissing | None = None
        errors: list[StoreError] = []
        try:
            while waiting or running:
                if waiting:
                    member = waiting.popleft()
                    running[asyncio.create_task(member.store.get(name, span))] = member
                done, _ = await asyncio.wait(
                    running, timeout=self._patience if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    member = running.pop(task)
                    try:
                        data = task.result()
                    except ObjectMissing as error:
                        missing = error
                        self.answered(member)
                    except StoreError as error:
                        errors.append(error)
                        self.failed(member, error)
                    else:
                        self.answered(member)
                        return member, data
        finally:
            await drop(running)
        if missing is not None and (believed or not errors):
            raise missing
        raise errors[0] if errors else StoreUnavailable("no store is left that holds this vault")

    async def _put_once(self, name: str, data: bytes, *, if_absent: bool) -> None:
        if if_absent:
            # Who sent it without a condition has been told that it is there, maybe by another member than is asked now.
            await self._sent_before(name, self._patience)
        up = self._up()
        chosen = [member for member in up if member.owed + len(data) <= OWED] or up[:1]
        for member in self.members:
            if member not in chosen:
                member.lacking.add(name)
                self._wanted_by(member)
        waiting, running = deque(chosen), set[_Task]()
        errors: list[StoreError] = []
        try:
            while waiting or running:
                while waiting:
                    running.add(self._sent(waiting.popleft(), name, data, if_absent=if_absent))
                    if if_absent:
                        break
                done, running = await asyncio.wait(
                    running, timeout=self._patience if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                outcomes = [task.result() for task in done]
                if None in outcomes:
                    running.update(self._sent(member, name, data, if_absent=if_absent) for member in waiting)
                    for task in running:
                        self._follow(task, data)
                    return
                errors += [outcome for outcome in outcomes if outcome is not None]
                if any(isinstance(outcome, AlreadyExists) for outcome in outcomes):
                    break
        except BaseException:
            await drop(running)
            raise
        await drop(running)
        taken = [error for error in errors if isinstance(error, AlreadyExists)]
        if taken:
            self.wanted.set()  # the others may lack what is there
        raise (taken or errors)[0]

    def _sent(self, member: Member, name: str, data: bytes, *, if_absent: bool) -> _Task:
        async def send() -> StoreError | None:
            member.owed += len(data)
            member.lacking.add(name)
            try:
                await member.store.put(name, data, if_absent=if_absent)
            except AlreadyExists as error:
                member.lacking.discard(name)
                return error
            except StoreError as error:
                self.failed(member, error)
                return error
            finally:
                member.owed -= len(data)
            self.answered(member)
            member.reaches(name)
            if member.missed.pop(name, None) is not None:
                await self.save()  # or a later run would delete it as it was to be deleted once
            return None

        task = asyncio.create_task(send())
        self._late[task] = (member, name)
        task.add_done_callback(self._late.pop)
        return task

    async def _sent_before(self, name: str, patience: float | None) -> None:
        """Wait for what is under way to members under a name, at most for so many seconds."""
        if under_way := [task for task, (_, late) in self._late.items() if late == name]:
            await asyncio.wait(under_way, timeout=patience)

    def _follow(self, task: _Task, data: bytes) -> None:
        """See to the end of a put that nobody waits for."""
        if task.done():
            return
        member, name = self._late[task]

        async def follow() -> None:
            if isinstance(await task, AlreadyExists):
                await self.agree(member, name, data)

        following = asyncio.create_task(follow())
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _overwrite(self, name: str, data: bytes, *, if_absent: bool) -> None:
        """Put what may be overwritten: one member decides, and all others that are up have it before it is done."""
        landed: list[Member] = []
        errors: list[StoreError] = []
        for member in self._up():
            try:
                await member.store.put(name, data, if_absent=if_absent and not landed)
            except AlreadyExists:
                raise
            except StoreError as error:
                self.failed(member, error)
                errors.append(error)
            else:
                self.answered(member)
                landed.append(member)
        await self._changed(name, landed, errors, deleted=False)

    async def _delete(self, name: str) -> None:
        await self._sent_before(name, None)
        landed: list[Member] = []
        errors: list[StoreError] = []

        async def delete(member: Member) -> None:
            try:
                await member.store.delete(name)
            except StoreError as error:
                self.failed(member, error)
                errors.append(error)
            else:
                self.answered(member)
                landed.append(member)

        await asyncio.gather(*map(delete, self._up()))
        for member in landed:
            member.lacking.discard(name)
        await self._changed(name, landed, errors, deleted=True)

    async def _changed(
        self, name: str, landed: Sequence[Member], errors: Sequence[StoreError], *, deleted: bool
    ) -> None:
        """Note who has missed a change that has `landed` somewhere. Raises the first of `errors` if nowhere."""
        if not landed:
            raise errors[0]
        noted = False
        for member in self.members:
            if member in landed:
                noted |= member.missed.pop(name, None) is not None
            elif member.missed.get(name) is not deleted and not member.foreign:
                member.missed[name] = deleted
                member.lacking.discard(name)
                self._wanted_by(member)
                noted = True
        if noted:
            await self.save()

    async def agree(self, member: Member, name: str, data: bytes) -> None:
        """See whether what stands under a name that was taken is what belongs there."""
        try:
            same = await member.store.get(name) == data
        except StoreError:
            return
        member.odd.pop(name, None)
        if same:
            member.reaches(name)
        elif name.startswith("devices/"):
            member.odd[name] = f"it holds other bytes than another store under {name}"

    def _wanted_by(self, member: Member) -> None:
        if member.down is None and not member.foreign:
            self.wanted.set()


async def _listed(store: Store, prefix: str) -> list[ObjectInfo]:
    return list(await store.list(prefix))
