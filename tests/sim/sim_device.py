"""One simulated machine: its folders, and its daemon's life, over and over."""

from __future__ import annotations

import asyncio
import os
import shutil
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sim_crash import RUNNING, Killed, Life, lose_power
from sim_store import SimStore

from claude_syncd.app.compose import opened_site, tidied
from claude_syncd.core.safety import RootIdentity
from claude_syncd.crypto.keys import save_keys
from claude_syncd.engine.compact import Compactor
from claude_syncd.engine.round import Direction, Round
from claude_syncd.errors import Held, SyncError
from claude_syncd.local import device as device_file
from claude_syncd.local.home import Places
from claude_syncd.local.state import State
from claude_syncd.settings import Settings
from claude_syncd.store.count import Counting
from claude_syncd.store.look_first import LookingFirst
from claude_syncd.store.open import Opened
from claude_syncd.store.retry import Retrying

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sim_world import World

    from claude_syncd.core.status import RunResult
    from claude_syncd.engine.site import Site
    from claude_syncd.store.base import Store

_ATTEMPTS = 3
SETTINGS = Settings()


class Machine:
    """A device: `home` is its whole disk, `user` the name of the user's home folder on it."""

    def __init__(self, world: World, number: int, user: str) -> None:
        self.world, self.number, self.user = world, number, user
        self.home = world.folder / f"d{number}"
        self.places = Places(
            tree=self.home / ".claude", state=self.home / ".claude-sync", user_home=Path(f"/home/{user}")
        )
        self.online = True
        self.task: asyncio.Task[None] | None = None
        self.life = Life()
        self.power_lost = False  # how the next death comes
        self.trouble: str | None = None
        self.live: dict[Path, bytes] = {}  # a running session's file -> what its Claude Code has written
        self._open: ExitStack | None = None
        self._lived = 0
        self.round: Round
        self.site: Site

    def set_up(self) -> None:
        """As `init` leaves it."""
        self.places.tree.mkdir(parents=True)
        self.places.state.mkdir(mode=0o700)
        save_keys(self.places.key, self.world.keys)
        made = device_file.create(self.user, random=self.world.randbytes)
        device_file.save(self.places.device, made)

    # -- the daemon ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def running(self) -> bool:
        return self._open is not None and self._lived > 0

    def begin(self, direction: Direction) -> None:
        """Start a round; it goes on while others act."""
        if not self.busy:
            self.world.count("rounds")
            self.task = asyncio.get_running_loop().create_task(self._guarded(self.sync(direction)))

    def compact(self, *, now: bool) -> None:
        """Have the daemon keep its area small: do what is due, or write a checkpoint `now`."""
        if not self.busy and self.running:
            self.task = asyncio.get_running_loop().create_task(self._guarded(self._compact(now=now)))

    async def _compact(self, *, now: bool) -> None:
        compactor = Compactor(self.site, self.round.between_rounds, self.round.outbox)
        if now:
            await compactor.compact()
            self.world.count("checkpoints")
        await compactor.work()

    async def finish(self) -> None:
        """Wait for the round that is under way."""
        if self.task is not None:
            await self.task

    async def _guarded(self, work: Coroutine[Any, Any, object]) -> None:
        """Work as the daemon does it: what goes wrong in passing is noted and tried again some time."""
        RUNNING.set(self.life)
        try:
            await work
        except Killed:
            self.world.count("crashes")
        except Held:
            await self._accept()
        except SyncError as error:
            self.trouble = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - the daemon would go on, and fail again
            self.world.violation(f"d{self.number}: {traceback.format_exc(limit=-4)}")

    async def _accept(self) -> None:
        """The user's answer to a hold."""
        try:
            await self.round.accept()
        except Killed:
            self.world.count("crashes")
        except SyncError as error:
            self.trouble = f"{type(error).__name__}: {error}"

    async def sync(self, direction: Direction = Direction.SYNC, *, thorough: bool = False) -> RunResult:
        """One round as the supervisor runs it; `thorough`: with all that it does now and then only. Raises SyncError,
        Killed.
        """
        self.trouble = None
        self._start()
        await self.round.scan()
        if self._lived == 0:
            await self.round.prepare()
        self._lived += 1
        if Direction.PULL in direction:
            await self.round.poller.roster()
            if thorough or self._lived % 3 == 1:
                await self.round.poller.relist()
                await self.round.check_id()
        return await self.round.run(direction)

    def _start(self) -> None:
        if self._open is not None:
            return
        with ExitStack() as stack:
            wire = SimStore(self.world.cloud, lambda: self.online, self.life.point)
            counting = Counting(wire)
            store: Store = Retrying(counting, attempts=_ATTEMPTS, draw=self.world.cloud.chance.random)
            if self.world.cloud.weather.looks_first:
                store = LookingFirst(store)
            self.site = stack.enter_context(opened_site(self.places, SETTINGS, Opened(store, counting)))
            self.site.now_ns = self.world.loop.now_ns
            self.site.monotonic = self.world.loop.time
            stack.enter_context(tidied(self.site))
            self.round = Round(self.site)
            self._open = stack.pop_all()
            self._lived = 0

    async def stop(self, *, power_lost: bool = False) -> None:
        """End the daemon: at once, as kill -9 does, or as a loss of power does; the next round is its next life."""
        if self.busy and self.task is not None:
            self.life.dead = True
            self.task.cancel()
            await asyncio.wait([self.task])
        self.task = None
        after = None
        if power_lost and self._open is not None:
            after = lose_power(self.life, self.home, self.places.database, self.world.chance)
        if self._open is not None:
            closing, self._open = self._open, None
            self.life.dead = True
            token = RUNNING.set(self.life)
            try:
                # The database is closed whatever happens; what would be tidied up by an orderly end is not.
                closing.__exit__(Killed, Killed(), None)
            except Killed:
                pass
            finally:
                RUNNING.reset(token)
            self.site.state.close()
        if after is not None:
            after()
        self.life = Life()
        self.power_lost = False

    # -- the disk -----------------------------------------------------------------------------------------------------

    def copy_to(self, home: Path, *, part: str = "") -> None:
        """A copy of the disk as it is now; of one folder of it."""
        source = self.home / part
        shutil.copytree(source, home / part, ignore=shutil.ignore_patterns("trash"), dirs_exist_ok=True)

    def take_from(self, home: Path, *, part: str = "") -> None:
        """Have what a copy holds instead of what is here. The daemon is stopped."""
        shutil.rmtree(self.home / part)
        shutil.copytree(home / part, self.home / part)

    def rebooted(self) -> None:
        """No Claude Code runs on a machine that was just started."""
        self.live.clear()
        shutil.rmtree(self.places.tree / "sessions", ignore_errors=True)

    def same_root(self) -> None:
        """As after a copy of a whole disk, sector by sector: the tree is the folder that it was."""
        if not self.places.database.exists():
            return
        status = self.places.tree.stat()
        root = RootIdentity(path=str(self.places.tree.resolve()), device=status.st_dev, inode=status.st_ino)
        with State(self.places.database) as state:
            if state.meta("root") is not None:
                state.set_meta("root", msgspec.json.encode(root).decode())

    def files(self) -> dict[str, Path]:
        """Every file of the tree and every kept side, by the path below the home."""
        found = {}
        for top in (self.places.tree, self.places.conflicts):
            for folder, _, names in os.walk(top):
                for name in names:
                    path = Path(folder, name)
                    if not name.startswith(".csync-"):
                        found[str(path.relative_to(self.home))] = path
        return found
