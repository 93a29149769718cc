"""When to ask the store for news, and when to try again: pure over a monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

ACTIVE_FOR = 600.0
"""Seconds after which another device that pushed nothing counts as idle."""
_RETRY_FIRST = 2.0


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds, as configured."""

    quiet: float = 2.0
    limit: float = 15.0
    active: float = 5.0
    idle: float = 60.0
    roster: float = 60.0
    list: float = 1800.0
    scan: float = 3600.0


class Schedule:
    """When the next poll is due. Backs off while nothing comes and while the store does not answer."""

    def __init__(self, intervals: Intervals, random: random.Random, now: float) -> None:
        self._intervals = intervals
        self._random = random
        self._next = now
        self._step = intervals.active
        self._active_until = now + ACTIVE_FOR
        self._failures = 0
        self._stopped = False
        self._wake: float | None = None

    def due(self, now: float) -> bool:
        """Whether to poll now."""
        wait = self.wait(now)
        return wait is not None and wait <= 0

    def wait(self, now: float) -> float | None:
        """Seconds until the next poll; None while stopped by a lasting error."""
        if self._stopped:
            return None
        first = self._next if self._wake is None or self.failing else min(self._next, self._wake)
        return max(0.0, first - now)

    def wake(self, now: float, seconds: float | None) -> None:
        """There will be something to do in so many seconds, if the store answers by then; None: nothing is known."""
        self._wake = now + seconds if seconds is not None else None

    def soon(self, now: float) -> None:
        """A user asks, or something says that there is news."""
        self._next, self._stopped, self._failures = now, False, 0
        self._active_until = now + ACTIVE_FOR
        self._step = self._intervals.active

    def polled(self, now: float, *, news: bool) -> None:
        """A poll went well."""
        self._failures = 0
        if news:
            self._active_until = now + ACTIVE_FOR
        if now < self._active_until:
            self._step = self._intervals.active
        else:
            self._step = min(self._step * 2, self._intervals.idle)
        self._next = now + self._jittered(self._step)

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """The store did not answer, or this disk refused; in passing."""
        self._failures += 1
        wait = min(_RETRY_FIRST * 2 ** min(self._failures - 1, 10), self._intervals.idle)
        self._next = now + max(self._jittered(wait), retry_after or 0.0)

    def stop(self) -> None:
        """A lasting error: wait for the user."""
        self._stopped = True

    @property
    def failing(self) -> bool:
        """Whether the last try failed: nothing else is tried before the next poll is due."""
        return self._failures > 0 or self._stopped

    def _jittered(self, seconds: float) -> float:
        return seconds * self._random.uniform(0.8, 1.2)
