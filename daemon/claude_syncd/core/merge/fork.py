"""Making a fork: a diverged transcript's bytes under its new session id, and where its side folder goes.

The title row has the shape that Claude Code itself appends on a rename (and the Agent SDK's `rename_session`):
`{"type":"custom-title","customTitle":...,"sessionId":...}`, of which the last one in the file counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.merge.rows import is_mark, read_row, renamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TITLE = 200
MAX_PROMPT = 60
MAX_NAME = 60
_LONGEST = 1 << 20
"""Rows longer than this are not looked at for a title."""

# The title of the other side, and what that session's user put away, are not the fork's.
_NOT_COPIED = frozenset({"custom-title.json", "archived.json"})


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Block] = ""


class _TitleRow(msgspec.Struct):
    type: str = ""
    custom_title: str = msgspec.field(default="", name="customTitle")
    ai_title: str = msgspec.field(default="", name="aiTitle")
    is_meta: bool = msgspec.field(default=False, name="isMeta")
    message: _Message = msgspec.field(default_factory=_Message)


_decoder = msgspec.json.Decoder(_TitleRow)


class Title:
    """The title of a session, from its rows as they pass: the user's, else Claude's, else the first prompt."""

    def __init__(self) -> None:
        self._custom = ""
        self._suggested = ""
        self._prompt = ""

    def see(self, line: bytes) -> None:
        """Take note of a row."""
        is_title = b'-title"' in line
        if len(line) > _LONGEST or not (is_title or (not self._prompt and b'"user"' in line)):
            return
        try:
            row = _decoder.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            return
        if row.type == "custom-title":
            self._custom = _one_line(row.custom_title, MAX_TITLE) or self._custom
        elif row.type == "ai-title":
            self._suggested = _one_line(row.ai_title, MAX_TITLE) or self._suggested
        elif row.type == "user" and not row.is_meta:
            self._prompt = self._prompt or _prompt(row.message)

    def current(self) -> str:
        """The title, "" for none."""
        return self._custom or self._suggested or self._prompt


def fork_lines(lines: Iterable[bytes], old: str, new: str, line: int, device_name: str) -> Iterator[bytes]:
    """The lines of a fork, from those of a transcript of session `old`: under the id `new`, and titled by its origin.

    `line`: the number of the first line of its own, from 0. A title set since then that names an origin already is
    kept: the fork was made elsewhere before, or is a fork's fork. A torn last line, which nothing can read, is left
    out: with a row after it, it would pass for one that was complete.
    """
    title = Title()
    before = ""
    ended = True
    for number, row in enumerate(lines):
        if number == line:
            before = title.current()
        title.see(row)
        ended = row.endswith(b"\n")
        if not ended and read_row(row, old).torn:
            ended = True
            break
        yield renamed(row, old, new)
    now = title.current()
    if now != before and is_mark(msgspec.json.encode(now)):
        return
    if not ended:
        yield b"\n"
    yield title_row(new, marked(now, device_name))


def marked(title: str, device_name: str) -> str:
    """`title` with its origin, instead of an earlier one."""
    name = _one_line("".join(" " if c in '()"\\' else c for c in device_name), MAX_NAME) or "another device"
    plain = title.rpartition(" (from ")[0] if is_mark(msgspec.json.encode(title)) else title
    return f"{plain or 'Session'} (from {name})"


def title_row(session_id: str, title: str) -> bytes:
    """The row that gives a session a title, with its newline."""
    row = {"type": "custom-title", "customTitle": title, "sessionId": session_id}
    return msgspec.json.encode(row) + b"\n"


def fork_path(path: str, old: str, new: str) -> str | None:
    """Where a file of the session `old` lies for its fork `new`: its transcript, or a file of its side folder.

    `path` is portable; None for a file that is not the session's, or that a fork does not take over. The side
    folder's files are copied, not moved: what a tool's output was saved as is named in the rows by its old path.
    """
    parts = path.split("/")
    if len(parts) < 4 or parts[:2] != ["tree", "projects"]:
        return None
    if len(parts) == 4:
        return "/".join([*parts[:3], f"{new}.jsonl"]) if parts[3] == f"{old}.jsonl" else None
    if parts[3] != old or (len(parts) == 5 and parts[4] in _NOT_COPIED):
        return None
    return "/".join([*parts[:3], new, *parts[4:]])


def _prompt(message: _Message) -> str:
    texts = [message.content] if isinstance(message.content, str) else [b.text for b in message.content]
    return next((cut for text in texts if not text.startswith("<") and (cut := _one_line(text, MAX_PROMPT))), "")


def _one_line(text: str, length: int) -> str:
    """`text` in one line without control characters, cut to `length` characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text[: 8 * length]).split())
    return plain if len(plain) <= length else plain[: length - 1].rstrip() + "…"
