"""Copies a whole vault from one store to another: what is there already is not copied again."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreRefused
from claude_syncd.store.mirror_plan import HEADER, KEYS, in_order, is_mutable, is_object
from claude_syncd.tasks import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from claude_syncd.store.base import Readable, Store

_AT_ONCE: Final = 4


@dataclass(slots=True)
class Copied:
    """Objects and bytes that were copied so far, and how many objects there are to copy in all.

    `stray`: key slots that only the target has; they may have been removed since they were copied.
    """

    objects: int = 0
    total: int = 0
    size: int = 0
    stray: tuple[str, ...] = ()


async def copy_vault(source: Readable, target: Store, told: Callable[[Copied], None]) -> Copied:
    """Make `target` have every object of the vault in `source`. Cut off anywhere, another call goes on from there: the
    header is copied first, so the place is known as this vault's.

    `told` is called after each object. Raises StoreError; StoreRefused where the target has other bytes under a name.
    """
    sizes = await _sizes(source)
    there = await _sizes(target)
    for name, size in there.items():
        if not is_mutable(name) and sizes.get(name, size) != size:
            raise _other(target, name)
    missing = sorted((name for name in sizes if name not in there), key=in_order)
    stray = tuple(sorted(name for name in there if name.startswith(KEYS) and name not in sizes))
    copied = Copied(total=len(missing), stray=stray)
    todo = iter(missing)

    async def work(names: Iterator[str]) -> None:
        for name in names:
            try:
                data = await source.get(name)
            except ObjectMissing:
                continue  # deleted since it was listed
            try:
                await target.put(name, data, if_absent=True)
            except AlreadyExists:
                if await target.get(name) != data:
                    raise _other(target, name) from None
            copied.objects += 1
            copied.size += len(data)
            told(copied)

    if HEADER in missing:
        await work(iter([next(todo)]))
    await together(*(work(todo) for _ in range(_AT_ONCE)))
    await _check(source, target, missing)
    return copied


async def same_place(one: Store, two: Store) -> bool:
    """Whether what is put into the one is found in the other. Leaves nothing behind. Raises StoreError."""
    name = f"probe/{secrets.token_hex(8)}"
    mark = secrets.token_bytes(16)
    try:
        await one.put(name, mark)
        with suppress(ObjectMissing):
            return await two.get(name) == mark
        return False
    finally:
        await one.delete(name)


async def _check(source: Readable, target: Store, copied: list[str]) -> None:
    """See that it is there by the target's own word."""
    sizes, there = await _sizes(source), await _sizes(target)
    lost = [name for name in copied if name in sizes and there.get(name) != sizes[name]]
    if lost:
        raise StoreRefused(
            f"{target.address}: {lost[0]} was copied and is not there ({len(lost)} objects)",
            hint="run the command again; if it stays so, use another store",
        )


async def _sizes(store: Readable) -> dict[str, int]:
    return {info.name: info.size for info in await store.list("") if is_object(info.name)}


def _other(target: Store, name: str) -> StoreRefused:
    return StoreRefused(
        f"{target.address} holds other bytes under {name} than this vault does",
        hint="one of the two was changed or damaged; choose an empty place, for example with --prefix",
    )
