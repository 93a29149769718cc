"""Opens the store that the options name, with its wrappers stacked: the one place that knows them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.store.count import Counting, Total
from claude_syncd.store.limit import Limited
from claude_syncd.store.look_first import LookingFirst
from claude_syncd.store.mirror import Mirrored
from claude_syncd.store.options import (
    FolderOptions,
    GcsOptions,
    GitOptions,
    S3Options,
    StoreOptions,
    WebDavOptions,
    r2_options,
)
from claude_syncd.store.pace import Paced
from claude_syncd.store.report import unheard
from claude_syncd.store.retry import ATTEMPTS, BASE, CAP, Retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claude_syncd.store.base import Store
    from claude_syncd.store.count import Counter
    from claude_syncd.store.report import OnRequest, ReportingStore

__all__ = [
    "FolderOptions",
    "GcsOptions",
    "GitOptions",
    "Opened",
    "S3Options",
    "StoreOptions",
    "WebDavOptions",
    "create_store",
    "open_mirrored",
    "open_store",
    "r2_options",
]

PARALLEL = 8
_TRIES_OF_ONE = 2
"""Of one store among several: the others do meanwhile, and it is caught up later."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A store to work with, and what counts its traffic. `mirror`: the same where it is made of several."""

    store: Store
    counter: Counter
    mirror: Mirrored | None = None


def open_store(
    options: StoreOptions,
    *,
    parallel: int = PARALLEL,
    attempts: int = ATTEMPTS,
    base: float = BASE,
    cap: float = CAP,
    up: float | None = None,
    down: float | None = None,
    observer: OnRequest = unheard,
) -> Opened:
    """Open a store. Nothing is connected, imported or checked before its first call; `close` it in the end.

    `parallel` calls run at once. One that fails in passing is tried `attempts` times in all; `base` and `cap` are the
    first and the longest wait, in seconds. While it waits, others take its turn. `up` and `down` limit the traffic, in
    bytes a second.
    """
    counter = Counting(_at_the_wire(options, parallel), observer)
    paced = counter if up is None and down is None else Paced(counter, up=up, down=down)
    store = Retrying(Limited(_asked_first(options, paced), parallel), attempts=attempts, base=base, cap=cap)
    return Opened(store, counter)


def open_mirrored(
    options: Sequence[StoreOptions],
    *,
    notes: bytes | None = None,
    save: Callable[[bytes], None] | None = None,
    parallel: int = PARALLEL,
    attempts: int = ATTEMPTS,
    base: float = BASE,
    cap: float = CAP,
    up: float | None = None,
    down: float | None = None,
) -> Opened:
    """As `open_store`, for a vault in several stores, the preferred first; with only one of them it is the same.

    `parallel` calls run at once in each; `up` and `down` are for all together. `notes`, `save`: see Mirrored.
    """
    if len(options) == 1:
        return open_store(options[0], parallel=parallel, attempts=attempts, base=base, cap=cap, up=up, down=down)
    counters = [Counting(_at_the_wire(one, parallel)) for one in options]
    line = Paced(counters[0], up=up, down=down)
    members = [
        Retrying(
            Limited(_asked_first(one, line.around(counter)), parallel),
            attempts=min(attempts, _TRIES_OF_ONE),
            base=base,
            cap=cap,
        )
        for one, counter in zip(options, counters, strict=True)
    ]
    mirror = Mirrored(members, notes=notes, save=save)
    return Opened(Retrying(mirror, attempts=attempts, base=base, cap=cap), Total(counters), mirror)


async def create_store(options: StoreOptions) -> None:
    """Make what a vault's store needs before its first use: the folder. A bucket is made by its owner, not by us.

    Only for setting up: a folder that is gone later is an unplugged disk, and not to be made anew.
    """
    match options:
        case FolderOptions():
            from claude_syncd.store.folder import FolderStore  # noqa: PLC0415 - only the store that is used is imported

            await FolderStore(options.path).create()
        case WebDavOptions():
            from claude_syncd.store.webdav import WebDavStore  # noqa: PLC0415 - see above

            store = WebDavStore(options)
            try:
                await store.create()
            finally:
                await store.close()
        case _:
            pass


def _asked_first(options: StoreOptions, store: Store) -> Store:
    """The store, asked whether a name is taken where it would not refuse to overwrite."""
    heeds = options.conditional_put if isinstance(options, S3Options | WebDavOptions) else True
    return store if heeds else LookingFirst(store)


def _at_the_wire(options: StoreOptions, parallel: int) -> ReportingStore:
    """The store itself. Only the one that is used is imported: the clouds' clients take their time."""
    match options:
        case FolderOptions():
            from claude_syncd.store.folder import FolderStore  # noqa: PLC0415 - see above

            return FolderStore(options.path)
        case S3Options():
            from claude_syncd.store.s3 import S3Store  # noqa: PLC0415 - see above

            return S3Store(options, connections=parallel)
        case GcsOptions():
            from claude_syncd.store.gcs import GcsStore  # noqa: PLC0415 - see above

            return GcsStore(options, connections=parallel)
        case GitOptions():
            from claude_syncd.store.git import GitStore  # noqa: PLC0415 - see above

            return GitStore(options)
        case WebDavOptions():
            from claude_syncd.store.webdav import WebDavStore  # noqa: PLC0415 - see above

            return WebDavStore(options, connections=parallel)
