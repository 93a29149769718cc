"""`forget`: delete files for good, on every device."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

import os

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import line, note, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.control.messages import ForgetAnswer
    from claude_syncd.ctl.options import Given

_SHOWN = 20


def run(given: Given) -> int:
    """`forget PATH... [--dry-run] [--yes] [--quiet] [--json]`."""
    if not given.words:
        raise usage_error(given.command, "say which file or folder")
    request: dict[str, object] = {"paths": given.words, "cwd": os.getcwd()}  # noqa: PTH109 - pathlib is slow to import
    with remote.anyone() as there:
        if given.has("--dry-run"):
            answer = there.forget({**request, "dry_run": True})
        else:
            if not given.has("--yes"):
                _ask(given, there.forget({**request, "dry_run": True}))
            answer = there.forget(request)
    if given.has("--json"):
        say_json(answer)
    elif given.has("--dry-run"):
        say("\n".join(_named(answer)))
    elif not given.has("--quiet"):
        from claude_syncd.ctl.show import count

        waits = "; the other machines hear of it once the store can be reached" if answer.pending else ""
        say(f"forgot {count(answer.forgotten, 'file')}{waits}")
    return 0


def _ask(given: Given, answer: ForgetAnswer) -> None:
    from claude_syncd.ctl.flags import confirm, on_terminal
    from claude_syncd.ctl.show import count

    if on_terminal():
        note("\n".join(_named(answer)))
    confirm(given, f"Delete {count(answer.forgotten, 'file')} for good, on every machine?", "nothing was deleted")


def _named(answer: ForgetAnswer) -> list[str]:
    names = [line(name) for name in answer.files[:_SHOWN]]
    more = answer.forgotten - len(names)
    return [*names, f"and {more:,} more"] if more else names
