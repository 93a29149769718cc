"""Time as this device has lived through it: what a wall clock that jumps can't hurry. Pure.

Counted are the seconds that the program ran, by a clock that never jumps, and for each time that it did not run what
the wall clock has gone on beyond anything it ever showed, but six hours at the most. So a false jump hurries it by
those, and one that goes to and fro counts once. It may well fall behind; what waits for it only waits longer.
"""

from __future__ import annotations

import msgspec

DAY = 86_400
AWAY = 6 * 3600
"""Seconds that one absence counts at the most."""


class Elapsed(msgspec.Struct, frozen=True, array_like=True):
    """`seconds` lived through until now, and the latest time that the wall clock has shown (0: never looked)."""

    seconds: float = 0.0
    latest_ns: int = 0


def passed(before: Elapsed, *, wall_ns: int, running: float) -> Elapsed:
    """How it stands now. `running`: seconds since `before` by a clock that never jumps, 0 in a program just started."""
    away = (wall_ns - before.latest_ns) / 1e9 - running if before.latest_ns else 0.0
    return Elapsed(
        seconds=before.seconds + max(running, 0.0) + min(max(away, 0.0), AWAY),
        latest_ns=max(before.latest_ns, wall_ns),
    )
