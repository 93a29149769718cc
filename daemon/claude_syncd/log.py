"""The log: JSON lines in a rotated file for machines and `claude-syncctl logs`, readable text on a terminal.

No secret and no content of a file goes through: entries named like secrets lose their value, text that looks
like one is masked, long text is cut and bytes are shown by their number only.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from io import FileIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, TextIO

import structlog

from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = ("debug", "info", "warning", "error")
MAX_FILE = 10 * 1024 * 1024
OLD_FILES = 4
"""With the current one that makes five."""

_OWN = "claude_syncd"
_MAX_TEXT = 4000
_MAX_DEPTH = 6
_REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"secret|token|pass(?:phrase|word|wd)|credential|authorization|recovery|identity|cookie|content\b|(?:^|[_.-])keys?$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"AGE-SECRET-KEY-[A-Z0-9-]+"
    r"|\b(?:[0-9A-HJKMNP-TV-Z]{4}-){8}[0-9A-HJKMNP-TV-Z]{4}\b"  # a recovery code
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password@ of a URL
    r"|\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{16,}"
    r"|\b(?:x-amz-(?:signature|security-token|credential)|aws_secret_access_key|secret_access_key|session_token"
    r"|password|passphrase)\b[\"']?\s*[=:]\s*[\"']?[^\s&\"',}]+",
    re.IGNORECASE,
)


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


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask what looks like a secret, by name or by form, and cut what is long (a processor of structlog)."""
    for name in list(event):
        if not name.startswith("_") and name != "exc_info":
            event[name] = _masked(name, event[name], 0)
    return event


def _masked(name: str, value: object, depth: int) -> object:
    if _SECRET_NAME.search(name) and not isinstance(value, bool | None):
        return _REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            return {str(key): _masked(str(key), item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_masked("", item, depth + 1) for item in value]
    text = _SECRET_TEXT.sub(_REDACTED, str(value))
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}… ({len(text)} characters)"


_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of the module `name` (`__name__`): events as words, facts as keywords."""
    return structlog.stdlib.get_logger(name)


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
    handler.setFormatter(_formatter(_lead, structlog.processors.JSONRenderer(ensure_ascii=False)))
    return handler


def _console(stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    colours = stream.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(
        _formatter(
            structlog.dev.ConsoleRenderer(
                colors=colours,
                timestamp_key="time",
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    )
    return handler


def _formatter(*last: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, *last],
    )


def _lead(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Time, level and event first on each line, so that it reads well with plain `tail`."""
    lead = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return {**lead, **event}


# Until `configure` is called nothing is shown, least of all on stdout, where structlog would print by default.
logging.getLogger(_OWN).addHandler(logging.NullHandler())
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_logger_name,
        *_SHARED,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
