"""The daemon: one process, one event loop; the nesting of its tasks is the order of its shutdown."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

from claude_syncd import config
from claude_syncd import log as logging
from claude_syncd.app.compose import intervals, load_settings, opened_site, opened_store, tidied
from claude_syncd.app.ending import crashes_noted, told
from claude_syncd.app.service import DaemonService
from claude_syncd.control.server import serve
from claude_syncd.engine.keep_mirrored import keep_mirrored
from claude_syncd.engine.supervisor import Supervisor
from claude_syncd.local.lock import Lock
from claude_syncd.local.service_manager import ServiceManager

if TYPE_CHECKING:
    from claude_syncd.engine.site import Site
    from claude_syncd.local.home import Places
    from claude_syncd.settings import Settings

_log = logging.get_logger(__name__)

DRAIN_SECONDS = 3.0
"""A round that is under way when the daemon is told to stop has so long to end."""


def run_daemon(places: Places, *, console: bool) -> None:
    """Run until SIGTERM or SIGINT. Raises SyncError when it can't start or go on, StoppedEarly."""
    if places.state.is_dir():
        logging.configure(places.log, console=console)
    with told():
        settings = load_settings(places)
        with Lock(places.lock), crashes_noted(places.crash):
            logging.configure(places.log, settings.log.level, console=console)
            for warning in config.warnings(places.config):
                _log.warning(warning)
            with opened_site(places, settings, opened_store(places, settings)) as site, tidied(site):
                asyncio.run(_daemon(site, settings))


async def _daemon(site: Site, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manager = ServiceManager.from_environment()
    supervisor = Supervisor(site, intervals(settings), random.Random(), manager.status)  # noqa: S311 - jitter
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    _log.info("starting", tree=str(site.places.tree), store=site.store.address, device=site.me)
    try:
        await _until(stop, supervisor, site, manager, interval=settings.poll.list)
    finally:
        await site.store.close()
        _log.info("stopped")


async def _until(
    stop: asyncio.Event, supervisor: Supervisor, site: Site, manager: ServiceManager, *, interval: float
) -> None:
    """Stop listening, stop watching, end or drop the round; then the caller closes the store. `interval`: seconds
    between two comparisons of the stores.
    """
    async with asyncio.TaskGroup() as rounds:
        work = rounds.create_task(supervisor.work(), name="rounds")
        copies = rounds.create_task(
            keep_mirrored(site, interval, random.Random(), supervisor.tell),  # noqa: S311 - jitter
            name="copies",
        )
        beat = rounds.create_task(supervisor.beat(manager.alive), name="beat")
        compact = rounds.create_task(supervisor.compact(), name="compaction")
        async with asyncio.TaskGroup() as hints:
            watch = hints.create_task(supervisor.watch(), name="watch")
            async with asyncio.TaskGroup() as outside:
                server = outside.create_task(
                    serve(DaemonService(supervisor), site.places.socket, lambda: manager.ready("syncing")),
                    name="control",
                )
                await stop.wait()
                manager.stopping()
                _log.info("stopping")
                server.cancel()
            watch.cancel()
        compact.cancel()
        await supervisor.drain(DRAIN_SECONDS)
        work.cancel()
        copies.cancel()
        beat.cancel()
