"""The loop of the daemon: one coroutine decides what to do next, everything else brings it hints and requests."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from claude_syncd.core.debounce import Debounce
from claude_syncd.core.instant import timestamp
from claude_syncd.core.status import Pending
from claude_syncd.engine import approvals, report
from claude_syncd.engine.audience import Audience
from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.plan import render
from claude_syncd.engine.round import Ask, Direction, Limits, Round
from claude_syncd.engine.survey import hinted
from claude_syncd.engine.timing import Schedule
from claude_syncd.errors import Held, LocalError, StoreRefused, StoreUnavailable, SyncError
from claude_syncd.local.watch import Watcher
from claude_syncd.log import get_logger

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable

    from claude_syncd.core.status import DiffLine, Progress, RunResult, Status
    from claude_syncd.engine.site import Site
    from claude_syncd.engine.timing import Intervals
    from claude_syncd.local.hints import Hints

_log = get_logger(__name__)

_MANY_HINTS = 20_000  # more paths in memory are not worth it: a scan finds them all
_BLIND_SCAN = 30.0  # seconds between scans while the kernel gives no hints
_SLEPT = 30.0  # the wall clock ran so much further than the monotonic one: the machine slept
_BEAT = 2.0
_NOTE_EVERY = 60.0
_PAUSED_LOOK = 2.0  # seconds after which a pause that ends by itself is seen to have ended


class Supervisor:
    """Owns the rounds of one daemon. Made and called on the event loop, by whose clock it goes."""

    def __init__(
        self,
        site: Site,
        intervals: Intervals,
        random: random.Random,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`say` is told in a line how things are, after each round."""
        self.site = site
        self.round = Round(site)
        self.error: SyncError | None = None
        self.rounds = 0
        self._say = say
        self.loop_lag = 0.0
        self._intervals = intervals
        self.compactor = Compactor(site, self.round.between_rounds, self.round.outbox)
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        self._schedule = Schedule(intervals, random, now)
        self._debounce = Debounce(intervals.quiet, intervals.limit)
        self._wake = asyncio.Event()
        self.hints: set[str] = set()  # files of the tree that something happened to since the last round
        self._rescans: set[str] = {""}
        self._scanned = self._rostered = self._listed = now
        self._noted = -math.inf
        self._prepared = False
        self._watcher: Watcher | None = None
        self._watching = asyncio.Event()
        self.audience = Audience()
        site.progress = self.audience.progressed

    # -- what the daemon's tasks are --------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Watch the tree until cancelled."""
        loop = asyncio.get_running_loop()
        site = self.site

        def deliver(hints: Hints) -> None:
            paths = [p for p in hints.paths if site.rules.selects(p)]
            if paths or hints.rescan:
                loop.call_soon_threadsafe(self._hinted, paths, hints.rescan)

        watcher = self._watcher = Watcher(
            site.places.tree, descends=site.rules.descends, follow=site.follow, deliver=deliver
        )
        try:
            await site.off_loop(watcher.start)
            self._watching.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.shield(site.off_loop(watcher.stop))

    async def beat(self, alive: Callable[[], None]) -> None:
        """Measure how late the loop is, notice sleep, and tell the service manager that all is well."""
        wall, monotonic = time.time(), self._clock()
        while True:
            await asyncio.sleep(_BEAT)
            now_wall, now = time.time(), self._clock()
            self.loop_lag = max(self.loop_lag, now - monotonic - _BEAT)
            if (now_wall - wall) - (now - monotonic) > _SLEPT:
                _log.info("the machine slept or its clock was set: looking at everything")
                self._listed = -math.inf
                self._rescan({""})
                self._schedule.soon(now)
            wall, monotonic = now_wall, now
            alive()

    async def work(self) -> None:
        """Run rounds until cancelled, once the tree is watched: what changes before that, the first scan finds."""
        await self._watching.wait()
        while True:
            await self._until_due()
            if await self.site.off_loop(report.paused_until, self.site) is not None:
                await self._woken(_PAUSED_LOOK)
                continue
            now = self._clock()
            poll = self._schedule.due(now)
            await self._attempt(poll=poll)

    async def compact(self) -> None:
        """Keep this device's area small until cancelled: beside the rounds, which it holds up for moments only."""

        async def may() -> bool:
            ready = self._prepared and not self._schedule.failing and self.round.hold is None
            return ready and await self.site.off_loop(report.paused_until, self.site) is None

        await self.compactor.run(may)

    # -- what a user asks --------------------------------------------------------------------------------------------

    async def run(self, direction: Direction, limits: Limits) -> RunResult:
        """Push, pull or sync now. Raises what goes wrong."""
        try:
            self._rescans.add("")  # hints may be on their way still
            await self._look()
            await self.prepare()
            result = await self.round.run(direction, limits, Ask.ALL)  # what is counted as this run's requests
        except SyncError as error:
            self._failed(error)
            raise
        await self._succeeded(direction, result)
        self._schedule.soon(self._clock() + self._intervals.active)
        self._wake.set()
        undone = self.error or _unfinished(self.round.unsettled)
        if undone is not None:
            raise undone
        return result

    async def plan(self, limits: Limits) -> list[DiffLine]:
        """What a sync would do now."""
        self._rescans.add("")
        await self._look()
        await self.round.ask(Ask.SHOWN if await self.prepare() else Ask.ALL)
        plan = await self.round.look(limits)
        positions = await self.site.off_loop(self.site.state.positions)
        return render(plan, {p.device: p.name for p in positions.values()})

    async def status(self) -> Status:
        """How things are."""
        pending = self.round.pending
        if not self.round.busy:
            waiting = len(self.round.dirty - self.round.parked) + len(self.hints)
            pending = Pending(upload=max(pending.upload, waiting), download=pending.download, parked=pending.parked)
        return await self.site.off_loop(
            report.status,
            self.site,
            pending=pending,
            approvals=await self.site.off_loop(approvals.count, self.site),
            hold=self.round.hold,
            error=self.error,
            syncing=self.round.busy or self._debounce.wait(self._clock()) is not None,
        )

    async def pause(self, seconds: int | None) -> None:
        """Stop syncing; a round under way ends first."""
        until = report.FOREVER
        if seconds is not None:
            until = timestamp(self.site.now_ns() + seconds * 1_000_000_000)
        await self.site.off_loop(self.site.state.set_meta, report.PAUSED_UNTIL, until)
        await self.tell()

    async def resume(self, *, accept: bool) -> None:
        """Go on. Raises Held while a hold stands and is not accepted."""
        await self.site.off_loop(self.site.state.set_meta, report.PAUSED_UNTIL, None)
        if self.round.hold is not None and not accept:
            self.poke()
            raise Held(self.round.hold.message, hint=self.round.hold.hint)
        await self.round.accept()
        self._rescan({""})
        self.poke()
        await self.tell()

    def poke(self) -> None:
        """Push and poll at once."""
        now = self._clock()
        self._debounce.poke(now)
        self._schedule.soon(now)
        self._wake.set()

    def changed(self, paths: set[str]) -> None:
        """These portable paths need a round now."""
        self.round.dirty |= paths
        self.poke()

    def reload(self) -> None:
        """Look at everything again."""
        self._listed = -math.inf
        self._rescan({""})
        self.poke()

    async def drain(self, seconds: float) -> None:
        """Let a round that is under way end, for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.round.idle()
        except TimeoutError:
            _log.info("a round was cut off; it goes on after the next start")

    async def events(self) -> AsyncIterator[Progress | Status]:
        """Progress and changes of the status, for as long as somebody listens."""
        with self.audience.listening() as queue:
            yield await self.status()
            while True:
                yield await queue.get()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hinted(self, paths: list[str], rescans: frozenset[str]) -> None:
        self.hints.update(paths)
        if len(self.hints) > _MANY_HINTS:
            self.hints.clear()
            rescans |= {""}
        self._rescans |= rescans
        self._debounce.hint(self._clock())
        self._wake.set()

    def _rescan(self, folders: set[str]) -> None:
        self._rescans |= folders
        self._debounce.hint(self._clock())
        self._wake.set()

    async def _until_due(self) -> None:
        while True:
            now = self._clock()
            self._schedule.wake(now, self.round.rests_in())
            if self._watcher is not None and self._watcher.problem is not None:
                self.site.problems["watch"] = self._watcher.problem
                scan_every = min(_BLIND_SCAN, self._intervals.scan)
            else:
                self.site.problems.pop("watch", None)
                scan_every = self._intervals.scan
            if now - self._scanned >= scan_every:
                self._rescans.add("")
                self._debounce.poke(now)
                self._scanned = now
            if self._schedule.due(now) or (self._debounce.due(now) and not self._schedule.failing):
                return
            waits = [self._schedule.wait(now), self._scanned + scan_every - now]
            if not self._schedule.failing:
                waits.append(self._debounce.wait(now))
            await self._woken(max(0.001, min(w for w in waits if w is not None)))

    async def _woken(self, seconds: float) -> None:
        """Wait for something to happen, for so long at the most."""
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _attempt(self, *, poll: bool) -> None:
        try:
            await self._look()
            ask = Ask.SHOWN if await self.prepare() else Ask.LOGS
            if poll:
                await self._catch_up()
            direction = Direction.SYNC if poll else Direction.PUSH
            result = await self.round.run(direction, ask=ask)
        except SyncError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - a defect must not end the daemon, nor pass unseen
            _log.exception("internal error")
            self._failed(SyncError(f"internal error: {type(error).__name__}: {error}"))
        else:
            await self._succeeded(direction, result)
            if result.uploaded or result.downloaded or result.deleted or result.conflicts:
                _log.info(
                    "synced",
                    uploaded=result.uploaded,
                    downloaded=result.downloaded,
                    deleted=result.deleted,
                    conflicts=result.conflicts,
                    bytes_up=result.bytes_up,
                    bytes_down=result.bytes_down,
                )
        await self.tell()

    async def prepare(self) -> bool:
        """What comes before everything else, once. Whether it came just now."""
        if self._prepared:
            return False
        await self.round.prepare()
        self._prepared = True
        return True

    async def _catch_up(self) -> None:
        now = self._clock()
        if now - self._rostered >= self._intervals.roster:
            await self.round.poller.roster()
            self._rostered = now
        if now - self._listed >= self._intervals.list:
            await self.round.poller.relist()
            await self.round.check_id()
            self._listed = now

    async def _look(self) -> None:
        """Turn hints into dirty paths. Raises LocalError, Held."""
        hints, self.hints = self.hints, set()
        rescans, self._rescans = self._rescans, set()
        self._debounce.taken()
        try:
            if "" in rescans:
                self._scanned = self._clock()
                await self.round.scan()
            else:
                for folder in rescans:
                    await self.round.scan(folder)
                self.round.dirty |= await self.site.off_loop(hinted, self.site, hints)
        except BaseException:
            self.hints |= hints
            self._rescans |= rescans
            raise

    async def _succeeded(self, direction: Direction, result: RunResult) -> None:
        sent = result.requests.put > 0
        news = result.downloaded + result.deleted > 0
        error = _partly_failed(self.round.failures)
        if error is None and self.error is not None:
            _log.info("recovered", after=str(self.error))
        elif error is not None and str(error) != str(self.error):
            _log.warning("some files could not be synced", error=str(error))
        self.error = error
        self.rounds += 1
        site, now = self.site, self._clock()
        stamp = timestamp(site.now_ns())
        if sent:
            await site.off_loop(site.state.set_meta, report.LAST_PUSH, stamp)
        if Direction.PULL in direction:
            if news or now - self._noted >= _NOTE_EVERY:  # an idle poll is no reason to write to the disk
                await site.off_loop(site.state.set_meta, report.LAST_PULL, stamp)
                self._noted = now
            self._schedule.polled(now, news=news)

    def _failed(self, error: SyncError) -> None:
        now = self._clock()
        if self.error is None or str(self.error) != str(error):
            _log.warning("sync failed", error=str(error), hint=error.hint)
        if isinstance(error, Held):
            self._schedule.failed(now)  # the user may mend it by putting back what was gone
            return
        self.error = error
        if isinstance(error, StoreRefused):
            self._schedule.stop()
        else:
            self._schedule.failed(now, error.retry_after if isinstance(error, StoreUnavailable) else None)

    async def tell(self) -> None:
        """Say how things are to whoever listens."""
        held = self.round.hold
        self._say(f"held: {held.message}" if held is not None else str(self.error or "in sync"))
        if self.audience.listens:
            self.audience.announce(await self.status())


def _partly_failed(failures: list[str]) -> LocalError | None:
    """The error of a round that did all but some files; it goes on with the others as usual."""
    if not failures:
        return None
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return LocalError(f"{failures[0]}{more}", hint="the other files were synced; this is tried again by itself")


def _unfinished(unsettled: set[str]) -> LocalError | None:
    """What a user is told who asked for a run that left something undone."""
    if not unsettled:
        return None
    more = f" and {len(unsettled) - 1} more" if len(unsettled) > 1 else ""
    return LocalError(
        f"not all is synced: {min(unsettled)}{more} changed all the while", hint="run it again when that is at rest"
    )
