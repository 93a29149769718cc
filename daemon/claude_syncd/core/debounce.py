"""When to push: after a moment of quiet, but never later than a limit; at once when asked."""

from __future__ import annotations


class Debounce:
    """Gathers hints of changes until it is time to act on them. Times are seconds of one monotonic clock."""

    def __init__(self, quiet: float = 2.0, limit: float = 15.0) -> None:
        """Due after `quiet` seconds without a hint, and at the latest `limit` seconds after the first one."""
        self._quiet = quiet
        self._limit = limit
        self._due: float | None = None
        self._latest = 0.0

    def hint(self, now: float) -> None:
        """Something changed; wait whether more follows."""
        if self._due is None:
            self._latest = now + self._limit
            self._due = min(now + self._quiet, self._latest)
        elif self._due > now:  # what is due stays due
            self._due = min(now + self._quiet, self._latest)

    def poke(self, now: float) -> None:
        """Somebody asks for it now."""
        if self._due is None or self._due > now:
            self._due = self._latest = now

    def taken(self) -> None:
        """The work was taken up; what is hinted from now on is for the next time."""
        self._due = None

    def due(self, now: float) -> bool:
        """Whether to act now."""
        return self._due is not None and self._due <= now

    def wait(self, now: float) -> float | None:
        """Seconds until it is due if nothing else happens, 0 when it is; None when there is nothing to do."""
        return None if self._due is None else max(0.0, self._due - now)
