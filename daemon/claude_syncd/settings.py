"""Every setting of a device with its bounds and its default; config.py reads them, docs/operations.md explains them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the settings are decoded by these annotations
from typing import Annotated, Literal

from msgspec import Meta

from claude_syncd.errors import ConfigError
from claude_syncd.store.options import StoreOptions, Text  # noqa: TC001 - likewise

_Patience = Annotated[float, Meta(ge=0, le=3600)]
_Kibibytes = Annotated[int, Meta(ge=8)]
Seconds = Annotated[float, Meta(gt=0, le=30 * 86400)]


@dataclass(frozen=True, slots=True)
class Debounce:
    """How long a change waits for more: seconds of quiet, and seconds at the most."""

    quiet: _Patience = 2.0
    limit: _Patience = 15.0

    def __post_init__(self) -> None:
        """Raise ConfigError for times out of order."""
        if self.limit < self.quiet:
            raise ConfigError("limit must not be below quiet")


@dataclass(frozen=True, slots=True)
class Poll:
    """How often other devices' areas are asked, in seconds."""

    active: Seconds = 5.0
    idle: Seconds = 60.0
    roster: Seconds = 60.0
    list: Seconds = 1800.0

    def __post_init__(self) -> None:
        """Raise ConfigError for times out of order."""
        if self.idle < self.active:
            raise ConfigError("idle must not be below active")


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests to the store at the same time, and KiB a second to it and from it (not set: as much as goes)."""

    parallel: Annotated[int, Meta(ge=1, le=64)] = 8
    up: _Kibibytes | None = None
    down: _Kibibytes | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """Seconds between two full scans of the tree; hints of the kernel are only hints."""

    interval: Seconds = 3600.0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long deleted and overwritten versions can be restored: days, and perhaps bytes at the most ("10GB")."""

    days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    size: Annotated[str, Meta(pattern=r"\A[0-9]{1,9} ?(?:kB|MB|GB|TB)\Z")] | None = None

    @property
    def bytes(self) -> int | None:
        """`size` as a number; None for no limit."""
        if self.size is None:
            return None
        return int(self.size[:-2]) * {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[self.size[-2:]]


@dataclass(frozen=True, slots=True)
class Live:
    """A session counts as open for so many seconds after its last change here: the rows of an answer come that far
    apart. Only what two machines change within that time waits for it.
    """

    seconds: _Patience = 15.0


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default. `store` is None where this device is not set up; `also` are the stores that
    mirror it.
    """

    scope: Literal["sessions", "portable", "full"] = "portable"
    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()
    follow: tuple[Path, ...] = ()
    store: StoreOptions | None = None
    also: tuple[StoreOptions, ...] = ()
    debounce: Debounce = Debounce()
    poll: Poll = Poll()
    limits: Limits = Limits()
    scan: Scan = Scan()
    retention: Retention = Retention()
    live: Live = Live()
    log: Log = Log()
