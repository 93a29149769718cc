"""Waiting for a condition with a deadline, instead of for a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from machines import Machine

T = TypeVar("T")
PAUSE = 0.05
"""Seconds between two looks; a look at a machine's status costs about as much."""


def wait_until(condition: Callable[[], T], timeout: float, what: str, machines: Iterable[Machine] = ()) -> T:
    """Ask `condition` again and again until it is true; its value.

    Fails after `timeout` seconds with `what`, the last value, and what each of `machines` has to say for itself.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            story = "\n".join(machine.story() for machine in machines)
            raise AssertionError(f"not within {timeout:g} s: {what} (last: {value!r})\n{story}")
        threading.Event().wait(PAUSE)
