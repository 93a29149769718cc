"""How a moment is written."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(time_ns: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
