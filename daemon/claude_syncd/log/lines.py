"""How a line of the log is made, by structlog.

No secret and no content of a file goes through: entries named like secrets lose their value, text that looks
like one is masked, long text is cut and bytes are shown by their number only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    import logging

    from structlog.typing import EventDict, Processor, WrappedLogger

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


def bound(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of structlog of that name."""
    return structlog.stdlib.get_logger(name)


def json_formatter() -> logging.Formatter:
    """One JSON object a line."""
    return _formatter(_lead, structlog.processors.JSONRenderer(ensure_ascii=False))


def text_formatter(*, colours: bool) -> logging.Formatter:
    """For somebody at a terminal."""
    return _formatter(
        structlog.dev.ConsoleRenderer(
            colors=colours,
            timestamp_key="time",
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,
        )
    )


def _formatter(*last: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, *last],
    )


def _lead(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Time, level and event first on each line, so that it reads well with plain `tail`."""
    lead = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return {**lead, **event}


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
