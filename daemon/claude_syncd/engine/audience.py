"""Who is told how the work goes on: those that listen for as long as they like, and who waits for one request."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from claude_syncd.core.status import Progress, Status

QUEUED = 64
"""Events that wait for a slow listener; what is more passes it by."""


class Audience:
    """The listeners of one daemon. Made and called on the event loop."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Progress | Status]] = set()
        self._hearers: list[Callable[[Progress], None]] = []

    @property
    def listens(self) -> bool:
        """Whether an announcement would reach anybody."""
        return bool(self._queues)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Progress | Status]]:
        """Where all that is announced arrives for as long as the block lasts."""
        queue: asyncio.Queue[Progress | Status] = asyncio.Queue(maxsize=QUEUED)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    @contextmanager
    def heard(self, progress: Callable[[Progress], None]) -> Iterator[None]:
        """Have `progress` called for as long as the block lasts."""
        self._hearers.append(progress)
        try:
            yield
        finally:
            self._hearers.remove(progress)

    def progressed(self, progress: Progress) -> None:
        """The work is that far."""
        for hearer in self._hearers:
            hearer(progress)
        self.announce(progress)

    def announce(self, event: Progress | Status) -> None:
        """Tell whoever listens, without waiting."""
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(event)
