"""Which sessions a running Claude Code has open: `sessions/<pid>.json`, as long as that process lives, and, where no
such file tells of one, what was written in the last seconds.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import msgspec

from claude_syncd.local.beneath import open_file, opened_root

if TYPE_CHECKING:
    from pathlib import Path

_MAX_SIZE = 64 * 1024
_MAX_FILES = 4096
_START_FIELD = 22 - 3  # in /proc/<pid>/stat, counted behind the name in parentheses


class _Session(msgspec.Struct, frozen=True):
    """What we need of one of these files; `procStart` is the process's start time as the kernel counts it."""

    pid: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]
    session_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] = msgspec.field(name="sessionId")
    proc_start: int | str | None = msgspec.field(name="procStart", default=None)


_session_decoder = msgspec.json.Decoder(_Session)


def live_sessions(tree: Path) -> dict[str, int]:
    """Session id -> pid of the process that has it open. What is no such file, or of a dead process, is passed over."""
    live: dict[str, int] = {}
    try:
        names = [entry.name for entry in islice((tree / "sessions").iterdir(), _MAX_FILES)]
    except OSError:
        return live
    for name in names:
        pid_text = name.removesuffix(".json")
        if pid_text == name or not (pid_text.isascii() and pid_text.isdigit()):
            continue
        session = _read(tree, name)
        if session is not None and session.pid == int(pid_text) and _is_alive(session):
            live[session.session_id] = session.pid
    return live


def rests_at(mtime_ns: int, now_ns: int, rest_ns: int) -> int | None:
    """When a file counts as at rest that was changed at `mtime_ns`: `rest_ns` later; None where that has passed.

    A time in the future, further than that, is a wrong clock's: nothing is known from it, and nothing waits for it.
    """
    return mtime_ns + rest_ns if abs(now_ns - mtime_ns) < rest_ns else None


def _read(tree: Path, name: str) -> _Session | None:
    try:
        with opened_root(tree) as tree_fd:
            file_fd = open_file(tree_fd, ("sessions", name))
        try:
            data = os.read(file_fd, _MAX_SIZE + 1)
        finally:
            os.close(file_fd)
        if len(data) > _MAX_SIZE:
            return None
        return _session_decoder.decode(data)
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return None


def _is_alive(session: _Session) -> bool:
    try:
        os.kill(session.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives, and belongs to somebody else
    given = str(session.proc_start) if session.proc_start is not None else ""
    started = _start_of(session.pid)
    # Two numbers that differ: the pid went to another process. In any other form it proves nothing.
    return not (given.isdigit() and started is not None and given != started)


def _start_of(pid: int) -> str | None:
    with suppress(OSError, IndexError):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as status:  # noqa: PTH123 (not a path of ours)
            fields = status.read(4096).rpartition(")")[2].split()
        return fields[_START_FIELD]
    return None
