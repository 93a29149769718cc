"""`logs`: the daemon's log, readable. Reads the files themselves, so it needs no daemon."""

# Imports cost start-up time.
# ruff: noqa: PLC0415, PTH116, PTH123
from __future__ import annotations

import json
import os
import sys
from itertools import count

from claude_syncd.ctl import where
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import block, line, painter, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from claude_syncd.ctl.options import Given

    Paint = Callable[[str, str], str]

_LINES = 50
_PIECE = 64 * 1024
_LOOK_SECONDS = 0.25
_COLOURS = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red", "critical": "red"}
_PLACED = ("time", "level", "event", "logger", "exception")
"""What of an entry has its own place in the line; the rest follows as name=value."""


def run(given: Given) -> int:
    """`logs [-f] [-n N] [--json]`."""
    if given.has("--json") and given.has("--follow"):
        raise usage_error(given.command, "--follow and --json don't go together")
    number = given.number("--lines", _LINES)
    path = where.log_file()
    try:
        entries, end = _last(path, number)
        for generation in count(1):
            if len(entries) >= number or not os.path.exists(f"{path}.{generation}"):  # noqa: PTH110 - see above
                break
            entries = _last(f"{path}.{generation}", number - len(entries))[0] + entries
        if given.has("--json"):
            say(json.dumps({"lines": [_parsed(raw) or raw.decode(errors="replace") for raw in entries]}))
            return 0
        paint = painter(sys.stdout)
        for raw in entries:
            say(readable(raw, paint))
        if given.has("--follow"):
            _follow(path, end, paint)
    except BrokenPipeError:
        raise
    except FileNotFoundError as error:
        raise _no_log(path) from error
    except OSError as error:
        from claude_syncd.errors import LocalError

        raise LocalError(f"can't read {path}: {error.strerror}") from error
    return 0


def readable(raw: bytes, paint: Paint) -> str:
    """Give one entry of the log as people read it: local time, level, event, then the facts."""
    entry = _parsed(raw)
    if entry is None:
        return line(raw.decode(errors="replace"))
    level = str(entry.get("level", ""))
    facts = "".join(f" {line(name)}={line(_fact(value))}" for name, value in entry.items() if name not in _PLACED)
    head = f"{paint(_local_time(entry.get('time')), 'dim')} {paint(f'{line(level):<7}', _COLOURS.get(level, 'bold'))}"
    text = f"{head} {line(str(entry.get('event', '')))}{paint(facts, 'dim') if facts else ''}"
    if trace := entry.get("exception"):
        text += "".join(f"\n    {row}" for row in block(str(trace)).splitlines())
    return text


def _last(path: str, number: int) -> tuple[list[bytes], int]:
    """Give the last `number` whole lines of a file, and where they end."""
    pieces: list[bytes] = []
    found = 0
    with open(path, "rb") as file:
        start = file.seek(0, os.SEEK_END)
        while start and found <= number:
            length = min(_PIECE, start)
            start -= length
            file.seek(start)
            pieces.insert(0, file.read(length))
            found += pieces[0].count(b"\n")
    content = b"".join(pieces)
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    return lines[len(lines) - min(number, len(lines)) :], start + len(whole)


def _follow(path: str, start: int, paint: Paint) -> None:
    """Print what is added behind `start`, and go on with the next file when this one is rotated away. Never ends."""
    from time import sleep

    while True:
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            rest = b""
            while True:
                # Asked before reading: what was written before the rotation is then surely read.
                replaced = _replaced(file.fileno(), path)
                piece = file.read(_PIECE)
                *whole, rest = (rest + piece).split(b"\n")
                for raw in whole:
                    say(readable(raw, paint))
                sys.stdout.flush()
                if piece:
                    continue
                if replaced:
                    break
                sleep(_LOOK_SECONDS)
        start = 0


def _replaced(opened: int, path: str) -> bool:
    """Whether `path` is another file by now, or has been cut."""
    mine = os.fstat(opened)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False  # between two files: the next one comes
    return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino) or there.st_size < os.lseek(
        opened, 0, os.SEEK_CUR
    )


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _fact(value: object) -> str:
    if isinstance(value, str) and value and not any(letter in value for letter in ' "=\n'):
        return value
    return json.dumps(value, ensure_ascii=False)


def _local_time(moment: object) -> str:
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(moment)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return line(str(moment))


def _no_log(path: str) -> Exception:
    from claude_syncd.errors import NotSetUp, SyncError

    if not where.is_set_up():
        return NotSetUp("this device is not set up")
    return SyncError(f"there is no log yet at {path}", hint="the daemon writes it: `claude-syncctl service start`")
