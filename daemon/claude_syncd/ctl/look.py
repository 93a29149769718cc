"""`status`, `diff`, `devices`, `metrics`, `version`: the commands that show how things are."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

import sys

from claude_syncd.ctl import remote
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import block, painter, say
from claude_syncd.ctl.view import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.core.status import Status
    from claude_syncd.ctl.options import Given


def say_json(answer: object) -> None:
    """Print an answer as the one JSON object that `--json` promises."""
    import json

    say(json.dumps(plain(answer)))


def status(given: Given) -> int:
    """`status [--watch] [--json]`."""
    if given.has("--watch"):
        if given.has("--json"):
            raise usage_error(given.command, "--watch and --json don't go together")
        return _watch()
    with remote.anyone() as there:
        answer = there.status()
    if given.has("--json"):
        say_json(answer)
    else:
        _show(answer)
    return 0


def _show(answer: Status) -> None:
    from time import time

    from claude_syncd.ctl.show import status_lines

    say("\n".join(status_lines(answer, time(), painter(sys.stdout))))


def _watch() -> int:
    """Draw the status anew whenever it changes, and every few seconds for the times in it, until interrupted."""
    from claude_syncd.ctl.terminal import lively
    from claude_syncd.errors import SyncError

    clear = "\x1b[H\x1b[2J\x1b[3J" if lively(sys.stdout) else ""
    newest: Status | None = None
    with remote.daemon() as there:
        for name, event in there.events():
            if name == "status":
                newest = event
            if newest is None or name == "progress":
                continue
            sys.stdout.write(clear or "\n")
            _show(newest)
            sys.stdout.flush()
    raise SyncError("the daemon ended", hint="start it with `claude-syncctl service start`")


def diff(given: Given) -> int:
    """`diff [--json]`."""
    with remote.anyone() as there:
        answer = there.diff()
    if given.has("--json"):
        say_json(answer)
    else:
        from claude_syncd.ctl.show import diff_lines

        say("\n".join(diff_lines(answer, painter(sys.stdout))))
    return 0


def devices(given: Given) -> int:
    """`devices [list | rename NAME | remove ID|NAME [--yes]] [--json]`."""
    match given.words:
        case [] | ["list"]:
            with remote.anyone() as there:
                answer = there.devices()
        case ["rename", name]:
            with remote.anyone() as there:
                answer = there.rename_device(name)
        case ["remove", device]:
            return _remove(given, device)
        case _:
            raise usage_error(given.command, given.command.usage())
    if given.has("--json"):
        say_json(answer)
    else:
        from time import time

        from claude_syncd.ctl.show import device_lines

        say("\n".join(device_lines(answer.devices, time(), painter(sys.stdout))))
    return 0


def _remove(given: Given, device: str) -> int:
    from claude_syncd.ctl.flags import confirm
    from claude_syncd.ctl.terminal import line

    confirm(given, f"Remove the device {line(device)} from the vault, and delete its area?", "nothing was removed")
    with remote.anyone() as there:
        answer = there.remove_device(device)
    if given.has("--json"):
        say_json(answer)
    else:
        from claude_syncd.ctl.show import count

        held = f"; {count(answer.published, 'version')} that only it held came to this one" if answer.published else ""
        say(f"removed {line(device)}{held}")
    return 0


def metrics(_given: Given) -> int:
    """`metrics`: needs a daemon."""
    with remote.daemon() as there:
        sys.stdout.write(block(there.metrics()))
    return 0


def version(given: Given) -> int:
    """`version [--json]`."""
    from claude_syncd import __version__

    if given.has("--json"):
        import json

        say(json.dumps({"version": __version__}))
    else:
        say(f"claude-syncctl {__version__}")
    return 0
