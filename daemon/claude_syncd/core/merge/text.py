"""Text that people and Claude write (`CLAUDE.md`, agents, commands, rules, skills, memory): a merge by lines.

Bytes stay bytes: line ends, a missing last newline and invalid UTF-8 come out as they went in.
"""

from __future__ import annotations

from claude_syncd.core.merge.diff import three_way
from claude_syncd.core.merge.rows import lines_of
from claude_syncd.core.merge.sides import Conflict, Merged, Side, by_age, conflict

MAX_SIZE = 1 << 20
"""Larger texts are not merged."""


def merge(base: bytes | None, a: Side, b: Side, *, union: bool = False) -> Merged | Conflict:
    """Merge two versions of a text against their common ancestor; None if it is not known.

    Where both changed the same lines, or lines next to each other, there is no merge. `union` (for a memory index, a
    list of lines that belong to nobody in particular) takes the lines of both there, the older side's first, and
    needs no ancestor.
    """
    mtime_ns = max(a.mtime_ns, b.mtime_ns)
    if a.content == b.content:
        return Merged(content=a.content, mtime_ns=mtime_ns)
    if max(len(a.content), len(b.content), len(base or b"")) > MAX_SIZE:
        return conflict(a, b, "too large to merge")
    if base is None and not union:
        return conflict(a, b, "no common version is known")
    older, newer = (list(lines_of(side.content)) for side in by_age(a, b))
    known = frozenset(map(_bare, older))
    content: list[bytes] = []
    for chunk in three_way(older if base is None else list(lines_of(base)), older, newer):
        if chunk.a == chunk.b or (base is not None and chunk.b == chunk.base):
            content += chunk.a
        elif base is not None and chunk.a == chunk.base:
            content += chunk.b
        elif union:
            content += [*chunk.a, *(line for line in chunk.b if _bare(line) not in known)]
        else:
            return conflict(a, b, "both changed the same lines")
    return Merged(content=_joined(content), mtime_ns=mtime_ns)


def _bare(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")


def _joined(lines: list[bytes]) -> bytes:
    """The lines as one text. One that had no newline, as the last of its side, may now have others after it."""
    return b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines[:-1]) + b"".join(lines[-1:])
