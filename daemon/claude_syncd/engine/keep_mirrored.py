"""Keeps the stores of a vault alike, beside everything else: rounds never wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from claude_syncd.engine import report
from claude_syncd.errors import SyncError
from claude_syncd.log import get_logger
from claude_syncd.store.catch_up import catch_up, check_headers
from claude_syncd.store.mirror import PATIENCE
from claude_syncd.vault.whole import may_be_whole

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from claude_syncd.engine.site import Site
    from claude_syncd.store.mirror import Mirrored

_log = get_logger(__name__)

_FIRST_RETRY = 15.0
_LAST_RETRY = 600.0
_GATHER = 2.0
"""Seconds in which several misses become one catching up."""
_PAUSED_LOOK = 10.0
_ONCE_WITHIN = 60.0
_ONCE_PATIENCE = 5.0
"""Seconds: somebody waits for the command to end."""


async def keep_mirrored(site: Site, every: float, random: random.Random, tell: Callable[[], Awaitable[None]]) -> None:
    """Catch up until cancelled: at once, every so many seconds, when something was missed, and when a store that was
    out of reach may be back. `tell` is called when the standing of a store has changed.
    """
    mirror = site.mirror
    if mirror is None:
        return
    retry = _FIRST_RETRY
    while True:
        mirror.wanted.clear()
        if await site.off_loop(report.paused_until, site) is not None:
            await asyncio.sleep(_PAUSED_LOOK)
            continue
        before = [one.state for one in mirror.standing()]
        await _caught_up(site, mirror, PATIENCE)
        if before != [one.state for one in mirror.standing()]:
            await tell()
        down = any(member.down is not None for member in mirror.members)
        restless = down or any(one.behind for one in mirror.standing())  # another device may be at it, too
        wait = retry * (0.5 + random.random()) if restless else every
        retry = min(_LAST_RETRY if down else every, 2 * retry) if restless else _FIRST_RETRY
        try:
            async with asyncio.timeout(wait):
                await mirror.wanted.wait()
            await asyncio.sleep(_GATHER)
        except TimeoutError:
            continue


async def keep_mirrored_once(site: Site) -> None:
    """What a command without a daemon does when its own work is done; what takes too long is left for another time."""
    if site.mirror is None:
        return
    try:
        async with asyncio.timeout(_ONCE_WITHIN):
            await _caught_up(site, site.mirror, _ONCE_PATIENCE)
    except TimeoutError:
        _log.info("the stores are not alike yet; the next run goes on")


async def before_first_use(site: Site) -> None:
    """A device that knows nothing of its own log needs to hear all stores: if one that is out of reach had the end of
    it, other bytes would be written under names that are taken. Raises StoreError.
    """
    mirror = site.mirror
    if mirror is None or site.me in await site.off_loop(site.state.positions):
        return
    await check_headers(mirror, site.keys.header)
    for member in mirror.members:
        if member.down is not None:
            raise member.down


async def _caught_up(site: Site, mirror: Mirrored, patience: float) -> None:
    async def whole(name: str, data: bytes) -> bool:
        return await site.off_loop(may_be_whole, site.keys, name, data)

    before = {one.url: one.problem for one in mirror.standing()}
    devices = await site.off_loop(site.state.positions)
    try:
        areas, known = {site.me, *site.former}, devices.keys() | {site.me}
        done = await catch_up(mirror, areas, known, site.keys.header, whole=whole, patience=patience)
    except SyncError as error:
        _log.debug("no store is in reach to compare", error=str(error))
        done = 0
    except Exception:  # noqa: BLE001 - a defect here must not end the daemon, nor pass unseen
        _log.exception("internal error")
        done = 0
    for one in mirror.standing():
        if one.problem and one.problem != before[one.url]:
            _log.warning("a store is not as it should be", store=one.url, problem=one.problem)
        elif before[one.url] and not one.problem:
            _log.info("a store is as it should be again", store=one.url)
    if done:
        _log.info("stores were brought up to date", objects=done)
