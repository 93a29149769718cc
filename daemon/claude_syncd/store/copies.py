"""Several stores of one vault read as one, by a copy of each object: another is taken where that is no good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.errors import ObjectMissing, StoreError
from claude_syncd.store.base import ObjectInfo
from claude_syncd.tasks import together

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from claude_syncd.store.base import Readable, Span


class Copies:
    """Implements Readable over `stores`. `hidden`: names of which each has missed the newest change.

    Unlike a mirror it is certain which store a byte came from, and asks no other where one fails. It holds, by the
    number of the store: `sizes`, what each has listed, and `failed`, what it failed with. And by name: `doubted`, of
    which a copy was no good, and `gone`, which were listed and are there no more.
    """

    def __init__(self, stores: Sequence[Readable], hidden: Sequence[Collection[str]]) -> None:
        self.stores = stores
        self.sizes: list[dict[str, int]] = [{} for _ in stores]
        self.failed: dict[int, StoreError] = {}
        self.doubted: set[str] = set()
        self.gone: set[str] = set()
        self._hidden = [frozenset(names) for names in hidden]
        self._next: dict[str, int] = {}  # which of its holders an object is read from, where that is not the first

    def holders(self, name: str) -> list[int]:
        """Which stores have listed the object."""
        return [number for number, sizes in enumerate(self.sizes) if name in sizes]

    async def read(self, number: int, name: str, span: Span | None = None) -> bytes:
        """The object as that store has it. Raises StoreError; ObjectMissing where it was deleted meanwhile."""
        try:
            return await self.stores[number].get(name, span)
        except ObjectMissing:
            self.gone.add(name)
            raise
        except StoreError as error:
            self.failed[number] = error
            raise

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store: from the first store that has listed it, or the next one after a doubt."""
        holders = self.holders(name)
        if not holders:
            raise ObjectMissing(f"{name} is in none of the stores")
        return await self.read(holders[self._next.get(name, 0)], name, span)

    def doubt(self, name: str, _error: Exception) -> bool:
        """What `get` gave of this object is no good; whether there is another copy, which it gives from now on."""
        self.doubted.add(name)
        following = self._next.get(name, 0) + 1
        more = following < len(self.holders(name))
        self._next[name] = following if more else 0
        return more

    async def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """See Store: all that one of them has."""

        async def listed(number: int) -> None:
            try:
                infos = await self.stores[number].list(prefix)
            except StoreError as error:
                self.failed[number] = error
                raise
            self.sizes[number] |= {info.name: info.size for info in infos if info.name not in self._hidden[number]}

        await together(*(listed(number) for number in range(len(self.stores))))
        found: dict[str, int] = {}
        for sizes in reversed(self.sizes):
            found |= {name: size for name, size in sizes.items() if name.startswith(prefix)}
        return [ObjectInfo(name, found[name]) for name in sorted(found)]
