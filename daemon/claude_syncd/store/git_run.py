"""Runs git: no questions, no terminal, an own process group, bounded output, and an end to every wait."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PATIENCE = 120.0
"""Seconds without a sign of life after which a command is given up."""
LONGEST = 12 * 3600.0
"""Seconds after which a command is given up whatever it says."""
GRACE = 3.0
"""Seconds for a command to take away its lock files, between being asked to end and being made to."""

MOST = 1024 * 1024
_PIECE = 256 * 1024
_SAID = 64 * 1024

_INHERITED = ("GIT_SSL_", "GIT_PROXY_SSL_", "GIT_SSH", "GIT_HTTP_USER_AGENT")
_DROPPED = ("GIT_", "CLAUDE_SYNC_", "LC_", "LANG", "SSH_ASKPASS")

_QUIET = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    **dict.fromkeys(("GIT_TRACE2", "GIT_TRACE2_EVENT", "GIT_TRACE2_PERF"), "0"),
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. `code` is its exit code; `silent`: it was given up, since it said nothing any more.

    `out` is what was wanted of its output, `cut` says that there was more. `said` is the end of its messages.
    """

    code: int
    out: bytes
    said: str
    cut: bool = False
    silent: bool = False


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a git command: the user's, for helpers and proxies, without what would lead git astray."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_INHERITED) or not name.startswith(_DROPPED)
    }
    return {**kept, **_QUIET, **extra}


async def run_git(
    *words: str,
    env: Mapping[str, str],
    feed: Iterable[bytes] = (),
    skip: int = 0,
    most: int = MOST,
    patience: float = PATIENCE,
) -> Done:
    """Run `git` with `words`, fed with `feed`. Of its output `most` bytes are wanted, the first `skip` left out.

    A command with more output is ended there, and `cut`. Nothing of it runs on when this returns or is cancelled.
    Raises StoreRefused where there is no git, StoreUnavailable where there is no room for another process.
    """
    pieces = tuple(feed)
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *words,
            env=dict(env),
            cwd="/",
            stdin=asyncio.subprocess.PIPE if pieces else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_PIECE,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise StoreRefused(f"git can't be run: {error.strerror}", hint="install git, in a folder of PATH") from error
    except OSError as error:
        raise StoreUnavailable(f"git can't be run: {error.strerror}", hint="close other programs") from error
    out, said = _Wanted(skip, most), _Tail()
    silent, ended = False, False
    try:
        async with asyncio.timeout(LONGEST), asyncio.timeout(patience) as deadline:

            def took(sink: _Wanted | _Tail, data: bytes) -> None:
                if not deadline.expired():
                    deadline.reschedule(asyncio.get_running_loop().time() + patience)
                sink.take(data)
                if out.cut:
                    _signal(process, signal.SIGKILL)

            async with asyncio.TaskGroup() as group:
                group.create_task(_feed(process.stdin, pieces))
                group.create_task(_read(process.stdout, partial(took, out)))
                group.create_task(_read(process.stderr, partial(took, said)))
            await process.wait()
            ended = True
    except TimeoutError:
        # Something that it started may still hold its output open; its own end is what counts.
        silent = process.returncode is None
    finally:
        if not ended:
            await _end(process)
    code = process.returncode or 0
    if silent and code == 0:  # its output isn't whole, whatever it says
        code = -signal.SIGKILL
    return Done(code, bytes(out.kept), said.text, cut=out.cut, silent=silent)


class _Wanted:
    """The part of the output that is wanted."""

    def __init__(self, skip: int, most: int) -> None:
        self.kept = bytearray()
        self.cut = False
        self._skip = skip
        self._most = most

    def take(self, data: bytes) -> None:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        room = self._most - len(self.kept)
        self.kept += memoryview(data)[skipped : skipped + room]
        self.cut = self.cut or len(data) - skipped > room


class _Tail:
    """The end of the messages. Progress, which ends in a carriage return, is no message."""

    def __init__(self) -> None:
        self._kept = b""

    def take(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-_SAID:]

    @property
    def text(self) -> str:
        lines = self._kept.decode(errors="replace").split("\n")
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


async def _feed(stream: asyncio.StreamWriter | None, pieces: Iterable[bytes]) -> None:
    if stream is None:
        return
    with suppress(ConnectionError):  # it ended early; its exit code says so
        for piece in pieces:
            for start in range(0, len(piece), _PIECE):
                stream.write(memoryview(piece)[start : start + _PIECE])
                await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _read(stream: asyncio.StreamReader | None, took: Callable[[bytes], None]) -> None:
    while stream is not None and (data := await stream.read(_PIECE)):
        took(data)


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that nothing of it is left: neither itself nor what it started, even if that took no notice."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            await _drained(process)
    _signal(process, signal.SIGKILL)
    with suppress(TimeoutError):
        await _drained(process)


async def _drained(process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(GRACE):
        await asyncio.gather(*(_read(stream, _ignore) for stream in (process.stdout, process.stderr)))
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ignore(_: bytes) -> None:
    return
