"""Verifies the whole vault, in each of its stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.engine.check_stores import check_stores
from claude_syncd.engine.check_vault import check_vault
from claude_syncd.vault.reader import Reader

if TYPE_CHECKING:
    from claude_syncd.core.status import CheckReport
    from claude_syncd.engine.site import Site


async def check(site: Site, *, read_data: bool) -> CheckReport:
    """Look at every object of the vault, and at each store's copy of it. With `read_data` every byte is looked at, and
    every file's hash compared.

    Changes nothing, here or there. Raises StoreError when no store can be read.
    """
    if site.mirror is not None:
        return await check_stores(site, site.mirror, read_data=read_data)
    return (await check_vault(site, Reader(site.store, site.keys, site.pool), read_data=read_data)).report()
