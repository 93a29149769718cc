"""`history.jsonl`, the prompts that were typed: the union of all sides, oldest first.

A prompt is its time, its session and its text; where two sides spell one prompt differently the longer line stays.
Lines stay as they are, but for `project`, an absolute path that differs by device: see `Homes`. Lines that can't be
read come first, in the order of their bytes: Claude Code reads the file from its end.

Nothing is ever taken away here, so that a file that was cut or emptied empties no other.
"""

from __future__ import annotations

import json
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


class Homes:
    """How this device's home folder is named in the vault: a `project` below it begins with "~" there, so that the
    prompts of a project are found on every device. Nothing but that one value of a line is ever touched.

    A project that begins with "~" by itself gets another "~" in front, so both ways lead back to the same bytes:
    `inward(outward(line)) == line` for every line of this device's.
    """

    def __init__(self, home: str) -> None:
        """`home`: the absolute path as Claude Code spells it; with "" or the root folder nothing is named anew."""
        spelled = _spelled(home.rstrip("/")) if home.startswith("/") else b""
        self._home = b'"' + spelled if spelled else b""

    def outward(self, line: bytes) -> bytes:
        """A line of this device's as it is in the vault."""
        if b'"~' not in line and not (self._home and self._home in line):
            return line
        return _respelled(line, self._portable)

    def inward(self, line: bytes) -> bytes:
        """A line of the vault's as it is on this device."""
        return _respelled(line, self._local) if self._home and b'"~' in line else line

    def _portable(self, project: bytes) -> bytes:
        if not self._home:
            return project
        if project.startswith(b'"~'):
            return b'"~' + project[1:]
        if project.startswith(self._home) and project[len(self._home) :][:1] in (b"/", b'"'):
            return b'"~' + project[len(self._home) :]
        return project

    def _local(self, project: bytes) -> bytes:
        if project.startswith(b'"~~'):
            return b'"' + project[2:]
        if project.startswith((b'"~/', b'"~"')):
            return self._home + project[2:]
        return project


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


def _respelled(line: bytes, respell: Callable[[bytes], bytes]) -> bytes:
    """`line` with the text of its project's value given by `respell`."""
    row = decoded(_projects, line)
    spelled = bytes(row.project) if row is not None else b""
    new = respell(spelled) if spelled.startswith(b'"') else spelled
    if new == spelled:
        return line
    found = places(line, b"project", b"")
    if len(found) != 1 or not line.startswith(spelled, found[0]):
        return line  # the key comes twice: which of the two is meant could not be told on the way back
    at = found[0]
    return b"".join((line[:at], new, line[at + len(spelled) :]))


def _spelled(text: str) -> bytes:
    """What stands between the quotes of a JSON string, as JavaScript writes it; b"" for what is no text."""
    try:
        return json.dumps(text, ensure_ascii=False)[1:-1].encode()
    except UnicodeEncodeError:
        return b""
