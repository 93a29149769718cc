"""`pause`, `resume`, `poke`: the commands that tell the daemon what to do."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

from claude_syncd.ctl import remote
from claude_syncd.ctl.terminal import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.core.status import Status
    from claude_syncd.ctl.options import Given


def pause(given: Given) -> int:
    """`pause [--for TIME]`."""
    seconds = given.seconds("--for")
    with remote.anyone() as there:
        _tell(given, there.pause(seconds))
    return 0


def resume(given: Given) -> int:
    """`resume [--accept]`."""
    with remote.anyone() as there:
        _tell(given, there.resume(accept=given.has("--accept")))
    return 0


def poke(_given: Given) -> int:
    """`poke`: needs a daemon; says nothing."""
    with remote.daemon() as there:
        there.poke()
    return 0


def _tell(given: Given, status: Status) -> None:
    if given.has("--json"):
        from claude_syncd.ctl.look import say_json

        say_json(status)
    elif not given.has("--quiet"):
        from time import time

        from claude_syncd.ctl.show import until

        say(f"{status.state}{until(status.paused_until, time())}")
