"""Reads devices' checkpoints into the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claude_syncd.engine.site import Site
    from claude_syncd.vault.area import Area


async def read_newest(site: Site, device: str, area: Area) -> bool:
    """Read the newest checkpoint of a device, unless it or a later one was read before. Whether it was new.

    `area`: as it was listed. Raises StoreError, VaultError; ObjectMissing where another took its place meanwhile.
    """
    seq = area.newest_checkpoint
    position = (await site.off_loop(site.state.positions)).get(device)
    if seq <= (position.checkpoint if position is not None else 0):
        return False
    opened = await site.reader.checkpoint(device, seq)
    await site.off_loop(site.state.integrate_checkpoint, opened.checkpoint, opened.records)
    return True


async def refresh(site: Site, device: str) -> bool:
    """As `read_newest`, after a look at the area: an object of the device was missing. One LIST, and a GET if need be.

    The device may have compacted its area: what it held is elsewhere now. False means that it was not that.
    """
    return await read_newest(site, device, await site.reader.area(device))
