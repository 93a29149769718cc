"""What systemd wants to hear (sd_notify): ready, status line, still alive, reloading, stopping.

Without `NOTIFY_SOCKET` - launchd, a terminal - every call does nothing. Talking to the service manager never
fails the daemon: a message that can't be sent is dropped.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_STATUS = 500


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The way to the service manager. `address` is None where there is none.

    `watchdog` is how often, in seconds, `alive` should be called; None where nobody waits for it.
    """

    address: str | None = None
    watchdog: float | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> ServiceManager:
        """What `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say; `pid` is this process's own by default."""
        notify = environ.get("NOTIFY_SOCKET", "")
        # An absolute path, or "@" and an abstract name. Others (vsock) are for virtual machines.
        address = notify if notify.startswith(("/", "@")) and len(notify) > 1 else None
        return cls(
            address=address, watchdog=_watchdog(environ, os.getpid() if pid is None else pid) if address else None
        )

    def ready(self, status: str = "") -> None:
        """Start-up is done, or a reload is."""
        self._send("READY=1", *([f"STATUS={_line(status)}"] if status else []))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """The main loop still turns."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        # systemd wants the time of CLOCK_MONOTONIC in microseconds with it (Type=notify-reload).
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return


def _line(text: str) -> str:
    """`text` as one bounded line: a line break would begin another message."""
    return " ".join(text.split())[:_MAX_STATUS]


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Half of the time after which systemd gives up, in seconds; None if it does not watch this process."""
    wanted = environ.get("WATCHDOG_PID", "")
    limit = environ.get("WATCHDOG_USEC", "")
    if not (limit.isascii() and limit.isdigit()) or int(limit) == 0:
        return None
    if wanted and wanted != str(pid):
        return None
    return int(limit) / 2_000_000
