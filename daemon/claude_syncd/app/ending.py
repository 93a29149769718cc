"""The daemon never ends without a word: what ends it is told in the log and on stderr.

What can't speak any more - a crash in native code, SIGKILL, a power cut - is told by the next one as it starts.
"""

from __future__ import annotations

import faulthandler
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from claude_syncd.app.stopping import StoppedEarly
from claude_syncd.errors import SyncError
from claude_syncd.local.refusal import refused
from claude_syncd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = get_logger(__name__)

_MAX_TRACE = 4000
"""Bytes of a crash's trace that are told; the thread that crashed comes first."""


@contextmanager
def told() -> Iterator[None]:
    """Around all that a daemon does: what ends it is logged, and raised as one SyncError, or as StoppedEarly."""
    try:
        yield
    except StoppedEarly as stop:
        _log.info(str(stop))
        raise
    except SyncError as error:
        _tell(error)
        raise
    except Exception as error:
        causes = _causes(error)
        for cause in causes:
            _tell(cause)
        first = causes[0]
        if isinstance(first, SyncError):
            raise first from None
        raise SyncError(f"internal error: {type(first).__name__}: {first}") from error


def _tell(error: Exception) -> None:
    if isinstance(error, SyncError):
        _log.error("the daemon can't go on", error=str(error), hint=error.hint)
    else:
        _log.critical("the daemon can't go on: internal error", exc_info=error)


def _causes(error: Exception) -> list[Exception]:
    """The errors of a group of tasks, of groups inside it, too; `error` itself where it is no group."""
    if isinstance(error, ExceptionGroup):
        return [cause for inner in error.exceptions for cause in _causes(inner)]
    return [error]


@contextmanager
def crashes_noted(path: Path) -> Iterator[None]:
    """A fault in native code writes into the file `path` where it happened; what the last daemon left there is
    logged. Raises LocalError where it can't be written.
    """
    with refused("write", path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        trace = os.read(file, _MAX_TRACE).decode(errors="replace").strip()
        if trace:
            _log.error("the last daemon crashed", trace=trace)
        os.ftruncate(file, 0)
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
    finally:
        os.close(file)
