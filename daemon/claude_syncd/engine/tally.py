"""What a run adds up to, while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.core.status import Pending

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(slots=True)
class Tally:
    """What a run has done so far, and which paths it has put off: `outgoing`, `incoming` are what it was to do.

    `moved`: changed under its hands; it looks at each of them once more.
    """

    uploaded: int = 0
    downloaded: int = 0
    deleted: int = 0
    conflicts: int = 0
    parked: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    outgoing: set[str] = field(default_factory=set)
    incoming: set[str] = field(default_factory=set)
    rest_ns: int | None = None

    def look_again(self, paths: Collection[str], problems: Mapping[str, str]) -> set[str]:
        """What of `paths`, which could not be done, is worth another look in this run. The rest is put off: what failed
        (`problems`: see Site), and what moved twice; what came in for that is parked.
        """
        moving = {path for path in paths if not failed(path, problems)}
        again = moving - self.moved
        self.moved |= again
        self.later.update(path for path in paths if path not in again)
        self.parked |= (moving - again) & self.incoming
        return again

    def unsettled(self) -> set[str]:
        """What moved twice and was to be published."""
        return (self.moved & self.later) - self.parked

    def pending(self) -> Pending:
        """What waits still."""
        waiting = self.later - self.parked
        return Pending(
            upload=len(waiting & self.outgoing), download=len(waiting & self.incoming), parked=len(self.parked)
        )


def failed(path: str, problems: Mapping[str, str]) -> list[str]:
    """Why a path could not be read or written here, in words."""
    return [problems[key] for key in (f"read:{path}", f"apply:{path}") if key in problems]
