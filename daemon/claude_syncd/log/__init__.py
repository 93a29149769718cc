"""The log: JSON lines in a rotated file for machines and `claude-syncctl logs`, readable text on a terminal.

How a line is made is in `lines`. That module and structlog are loaded when there is something to log: most commands
log nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from io import FileIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, TextIO

from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.stdlib import BoundLogger

LEVELS = ("debug", "info", "warning", "error")
MAX_FILE = 10 * 1024 * 1024
OLD_FILES = 4
"""With the current one that makes five."""

_OWN = "claude_syncd"


class Logger:
    """The logger of one module: events as words, facts as keywords."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **facts: object) -> None:
        """Of use to whoever looks for a mistake."""
        if self._heard(logging.DEBUG):
            self._bound().debug(event, **facts)

    def info(self, event: str, **facts: object) -> None:
        """What happened."""
        if self._heard(logging.INFO):
            self._bound().info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """Odd, yet no harm was done."""
        if self._heard(logging.WARNING):
            self._bound().warning(event, **facts)

    def error(self, event: str, **facts: object) -> None:
        """Something failed; `exc_info` is an exception to show whole."""
        if self._heard(logging.ERROR):
            self._bound().error(event, **facts)

    def exception(self, event: str, **facts: object) -> None:
        """`error` with the exception that is being handled."""
        self.error(event, exc_info=True, **facts)

    def critical(self, event: str, **facts: object) -> None:
        """The process ends over it."""
        if self._heard(logging.CRITICAL):
            self._bound().critical(event, **facts)

    def _heard(self, level: int) -> bool:
        return logging.getLogger(self._name).isEnabledFor(level)

    def _bound(self) -> BoundLogger:
        from claude_syncd.log import lines  # noqa: PLC0415 - see the module's docstring

        return lines.bound(self._name)


def get_logger(name: str) -> Logger:
    """The logger of the module `name` (`__name__`)."""
    return Logger(name)


def configure(path: Path | None, level: str = "info", *, console: bool = False) -> None:
    """Send what is logged to the file `path` (none if None) and, with `console`, to stderr as text.

    Callable again: it replaces what was configured before. Libraries are heard from WARNING on.
    Raises LocalError where the file can't be opened.
    """
    close()
    number = logging.getLevelNamesMapping()[level.upper()]
    handlers: list[logging.Handler] = []
    if path is not None:
        handlers.append(_file(path))
    if console:
        handlers.append(_console(sys.stderr))
    root = logging.getLogger()
    for handler in handlers:
        handler.set_name(_OWN)
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(number)
    logging.captureWarnings(capture=True)


def close() -> None:
    """Undo `configure` and close its file."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.get_name() == _OWN]:
        root.removeHandler(handler)
        handler.close()
    logging.captureWarnings(capture=False)


def _file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        handler = _PrivateRotatingFile(path, maxBytes=MAX_FILE, backupCount=OLD_FILES, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"can't write the log {path}: {error.strerror}") from error
    handler.setFormatter(_Formatter(_json))
    return handler


def _console(stream: TextIO) -> logging.Handler:
    colours = stream.isatty() and "NO_COLOR" not in os.environ
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(lambda: _text(colours=colours)))
    return handler


class _PrivateRotatingFile(RotatingFileHandler):
    """A rotated file that is 0600 from its first moment on."""

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(_open_private(self.baseFilename), encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A full disk must not turn each line into a traceback on stderr."""


def _open_private(path: str) -> FileIO:
    file = FileIO(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600))
    try:
        os.fchmod(file.fileno(), 0o600)
    except OSError:
        file.close()
        raise
    return file


class _Formatter(logging.Formatter):
    """Made when the first line comes."""

    def __init__(self, make: Callable[[], logging.Formatter]) -> None:
        super().__init__()
        self._make = make
        self._made: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._made is None:
            self._made = self._make()
        return self._made.format(record)


def _json() -> logging.Formatter:
    from claude_syncd.log import lines  # noqa: PLC0415 - see the module's docstring

    return lines.json_formatter()


def _text(*, colours: bool) -> logging.Formatter:
    from claude_syncd.log import lines  # noqa: PLC0415 - see the module's docstring

    return lines.text_formatter(colours=colours)


# Until `configure` is called nothing is shown, least of all on stderr, where logging would print by default.
logging.getLogger(_OWN).addHandler(logging.NullHandler())
