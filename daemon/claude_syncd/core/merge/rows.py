"""Lines of a transcript, read only as far as merging needs.

A line is opaque bytes. What is looked at is its top level, tolerantly: a line that is no JSON object (torn, glued to
another, with NUL bytes) has no fields at all. Rows compare by a digest that leaves out the id of the session they are
in, so that a fork's copy of a row is the same row.
"""

from __future__ import annotations

import hashlib
import re
from enum import Enum
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NESTING = 200
"""Rows nested deeper are opaque. Far below what the decoder does at any depth of the stack, so that it never depends
on the caller."""

T = TypeVar("T")

_STAMP = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)"')
_MARK = re.compile(rb' \(from [^()"\\]*\)"')
# A string that does not end is one token, too, or looking for it again at each quote in it would take for ever.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_DEEPER = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
# Half of a pair alone: JavaScript writes and reads it, the decoder does not.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_BLANK = b"\0 \t\r\n\v\f"


class _Fields(msgspec.Struct):
    """The top level of a row, each value as it is spelled; empty if there is none."""

    uuid: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    session: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="sessionId")
    title: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="customTitle")


_decoder = msgspec.json.Decoder(_Fields)


class RowKind(Enum):
    """What a line is to a merge."""

    CONTENT = "content"  # a message, or a complete line that can't be read: never dropped
    METADATA = "metadata"  # a row without uuid (title, mode, last prompt, ...), of which the last one counts
    MARK = "mark"  # a title that tells where a fork comes from
    NOTHING = "nothing"  # blank, or the torn end of the last line


class Row(msgspec.Struct, frozen=True):
    """A line as a merge sees it.

    `digest`: b"" for a line that holds nothing. `stamp`: its timestamp as written, b"" without one. `torn`: the end of
    the file came before that of the row.
    """

    kind: RowKind
    digest: bytes
    stamp: bytes = b""
    torn: bool = False


def lines_of(content: bytes) -> Iterator[bytes]:
    """The lines of `content`, each with its newline; the last one may have none. Nothing but LF ends a line."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        yield content[start:end]
        start = end


def read_row(line: bytes, session_id: str) -> Row:
    """What `line`, of the transcript of `session_id`, is."""
    body = line.removesuffix(b"\n")
    if not body.strip(_BLANK):
        return Row(RowKind.NOTHING, b"")
    fields = decoded(_decoder, body)
    if fields is None:
        if len(body) == len(line):
            return Row(RowKind.NOTHING, b"", torn=True)
        return Row(RowKind.CONTENT, hashlib.sha256(body).digest())
    digest = hashlib.sha256()
    start = 0
    for at in _own_ids(body, fields, session_id):
        digest.update(memoryview(body)[start:at])
        start = at + len(session_id)
    digest.update(memoryview(body)[start:])
    stamp = _STAMP.fullmatch(bytes(fields.timestamp))
    return Row(_kind(fields), digest.digest(), stamp[1] if stamp else b"")


def renamed(line: bytes, old: str, new: str) -> bytes:
    """`line` with its own session id, if that is `old`, replaced by `new`; every other byte is as it was."""
    body = line.removesuffix(b"\n")
    fields = decoded(_decoder, body)
    if fields is None:
        return line
    pieces = []
    start = 0
    for at in _own_ids(body, fields, old):
        pieces += [line[start:at], new.encode()]
        start = at + len(old)
    return b"".join((*pieces, line[start:])) if pieces else line


def renamed_lines(lines: Iterable[bytes], old: str, new: str) -> Iterator[bytes]:
    """`renamed` for each line: for subagent transcripts of a session that was forked."""
    return (renamed(line, old, new) for line in lines)


def _kind(fields: _Fields) -> RowKind:
    if _text(fields.uuid):
        return RowKind.CONTENT
    if bytes(fields.type) == b'"custom-title"' and is_mark(bytes(fields.title)):
        return RowKind.MARK
    return RowKind.METADATA


def is_mark(title: bytes) -> bool:
    """Whether a title, as JSON text, ends by telling where a fork comes from."""
    found = _MARK.search(title)
    return found is not None and found.end() == len(title)


def _text(value: msgspec.Raw) -> bool:
    return len(spelled := bytes(value)) > 2 and spelled.startswith(b'"')


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """`body` decoded; None if it is no such JSON. Half surrogate pairs, which JavaScript writes, read as "?"."""
    if body.count(b"{") + body.count(b"[") > MAX_NESTING and _nesting(body) > MAX_NESTING:
        return None
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError:
        if not has_surrogate(body):
            return None
    try:
        return decoder.decode(_SURROGATE.sub(rb"\\u003f", body))
    except msgspec.MsgspecError:
        return None


def has_surrogate(body: bytes) -> bool:
    """Whether `body` spells half a surrogate pair, alone or not."""
    return b"\\ud" in body or b"\\uD" in body


def _nesting(body: bytes) -> int:
    deepest = 0
    for _, depth in _tokens(body):
        deepest = max(deepest, depth)
    return deepest


def _tokens(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each string and bracket begins, and how deep in brackets what follows it is."""
    depth = 0
    for token in _TOKEN.finditer(body):
        at = token.start()
        depth += _DEEPER.get(body[at], 0)
        yield at, depth


def _own_ids(body: bytes, fields: _Fields, session_id: str) -> list[int]:
    """Where `session_id` stands in `body` as the value of a key "sessionId" of the top level."""
    spelled = f'"{session_id}"'.encode()
    return [at + 1 for at in places(body, b"sessionId", spelled)] if bytes(fields.session) == spelled else []


def places(body: bytes, key: bytes, spelled: bytes) -> list[int]:
    """Where the value of `key` at the top level of the JSON object `body` begins, given that it is `spelled` so."""
    found = list(_pattern(key, spelled).finditer(body))
    if not found:
        return []
    # The key nearly always comes once, and before anything that has brackets.
    before = body[1 : found[0].start()]
    if len(found) == 1 and b"{" not in before and b"[" not in before and b"\\" not in before:
        return [found[0].end() - len(spelled)]
    starts = {match.start(): match.end() - len(spelled) for match in found}
    last = found[-1].start()
    tokens = takewhile(lambda token: token[0] <= last, _tokens(body))
    return [starts[at] for at, depth in tokens if depth == 1 and at in starts]


@lru_cache(maxsize=64)
def _pattern(key: bytes, spelled: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"' + key + rb'"[ \t\r\n]*:[ \t\r\n]*' + re.escape(spelled))
