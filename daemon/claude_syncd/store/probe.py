"""Tries a store for real before anything is entrusted to it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.errors import (
    AlreadyExists,
    NoSuchPlace,
    ObjectMissing,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from claude_syncd.store.base import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.store.base import Store

RACERS = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """What a store can do.

    `refuses`: it refuses to overwrite where asked. `conditional_put`: also when several write at once. Nothing depends
    on it, but joining at the same moment as another device is smoother with it.
    `lists`: it lists what was written just now.
    `problems`: sentences for the user about what is odd yet bearable.
    """

    refuses: bool
    conditional_put: bool
    lists: bool
    problems: tuple[str, ...]


async def reach(store: Store) -> None:
    """See that the store answers, lists, and tells a missing object from a forbidden one; changes nothing.

    Raises StoreUnavailable, or StoreRefused for whatever makes the store unusable.
    """
    await _missing(store, f"probe/{secrets.token_hex(8)}")


async def probe(store: Store) -> Probe:
    """Write, read, list, race and delete under `probe/`; leaves nothing behind.

    Raises StoreUnavailable, or StoreRefused for whatever makes the store unusable.
    """
    folder = f"probe/{secrets.token_hex(8)}"
    names = [f"{folder}/object", f"{folder}/race"]
    try:
        await reach(store)
        return await _try(store, folder, *names)
    finally:
        # Also after a failure or a cancel; the reason for those is worth more than what goes wrong here.
        with suppress(StoreError):
            for name in names:
                await store.delete(name)


async def _try(store: Store, folder: str, plain: str, contested: str) -> Probe:
    problems: list[str] = []
    data = secrets.token_bytes(64)
    with _while("writing"):
        await store.put(plain, data)
    with _while("reading"):
        if await store.get(plain) != data or await store.get(plain, Span(-16, 16)) != data[-16:]:
            raise _unusable(store, "other bytes come back than were written")
        if await store.get(plain, Span(8, 16)) != data[8:24]:
            raise _unusable(store, "parts of objects can't be read")
    with _while("listing"):
        lists = plain in {info.name for info in await store.list(f"{folder}/")}
    if not lists:
        problems.append("the store does not list what was written just now: new devices may be noticed late")
    with _while("writing"):
        refuses = await _refuses_overwrite(store, plain, data)
        conditional = refuses and await _one_wins(store, contested)
    if not refuses:
        problems.append("the store can't refuse to overwrite")
    elif not conditional:
        problems.append("the store lets several writers of one name win at once")
    with _while("deleting"):
        await store.delete(plain)
    with suppress(ObjectMissing):
        await store.get(plain)
        raise _unusable(store, "deleted objects are still there")
    return Probe(refuses=refuses, conditional_put=conditional, lists=lists, problems=tuple(problems))


@contextmanager
def _while(doing: str) -> Iterator[None]:
    """Have a refusal say what was refused: a store's own words are often the same for everything."""
    try:
        yield
    except (NoSuchPlace, _Unusable):
        raise
    except StoreRefused as error:
        raise StoreRefused(f"{error}, while {doing}", hint=error.hint) from error


async def _missing(store: Store, name: str) -> None:
    """See that a missing object is told apart from a forbidden one: every poll depends on it."""
    with _while("listing"):
        await store.list("probe/")
    try:
        await store.get(name)
    except ObjectMissing:
        return
    except NoSuchPlace:
        raise
    except StoreRefused as error:
        raise StoreRefused(
            f"{store.address}: a missing object can't be told from a forbidden one ({error})",
            hint="the key needs permission to list the bucket (ListBucket) and to read its objects (GetObject)",
        ) from error
    raise _unusable(store, "an object is there that was never written")


async def _refuses_overwrite(store: Store, name: str, data: bytes) -> bool:
    with suppress(AlreadyExists):
        await store.put(name, bytes(len(data)), if_absent=True)
        return False
    if await store.get(name) != data:
        raise _unusable(store, "it says that it refused to overwrite, and did overwrite")
    return True


async def _one_wins(store: Store, name: str) -> bool:
    """Whether of several writers at once one wins, and what it wrote is there."""
    writings = [secrets.token_bytes(32) for _ in range(RACERS)]

    async def write(data: bytes) -> bool:
        # Who meets "busy" for good has not won.
        with suppress(AlreadyExists, StoreUnavailable):
            await store.put(name, data, if_absent=True)
            return True
        return False

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(write(data)) for data in writings]
    winners = [data for data, task in zip(writings, tasks, strict=True) if task.result()]
    return len(winners) == 1 and await store.get(name) == winners[0]


class _Unusable(StoreRefused):
    default_hint = "use another store or server; this one can't keep a vault"


def _unusable(store: Store, what: str) -> _Unusable:
    return _Unusable(f"{store.address}: {what}")
