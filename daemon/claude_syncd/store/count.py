"""A store that counts requests and bytes where they leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from claude_syncd.store.report import OnRequest, unheard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from claude_syncd.store.base import ObjectInfo, Span
    from claude_syncd.store.report import ReportingStore, RequestKind


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of each kind, and the bytes of objects sent and received. Failed requests count too."""

    put: int = 0
    get: int = 0
    list: int = 0
    delete: int = 0
    head: int = 0
    bytes_up: int = 0
    bytes_down: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(
            put=self.put + other.put,
            get=self.get + other.get,
            list=self.list + other.list,
            delete=self.delete + other.delete,
            head=self.head + other.head,
            bytes_up=self.bytes_up + other.bytes_up,
            bytes_down=self.bytes_down + other.bytes_down,
        )

    def __sub__(self, earlier: Traffic) -> Traffic:
        """What has come since `earlier`."""
        return Traffic(
            put=self.put - earlier.put,
            get=self.get - earlier.get,
            list=self.list - earlier.list,
            delete=self.delete - earlier.delete,
            head=self.head - earlier.head,
            bytes_up=self.bytes_up - earlier.bytes_up,
            bytes_down=self.bytes_down - earlier.bytes_down,
        )

    @property
    def requests(self) -> dict[RequestKind, int]:
        """Requests by kind."""
        return {"put": self.put, "get": self.get, "list": self.list, "delete": self.delete, "head": self.head}


class Counter(Protocol):
    """Counts the traffic of one store, or of several."""

    def snapshot(self) -> Traffic:
        """All traffic until now."""
        ...

    def each(self) -> Mapping[str, Traffic]:
        """The same for each store, by its address."""
        ...


class Counting:
    """Listens to what the store at the wire reports; sits right around it."""

    def __init__(self, store: ReportingStore, observer: OnRequest = unheard) -> None:
        """`observer` is told of each request as well."""
        self._store = store
        self._observer = observer
        self._traffic = Traffic()
        store.on_request = self._count

    def snapshot(self) -> Traffic:
        """All traffic until now."""
        return self._traffic

    def each(self) -> Mapping[str, Traffic]:
        """The traffic of the one store."""
        return {self.address: self._traffic}

    @property
    def address(self) -> str:
        """That of the store within."""
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store."""
        await self._store.put(name, data, if_absent=if_absent)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        return await self._store.get(name, span)

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        return await self._store.list(prefix)

    async def delete(self, name: str) -> None:
        """See Store."""
        await self._store.delete(name)

    async def drop_history(self) -> None:
        """See Store."""
        await self._store.drop_history()

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    def _count(self, kind: RequestKind, up: int, down: int) -> None:
        traffic = self._traffic
        traffic = replace(traffic, bytes_up=traffic.bytes_up + up, bytes_down=traffic.bytes_down + down)
        self._traffic = replace(traffic, **{kind: traffic.requests[kind] + 1})
        self._observer(kind, up, down)


class Total:
    """The traffic of several stores together."""

    def __init__(self, counters: Sequence[Counting]) -> None:
        self._counters = counters

    def snapshot(self) -> Traffic:
        """All traffic until now."""
        return sum((counter.snapshot() for counter in self._counters), Traffic())

    def each(self) -> Mapping[str, Traffic]:
        """The traffic of each store, by its address."""
        return {counter.address: counter.snapshot() for counter in self._counters}
