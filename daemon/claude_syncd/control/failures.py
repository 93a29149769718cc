"""From an error of errors.py to what the control server answers."""

from __future__ import annotations

from http import HTTPStatus

from claude_syncd import errors
from claude_syncd.control.messages import ErrorBody


class Stopping(errors.SyncError):
    """The daemon ends while it works for a client."""

    default_hint = "what is not done yet is done when it starts again: `claude-syncctl service start`"


# The first class that fits decides.
_CODES: tuple[tuple[type[errors.SyncError], HTTPStatus], ...] = (
    (errors.UsageError, HTTPStatus.BAD_REQUEST),
    (errors.NotSetUp, HTTPStatus.CONFLICT),
    (errors.Held, HTTPStatus.CONFLICT),
    (errors.AlreadyRunning, HTTPStatus.CONFLICT),
    (errors.Changed, HTTPStatus.CONFLICT),
    (Stopping, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.StoreError, HTTPStatus.BAD_GATEWAY),
    (errors.VaultError, HTTPStatus.BAD_GATEWAY),
)


def code_of(error: errors.SyncError) -> HTTPStatus:
    """Give the HTTP status that says best what `error` means."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def body_of(error: errors.SyncError) -> ErrorBody:
    """Give the JSON body that tells a client about `error`."""
    return ErrorBody(error=str(error), hint=error.hint, exit_code=error.exit_code)


def internal(error: Exception) -> errors.SyncError:
    """Give what a client may know of an error that nobody expected; the whole of it belongs into the log."""
    return errors.SyncError(f"internal error: {type(error).__name__}")
