"""A store in memory: the model of the port, for simulations and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.errors import AlreadyExists, ObjectMissing
from claude_syncd.store.base import ObjectInfo
from claude_syncd.store.names import check_size, name_parts, prefix_parts, span_bounds
from claude_syncd.store.report import OnRequest, unheard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.store.base import Span


class MemoryStore:
    """Keeps objects in `objects`, which tests may read and damage. Devices share it as one instance."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.on_request: OnRequest = unheard

    @property
    def address(self) -> str:
        """Always the same; there is nothing to tell apart."""
        return "memory://"

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        name_parts(name)
        check_size(name, len(data))
        self.on_request("put", len(data), 0)
        if if_absent and name in self.objects:
            raise AlreadyExists(f"{name} exists already")
        self.objects[name] = bytes(data)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        name_parts(name)
        data = self.objects.get(name)
        if data is None:
            self.on_request("get", 0, 0)
            raise ObjectMissing(f"there is no {name} in the store")
        start, length = span_bounds(span, len(data))
        found = data[start : start + length]
        self.on_request("get", 0, len(found))
        return found

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        prefix_parts(prefix)
        self.on_request("list", 0, 0)
        return [ObjectInfo(name, len(self.objects[name])) for name in sorted(self.objects) if name.startswith(prefix)]

    async def delete(self, name: str) -> None:
        """See Store."""
        name_parts(name)
        self.on_request("delete", 0, 0)
        self.objects.pop(name, None)

    async def drop_history(self) -> None:
        """See Store: there is none."""

    async def close(self) -> None:
        """The objects stay, as they would in any other store."""
