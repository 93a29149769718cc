"""`history.jsonl`, the prompts that were typed: the union of all sides, oldest first.

A prompt is its time, its session and its text; where two sides spell one prompt differently the longer line stays.
Lines stay as they are, but for `project`, which is an absolute path and differs by device. Lines that can't be read
come first, in the order of their bytes: Claude Code reads the file from its end.

Nothing is ever taken away here, so that a file that was cut or emptied empties no other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claude_syncd.core.merge.rows import decoded, has_surrogate, lines_of, places
from claude_syncd.core.merge.sides import Merged, Side

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NUMBER = 1 << 60
"""Times beyond are no times."""

_HASH = re.compile(r"[0-9a-f]{16}")
_BLANK = b" \t\r\n"


class _Paste(msgspec.Struct):
    hash: object = msgspec.field(default=None, name="contentHash")


class _Prompt(msgspec.Struct):
    timestamp: int | float
    display: str
    session: str = msgspec.field(default="", name="sessionId")


class _Pasted(msgspec.Struct):
    pasted: dict[str, _Paste] = msgspec.field(default_factory=dict, name="pastedContents")


class _Project(msgspec.Struct):
    project: msgspec.Raw = msgspec.Raw()


class _Identity(NamedTuple):
    """Of a line; in this order they are written. A line that can't be read has no time: its bytes are what it is."""

    timestamp: float
    session: str
    display: str
    unread: bytes


_prompts = msgspec.json.Decoder(_Prompt)
_pastes = msgspec.json.Decoder(_Pasted)
_projects = msgspec.json.Decoder(_Project)
_string = msgspec.json.Decoder(str)


def merge(*sides: Side) -> Merged:
    """One content for all sides; never a conflict."""
    return Merged(content=union(*(s.content for s in sides)), mtime_ns=max(s.mtime_ns for s in sides))


def union(*contents: bytes) -> bytes:
    """All prompts of `contents`, each once, by time; every line ends with a newline."""
    lines: dict[_Identity, bytes] = {}
    for content in contents:
        for raw in lines_of(content):
            line = raw.removesuffix(b"\n")
            if not line.strip(_BLANK):
                continue
            identity = _identity(line)
            lines[identity] = max(line, lines.get(identity, b""), key=lambda spelled: (len(spelled), spelled))
    return b"".join(line + b"\n" for _, line in sorted(lines.items()))


def with_projects(content: bytes, path: Callable[[str], str]) -> bytes:
    """`content` with every prompt's project folder given by `path`; where that changes nothing, no byte changes."""
    return b"".join(_with_project(line, path) for line in lines_of(content))


def pastes(content: bytes) -> frozenset[str]:
    """The hashes of the pastes that `content` refers to: what lies in `paste-cache/<hash>.txt` and must be there first.

    Only what looks like such a hash (16 hex digits) is returned, so it is safe in a file's name.
    """
    found: set[str] = set()
    for line in lines_of(content):
        if b'"contentHash"' not in line:
            continue
        row = decoded(_pastes, line)
        if row is not None:
            found.update(p.hash for p in row.pasted.values() if isinstance(p.hash, str) and _HASH.fullmatch(p.hash))
    return frozenset(found)


def _identity(line: bytes) -> _Identity:
    row = decoded(_prompts, line)
    if row is None or not -MAX_NUMBER < row.timestamp < MAX_NUMBER:
        return _Identity(-MAX_NUMBER, "", "", line)
    return _Identity(row.timestamp, row.session, row.display, line if has_surrogate(line) else b"")


def _with_project(line: bytes, path: Callable[[str], str]) -> bytes:
    row = decoded(_projects, line)
    spelled = bytes(row.project) if row is not None else b""
    try:
        project = _string.decode(spelled)
    except msgspec.MsgspecError:
        return line
    new = path(project)
    if new == project:
        return line
    pieces, start = [], 0
    for at in places(line, b"project", spelled):
        pieces += [line[start:at], msgspec.json.encode(new)]
        start = at + len(spelled)
    return b"".join((*pieces, line[start:]))
