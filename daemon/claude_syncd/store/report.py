"""How a store reports its requests, so that they are counted where they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from claude_syncd.store.base import Store

RequestKind = Literal["put", "get", "list", "delete", "head"]

OnRequest = Callable[[RequestKind, int, int], None]
"""Kind, bytes of objects sent, bytes of objects received; called once per request, also for one that failed."""


class ReportingStore(Store, Protocol):
    """A store at the wire. A page of a listing is one request; one that found no way to the server is none."""

    on_request: OnRequest


def unheard(kind: RequestKind, up: int, down: int) -> None:
    """Nobody counts."""
