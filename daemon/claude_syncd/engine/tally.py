"""What a run adds up to, while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from claude_syncd.core.status import Pending


@dataclass(slots=True)
class Tally:
    """What a run has done so far, and which paths it has put off: `outgoing`, `incoming` are what it was to do."""

    uploaded: int = 0
    downloaded: int = 0
    deleted: int = 0
    conflicts: int = 0
    parked: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    outgoing: set[str] = field(default_factory=set)
    incoming: set[str] = field(default_factory=set)
    rest_ns: int | None = None

    def pending(self) -> Pending:
        """What waits still."""
        waiting = self.later - self.parked
        return Pending(
            upload=len(waiting & self.outgoing), download=len(waiting & self.incoming), parked=len(self.parked)
        )
