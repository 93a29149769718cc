"""Lines of text: where two versions agree, and the three-way merge that rests on it.

Agreement is found by lines that are unique in both (patience diff): bounded at n log n for any input, where the usual
algorithms take quadratic time on a file of equal lines, and it never ties a change to a stray blank line or brace.
What it does not match counts as changed, so at worst a merge becomes a conflict.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROUNDS = 40
"""How often a stretch is looked at again with what is unique in it alone."""


class Chunk(NamedTuple):
    """A stretch of the three versions: a line that all have, or what each has between two such lines."""

    base: list[bytes]
    a: list[bytes]
    b: list[bytes]


def three_way(base: Sequence[bytes], a: Sequence[bytes], b: Sequence[bytes]) -> Iterator[Chunk]:
    """The three versions cut into chunks, in order; each line of each version is in exactly one."""
    in_a, in_b = dict(matches(base, a)), dict(matches(base, b))
    at_base = at_a = at_b = 0
    for i in range(len(base) + 1):
        end = i == len(base)
        to_a, to_b = (len(a), len(b)) if end else (in_a.get(i), in_b.get(i))
        if to_a is None or to_b is None:
            continue
        if (at_base, at_a, at_b) != (i, to_a, to_b):
            yield Chunk(list(base[at_base:i]), list(a[at_a:to_a]), list(b[at_b:to_b]))
        if not end:
            yield Chunk([base[i]], [a[to_a]], [b[to_b]])
        at_base, at_a, at_b = i + 1, to_a + 1, to_b + 1


def matches(a: Sequence[bytes], b: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pairs of places with equal lines, ascending in both."""
    found: list[tuple[int, int]] = []
    work = [(0, len(a), 0, len(b), _ROUNDS)]
    while work:
        a0, a1, b0, b1, rounds = work.pop()
        while a0 < a1 and b0 < b1 and a[a0] == b[b0]:
            found.append((a0, b0))
            a0, b0 = a0 + 1, b0 + 1
        while a0 < a1 and b0 < b1 and a[a1 - 1] == b[b1 - 1]:
            a1, b1 = a1 - 1, b1 - 1
            found.append((a1, b1))
        if a0 == a1 or b0 == b1 or not rounds:
            continue
        anchors = _anchors(a[a0:a1], b[b0:b1])
        for i, j in anchors:
            found.append((a0 + i, b0 + j))
        if anchors:
            ends = [(-1, -1), *anchors, (a1 - a0, b1 - b0)]
            for (i, j), (k, m) in pairwise(ends):
                work.append((a0 + i + 1, a0 + k, b0 + j + 1, b0 + m, rounds - 1))
    return sorted(found)


def _anchors(a: Sequence[bytes], b: Sequence[bytes]) -> list[tuple[int, int]]:
    """The longest run, ascending in both, of lines that come once in `a` and once in `b`."""
    once_a, once_b = Counter(a), Counter(b)
    place = {line: j for j, line in enumerate(b) if once_b[line] == 1}
    pairs = [(i, place[line]) for i, line in enumerate(a) if once_a[line] == 1 and line in place]
    # Patience: each pair goes on the leftmost pile whose top lies behind it in `b`; piles as lists of chains.
    tops: list[int] = []
    chains: list[_Chain] = []
    for i, j in pairs:
        pile = bisect_left(tops, j)
        chain = _Chain(i, j, chains[pile - 1] if pile else None)
        if pile == len(tops):
            tops.append(j)
            chains.append(chain)
        else:
            tops[pile], chains[pile] = j, chain
    run: list[tuple[int, int]] = []
    last = chains[-1] if chains else None
    while last is not None:
        run.append((last.i, last.j))
        last = last.before
    return run[::-1]


class _Chain(NamedTuple):
    i: int
    j: int
    before: _Chain | None
