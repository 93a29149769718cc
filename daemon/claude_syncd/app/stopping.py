"""Being stopped before the daemon's loop can take it. Imports nothing heavy: it stands before all that does."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class StoppedEarly(BaseException):
    """SIGTERM or SIGINT came before the daemon's loop could take it."""


def stop_early() -> None:
    """Until the loop takes them, SIGTERM and SIGINT raise StoppedEarly, and SIGHUP, which then means "look at
    everything", is ignored. By default each of them would end the process without a word.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _stopped(number: int, _frame: FrameType | None) -> None:
    raise StoppedEarly(f"stopped by {signal.Signals(number).name} before it was up")
