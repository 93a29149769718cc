"""`restore`: bring back a version of a file, a folder, or everything as of a time."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

import os

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import fail, line, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.control.messages import RestoreAnswer
    from claude_syncd.ctl.options import Given


def run(given: Given) -> int:
    """`restore PATH|--all [--version V | --at TIME] [--to FILE] [--yes] [--quiet] [--json]`."""
    request = _request(given)
    if request["every"] and request["to"] is None:
        from claude_syncd.ctl.flags import confirm

        confirm(given, "Put every file that was in the vault at that time back into its place?", "nothing was restored")
    with remote.anyone() as there:
        answer = there.restore(request)
    if given.has("--json"):
        say_json(answer)
    else:
        _tell(given, answer)
    return 1 if answer.failed else 0


def _request(given: Given) -> dict[str, object]:
    every, version, at, to = given.has("--all"), given.value("--version"), given.value("--at"), given.value("--to")
    if len(given.words) > 1:
        raise usage_error(given.command, "one file or folder at a time, please")
    if every == bool(given.words):
        raise usage_error(given.command, "say what to restore: a path, or --all")
    if version is not None and at is not None:
        raise usage_error(given.command, "--version and --at don't go together")
    if every and at is None:
        raise usage_error(given.command, "say as of which time: --at 2026-01-31T12:00")
    here = os.getcwd()  # noqa: PTH109 - pathlib takes 5 ms to import
    return {
        "path": given.words[0] if given.words else None,
        "every": every,
        "cwd": here,
        "version": version,
        "at": given.moment("--at"),
        "to": os.path.join(here, os.path.expanduser(to)) if to is not None else None,  # noqa: PTH111, PTH118 - likewise
    }


def _tell(given: Given, answer: RestoreAnswer) -> None:
    from claude_syncd.ctl.show import count

    for failure in answer.failed:
        fail(f"{failure.path}: {failure.error}", "")
    if given.has("--quiet"):
        return
    if answer.restored == 1:
        say(f"restored {line(answer.to or answer.files[0])}")
    elif answer.restored:
        say(f"restored {count(answer.restored, 'file')}" + (f" to {line(answer.to)}" if answer.to else ""))
    if answer.unchanged:
        say(
            f"{count(answer.unchanged, 'file')} as it was" if answer.restored else "nothing to do: that version is here"
        )
    elif not answer.restored and not answer.failed:
        say("nothing to restore")
