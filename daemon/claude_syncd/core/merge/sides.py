"""What goes into a merge of a whole file, and what comes out."""

from __future__ import annotations

import msgspec


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the contents to merge. `sha256` is the content's, in hex: it orders sides of the same mtime."""

    content: bytes
    mtime_ns: int
    sha256: str


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """One content for all sides.

    `clashes`: the settings (dotted keys) for which two sides wanted different things; the newer side's are in
    `content`. Where there are any, the older side is to be kept as a conflict. Empty for everything but JSON.
    """

    content: bytes
    mtime_ns: int
    clashes: tuple[str, ...] = ()


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """No merge: `winner` goes into the tree, `kept` is kept as a conflict. `reason` is a clause for a message."""

    winner: Side
    kept: Side
    reason: str


def by_age(a: Side, b: Side) -> tuple[Side, Side]:
    """The two sides, the older one first: the order in which `reconcile` lets the newer win."""
    return (a, b) if (a.mtime_ns, a.sha256) <= (b.mtime_ns, b.sha256) else (b, a)


def conflict(a: Side, b: Side, reason: str) -> Conflict:
    """The newer side wins."""
    older, newer = by_age(a, b)
    return Conflict(winner=newer, kept=older, reason=reason)
