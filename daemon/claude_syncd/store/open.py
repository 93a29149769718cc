"""Opens the store that the options name, with its wrappers stacked: the one place that knows them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.store.count import Counting
from claude_syncd.store.limit import Limited
from claude_syncd.store.options import FolderOptions, S3Options, StoreOptions, r2_options
from claude_syncd.store.report import unheard
from claude_syncd.store.retry import ATTEMPTS, BASE, CAP, Retrying

if TYPE_CHECKING:
    from claude_syncd.store.base import Store
    from claude_syncd.store.report import OnRequest, ReportingStore

__all__ = ["FolderOptions", "Opened", "S3Options", "StoreOptions", "create_store", "open_store", "r2_options"]

PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Opened:
    """A store to work with, and what counts its traffic."""

    store: Store
    counter: Counting


def open_store(
    options: StoreOptions,
    *,
    parallel: int = PARALLEL,
    attempts: int = ATTEMPTS,
    base: float = BASE,
    cap: float = CAP,
    observer: OnRequest = unheard,
) -> Opened:
    """Open a store. Nothing is connected, imported or checked before its first call; `close` it in the end.

    `parallel` calls run at once. One that fails in passing is tried `attempts` times in all; `base` and `cap` are the
    first and the longest wait, in seconds. While it waits, others take its turn.
    """
    counter = Counting(_at_the_wire(options, parallel), observer)
    store = Retrying(Limited(counter, parallel), attempts=attempts, base=base, cap=cap)
    return Opened(store, counter)


async def create_store(options: StoreOptions) -> None:
    """Make what a vault's store needs before its first use: the folder. A bucket is made by its owner, not by us.

    Only for setting up: a folder that is gone later is an unplugged disk, and not to be made anew.
    """
    if isinstance(options, FolderOptions):
        from claude_syncd.store.folder import FolderStore  # noqa: PLC0415 - only the store that is used is imported

        await FolderStore(options.path).create()


def _at_the_wire(options: StoreOptions, parallel: int) -> ReportingStore:
    if isinstance(options, FolderOptions):
        from claude_syncd.store.folder import FolderStore  # noqa: PLC0415 - only the store that is used is imported

        return FolderStore(options.path)
    from claude_syncd.store.s3 import S3Store  # noqa: PLC0415 - only the store that is used is imported

    return S3Store(options, connections=parallel)
