"""The versions of a path in the order in which they came about. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claude_syncd.core.elapsed import DAY
from claude_syncd.core.model import Kind, Record, covers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.core.model import Slice, Vector

_HOUR = 3600
APART = ((7 * DAY, 6 * _HOUR), (DAY, _HOUR), (0, 600))
"""Versions of a file that only grew are kept so far apart (seconds) once they were superseded so long ago (lived)."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A record, and when it was published (Unix time in ns); where that is not known, the time of its file."""

    record: Record
    time_ns: int


class Past(NamedTuple):
    """One of a device's versions of a path: when it was published (Unix time in ns), how long ago another took its
    place (lived), and where its content lies.
    """

    time_ns: int
    age: int
    slices: tuple[Slice, ...]


def apart_ns(age: int) -> int:
    """How far apart versions of a file that only grew are kept at this age."""
    return next(apart for since, apart in APART if age >= since) * 1_000_000_000


def surplus(versions: Sequence[Past]) -> list[int]:
    """Which of a device's versions of a path, the oldest first and all of them, need not be kept: those that the next
    one begins with, if they are close to one that is kept. No content is lost with them.
    """
    found, kept = [], None
    for number, (one, after) in enumerate(pairwise(versions)):
        if kept is not None and one.time_ns - kept < apart_ns(one.age) and _begins(one.slices, after.slices):
            found.append(number)
        else:
            kept = one.time_ns
    return found


def _begins(one: tuple[Slice, ...], after: tuple[Slice, ...]) -> bool:
    """Whether `after` begins with the content of `one`, as far as one can see by where they lie."""
    if not 0 < len(one) <= len(after):
        return False
    last, same = one[-1], after[len(one) - 1]
    return (
        one[:-1] == after[: len(one) - 1]
        and (last.object, last.blob, last.start) == (same.object, same.blob, same.start)
        and last.length <= same.length
    )


def timeline(found: Iterable[Version]) -> list[Version]:
    """What was published of a path, the oldest first. A version never comes before one that it supersedes, whatever
    the clocks said. Left out are withdrawals, which have no content, and what says the same as the version before it.
    """
    told = sorted(
        (v for v in found if v.record.kind is not Kind.WITHDRAWN),
        key=lambda v: (sum(v.record.vector.values()), v.time_ns, v.record.device, v.record.seq),
    )
    placed: list[Version] = []
    for version in told:  # whatever a version supersedes has a smaller sum, so it is placed already
        before = [p.time_ns for p in placed if covers(version.record.vector, p.record)]
        placed.append(msgspec.structs.replace(version, time_ns=max([version.time_ns, *before])))
    placed.sort(key=lambda v: v.time_ns)  # stable: those of one time stay in the order of what they supersede
    return [v for n, v in enumerate(placed) if n == 0 or content(v.record) != content(placed[n - 1].record)]


def as_of(versions: Sequence[Version], time_ns: int) -> Version | None:
    """Of a timeline the version that was the newest at a time; None where nothing had been published."""
    return next((v for v in reversed(versions) if v.time_ns <= time_ns), None)


def common_ancestor(known: Iterable[Record], one: Vector, other: Vector) -> Record | None:
    """The newest file among `known` records of a path that versions with these two vectors both come from.

    None where there is none, or more than one of which neither comes from the other. A device that knows fewer of the
    old records gets an older one, which merges as well: what both sides share since is the same on both.
    """
    shared = [r for r in known if covers(one, r) and covers(other, r)]
    newest = [r for r in shared if not any(o is not r and covers(o.vector, r) for o in shared)]
    if not newest or any(r.kind is not Kind.FILE or content(r) != content(newest[0]) for r in newest):
        return None
    return max(newest, key=lambda r: (r.device, r.seq))


def content(record: Record) -> tuple[Kind, str, int]:
    """What makes two versions the same."""
    return (record.kind, record.sha256, record.mode)
