"""One round: learn, plan, act. The daemon and the one-shot commands run the same."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, Flag
from itertools import islice
from typing import TYPE_CHECKING

from claude_syncd.core.reconcile import Action
from claude_syncd.core.status import Pending, Requests, RunResult
from claude_syncd.engine import keep
from claude_syncd.engine import pull as pulling
from claude_syncd.engine.compare import compare
from claude_syncd.engine.holds import Holds
from claude_syncd.engine.keep_mirrored import before_first_use
from claude_syncd.engine.outbox import Outbox, TwinError, send_left
from claude_syncd.engine.plan import Plan, decide, earlier
from claude_syncd.engine.poll import Poller
from claude_syncd.engine.push import push
from claude_syncd.engine.survey import rejoined, survey
from claude_syncd.engine.take import put_off, receive
from claude_syncd.engine.tally import Tally, failed
from claude_syncd.local.live import live_sessions
from claude_syncd.local.syscalls import give_back_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator

    from claude_syncd.core.safety import Hold
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.push import Pushed
    from claude_syncd.engine.site import Site

_PORTION = 512  # paths decided in one go off the loop
_PASSES = 8  # upload or download, the kept side of a conflict, its publication, a withdrawal, what moved; some to spare
_PUBLISHED = frozenset({Action.UPLOAD, Action.DELETE})
_MUCH = 4 * 1024 * 1024  # bytes, and files: after more than that, memory is given back
_MANY = 1000
_REST_MARGIN = 0.1  # seconds; the clock of files and that of the loop are not the same


class Direction(Flag):
    """Which way a round works."""

    PUSH = 1
    PULL = 2
    SYNC = 3


class Ask(Enum):
    """What a round that pulls asks the store for first: of each device's log what the start has just shown, its next
    entry, or the roster as well.
    """

    SHOWN = 0
    LOGS = 1
    ALL = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run is limited to: a folder of the tree (portable prefix), records of one device."""

    under: str = ""
    device: str = ""

    def takes(self, item: Item) -> bool:
        """Whether the item belongs to the run."""
        if self.under and not item.path.startswith(self.under):
            return False
        winner = item.outcome.winner
        return not self.device or winner is None or winner.device == self.device


class Round:
    """Runs rounds, one at a time, and remembers which paths may need one: `dirty`.

    `failures`: what the last round could not read or write here, in words; the rest of it was done.
    `parked`: what came in and can't be applied yet, for live sessions as a rule. `unsettled`: what else the last round
    left undone, because it changed all the time or there was no end of it.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.poller = Poller(site)
        self.outbox = Outbox(site.places.outbox)
        self.dirty: set[str] = set()
        self.holds = Holds(site)
        self.pending = Pending()
        self.failures: list[str] = []
        self.parked: set[str] = set()
        self.unsettled: set[str] = set()
        self._rest_ns: int | None = None
        self._lock = asyncio.Lock()
        self._unjoined = False  # under a new id that could not be entered in the roster yet

    @property
    def busy(self) -> bool:
        """Whether a round is under way."""
        return self._lock.locked()

    async def idle(self) -> None:
        """Wait until no round is under way."""
        async with self._lock:
            return

    def rests_in(self) -> float | None:
        """Seconds until something that is parked can be applied, as far as that is known."""
        if self._rest_ns is None:
            return None
        return max(0.0, (self._rest_ns - self.site.now_ns()) / 1e9 + _REST_MARGIN)

    @asynccontextmanager
    async def between_rounds(self) -> AsyncIterator[None]:
        """While no round is under way, nor begins."""
        async with self._lock:
            yield

    async def prepare(self) -> None:
        """Once at start, needs the store: join the roster, heal a state that was lost or restored, find what was
        compacted meanwhile.
        """
        async with self._lock:
            await before_first_use(self.site)
            if await self.poller.begin():
                self.dirty |= await self.site.off_loop(rejoined, self.site)

    async def check_id(self) -> None:
        """Take a new id where somebody else writes under this one: a device that only reads would not notice. Raises
        StoreError, VaultError.
        """
        async with self._lock:
            if not await self.site.off_loop(self.outbox.waiting) and await self.poller.has_twin():
                await self._take_new_id()

    async def scan(self, under: str = "") -> None:
        """Look at the whole tree, or at one folder of it. Raises LocalError when it is not there."""
        if not under:
            await self.holds.check_root()
        self.dirty |= await self.site.off_loop(survey, self.site, under)

    async def ask(self, what: Ask) -> None:
        """Take in what others have published. Raises StoreError, NotSetUp."""
        if what is Ask.SHOWN:
            await self.poller.shown()
            return
        if what is Ask.ALL:
            await self.poller.roster()
        await self.poller.others()

    @property
    def hold(self) -> Hold | None:
        """Why the last round stopped to ask, if it did."""
        return self.holds.hold

    async def accept(self) -> None:
        """The user's word that what is held is right: it is done in the next round."""
        await self.holds.accept()

    async def look(self, limits: Limits | None = None) -> Plan:
        """The Plan for everything that waits, without acting on it."""
        async with self._lock:
            plan = await self._decide(self.dirty.union(await self.site.off_loop(self.site.state.todo)))
            takes = (limits or Limits()).takes
            plan.items = [i for i in plan.items if takes(i)]
            plan.parked = [i for i in plan.parked if takes(i)]
            return plan

    async def look_for_hold(self) -> None:
        """Raise Held if a round would stop to ask."""
        async with self._lock:
            plan = await self._decide(self.dirty.union(await self.site.off_loop(self.site.state.todo)))
            await self.holds.check(plan)

    async def run(self, direction: Direction, limits: Limits | None = None, ask: Ask = Ask.LOGS) -> RunResult:
        """One round; if it pulls, it first asks the store for news as `ask` says.

        Raises StoreError; Held when it stopped to ask. What is not done stays to be done.
        """
        async with self._lock:
            await self.holds.begin()
            if self._unjoined:
                await self._join()
            before = self.site.counter.snapshot()
            tally, rest = Tally(), set[str]()
            try:
                if Direction.PULL in direction:
                    await self.ask(ask)
                # What is published or kept aside makes work of its own: a kept side comes to this disk, too.
                for _ in range(_PASSES):
                    if not await self._pass(direction, limits or Limits(), tally):
                        break
                else:
                    rest = await self._left(tally)
            except TwinError:
                await self._take_new_id()
                raise
            finally:
                self.unsettled = tally.unsettled() | rest
                self.dirty |= tally.later
                self.parked, self._rest_ns = tally.parked, tally.rest_ns
            self.failures = [why for path in tally.later for why in failed(path, self.site.problems)]
            traffic = self.site.counter.snapshot() - before
            if traffic.bytes_up + traffic.bytes_down > _MUCH or tally.uploaded + tally.downloaded > _MANY:
                await self.site.off_loop(give_back_memory)
            return RunResult(
                uploaded=tally.uploaded,
                downloaded=tally.downloaded,
                deleted=tally.deleted,
                conflicts=tally.conflicts,
                parked=len(tally.parked),
                bytes_up=traffic.bytes_up,
                bytes_down=traffic.bytes_down,
                requests=Requests(**traffic.requests),
            )

    async def _left(self, tally: Tally) -> set[str]:
        """What waits and was not put off."""
        return self.dirty.union(await self.site.off_loop(self.site.state.todo)) - tally.later

    async def _pass(self, direction: Direction, limits: Limits, tally: Tally) -> bool:
        """Plan and act on what waits, once. Whether anything did: what is done may make more of it."""
        state, site = self.site.state, self.site
        taken, self.dirty = self.dirty, set()
        try:
            if Direction.PUSH in direction:
                await send_left(site, self.outbox)  # the plan is about what comes after it
            paths = taken.union(await site.off_loop(state.todo)) - tally.later
            if not paths:
                return False
            plan = await self._decide(paths)
            await self.holds.check(plan)
            tally.parked.update(i.path for i in plan.parked)
            tally.rest_ns = earlier(tally.rest_ns, plan.rest_ns)
            if plan.of(Action.DOWNLOAD, Action.REMOVE, Action.COMPARE):
                # Or after a power cut what came in would be there, and not known to be another device's.
                await site.off_loop(state.make_durable)
            await self._act(plan, direction, limits, tally)
        except BaseException:
            self.dirty |= taken
            raise
        return True

    async def _decide(self, paths: Iterable[str]) -> Plan:
        site = self.site
        plan = Plan()
        running = await site.off_loop(live_sessions, site.places.tree)
        for portion in _portions(sorted(paths)):
            plan.extend(await site.off_loop(decide, site, portion, running))
        self._show(plan)
        return plan

    def _show(self, plan: Plan) -> None:
        self.pending = Pending(
            upload=sum(_outgoing(i) for i in plan.items),
            download=len(plan.of(Action.DOWNLOAD, Action.REMOVE, Action.COMPARE)),
            parked=len(plan.parked),
        )

    async def _act(self, plan: Plan, direction: Direction, limits: Limits, tally: Tally) -> None:
        site = self.site
        await site.off_loop(site.state.done, plan.settled)
        self._again(plan.changed, tally)
        later = tally.later
        later.update(plan.again, (i.path for i in plan.parked), (i.path for i in plan.items if not limits.takes(i)))
        items = [i for i in plan.items if limits.takes(i)]
        if Direction.PULL in direction and (waits_for_pastes := put_off(items)):
            self.dirty.update(i.path for i in waits_for_pastes)
            items = [i for i in items if i not in waits_for_pastes]
        compared = [i for i in items if i.outcome.action is Action.COMPARE]
        if compared:
            decided = await compare(site, compared)
            tally.incoming.update(i.path for i in compared)
            self._again({i.path for i in compared} - {i.path for i in decided}, tally)
            items = [i for i in items if i.outcome.action is not Action.COMPARE] + decided
        waiting = await site.off_loop(keep.waiting, site, items)
        if waiting and Direction.PULL in direction:
            kept = await keep.keep_left(site, waiting)
            tally.conflicts += len(kept)
            items = [i for i in items if i.path not in kept]  # they are planned anew, with the kept side
        waits = {i.path for i in waiting}
        later.update(waits.intersection(i.path for i in items))
        # A losing side is in the vault under its new name before it is replaced here.
        withdrawn = [
            i
            for i in items
            if i.outcome.withdraw is not None and i.outcome.action not in _PUBLISHED and i.path not in waits
        ]
        outgoing = [i for i in items if i.outcome.action in _PUBLISHED]
        incoming = [i for i in items if i.outcome.action in {Action.DOWNLOAD, Action.REMOVE}]
        tally.outgoing.update(i.path for i in outgoing)
        tally.incoming.update(i.path for i in incoming)
        if withdrawn:
            self._count(await push(site, self.outbox, withdrawn), tally)
        if Direction.PULL in direction and incoming:
            pulled = await receive(site, incoming)
            self._again(pulled.again, tally)
            later.update(pulled.waiting)
            tally.parked.update(pulled.waiting)
            tally.downloaded += pulled.downloaded
            tally.deleted += pulled.deleted
            tally.conflicts += pulled.conflicts
        else:
            later.update(i.path for i in incoming)
        still = [i for i in items if i.outcome.action in {Action.ADOPT, Action.EVICT, Action.NOTHING}]
        if still:
            await pulling.adopt(site, still)
        if Direction.PUSH in direction:
            self._count(await push(site, self.outbox, outgoing), tally)
            await self.holds.passed(plan)
        else:
            later.update(i.path for i in outgoing)
        # A former id may have left more than one side of a path.
        left = [i.path for i in withdrawn if i.outcome.withdraw is not None and i.outcome.withdraw.device != site.me]
        await site.off_loop(site.state.add_todo, left)
        self.pending = tally.pending()

    def _again(self, paths: Collection[str], tally: Tally) -> None:
        self.dirty |= tally.look_again(paths, self.site.problems)

    def _count(self, pushed: Pushed, tally: Tally) -> None:
        tally.uploaded += pushed.uploaded
        tally.deleted += pushed.deleted
        tally.conflicts += pushed.conflicts
        self._again(pushed.again, tally)

    async def _take_new_id(self) -> None:
        """This device's id lives twice: go on under another. What the old one wrote is another device's now."""
        site = self.site
        # First, so that after a crash nothing that was sealed under the one id is sent under the other.
        for seq, _ in await site.off_loop(self.outbox.waiting):
            await site.off_loop(self.outbox.drop, seq)
        await site.off_loop(site.state.unstage)
        fresh = await site.off_loop(site.new_id)
        site.me, site.former = fresh.id, fresh.former
        self._unjoined = True
        await self._join()

    async def _join(self) -> None:
        await self.poller.join()
        self._unjoined = False


def _outgoing(item: Item) -> bool:
    return item.outcome.action in _PUBLISHED or item.outcome.withdraw is not None


def _portions(paths: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(paths)
    while portion := list(islice(remaining, _PORTION)):
        yield portion
