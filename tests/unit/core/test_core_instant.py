"""How a moment is written."""

from __future__ import annotations

import pytest

from claude_syncd.core.instant import timestamp


@pytest.mark.parametrize(
    ("time_ns", "written"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (1_790_000_000_999_999_999, "2026-09-21T14:13:20Z"),  # as a float it would be the next second
        (2**63 - 1, "2262-04-11T23:47:16Z"),  # the latest that a record holds
    ],
)
def test_a_moment_is_its_second_in_utc(time_ns: int, written: str) -> None:
    assert timestamp(time_ns) == written
