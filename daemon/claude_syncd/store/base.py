"""The port to storage. Every store passes the same conformance suite (tests/conformance)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_OBJECT = 33 * 1024 * 1024
"""No object of a vault is larger; a store may refuse one and never has to hold more in memory."""


@dataclass(frozen=True, slots=True)
class Span:
    """Part of an object: `length` bytes from `start`; a negative `start` counts from the end."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    name: str
    size: int


class Readable(Protocol):
    """What a vault is read from: the part of Store that asks, and changes nothing."""

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """The object's bytes, or those of `span` (fewer where the object ends). Raises ObjectMissing."""
        ...

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """Every object whose name begins with `prefix`, in the order of names. Never partial: it is all or an error."""
        ...


class Store(Readable, Protocol):
    """Named immutable objects. Names: parts of [A-Za-z0-9._-] joined by "/"; relative to the vault.

    Every method may raise StoreUnavailable (passing) or StoreRefused (lasting); nothing else than the errors of
    errors.py leaves a store. All are safe to call again after any failure and safe to call concurrently.
    """

    @property
    def address(self) -> str:
        """Where it is, free of secrets: `s3://bucket/prefix`, `file:///path`."""
        ...

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Store `data` under `name`, whole or not at all, durable when this returns.

        With `if_absent` raises AlreadyExists rather than overwrite, on stores that can; others overwrite.
        After an error the object may or may not be there.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...

    async def drop_history(self) -> None:
        """Much was deleted: what the store keeps of that in a history of its own may go. Most keep none; one that can't
        let go of it does nothing.
        """
        ...

    async def close(self) -> None:
        """Give back connections. No other method is called afterwards."""
        ...
