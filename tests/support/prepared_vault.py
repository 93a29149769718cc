"""A vault as `init` makes it, without a device: whoever joins it need not wait for a costly key derivation."""

from __future__ import annotations

import asyncio
from functools import cache

from claude_syncd.crypto.passphrase import MIN_MEMORY_KIB, Argon2
from claude_syncd.store.memory import MemoryStore
from claude_syncd.vault import header

CHEAPEST = Argon2(MIN_MEMORY_KIB, time=1, parallelism=1)
"""The least that is allowed: a tenth of what `init` chooses."""


@cache
def prepared(passphrase: str) -> dict[str, bytes]:
    """The objects of a new vault that opens with `passphrase`; the same ones for every test of the process."""

    async def made() -> dict[str, bytes]:
        store = MemoryStore()
        await header.create(store, passphrase=passphrase, kdf=CHEAPEST)
        return dict(store.objects)

    return asyncio.run(made())
