"""`log`: the versions of a file."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

import os
import sys

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import painter, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.ctl.options import Given


def run(given: Given) -> int:
    """`log PATH [--json]`."""
    match given.words:
        case [path]:
            pass
        case []:
            raise usage_error(given.command, "say of which file")
        case _:
            raise usage_error(given.command, "one file at a time, please")
    with remote.anyone() as there:
        answer = there.log(path, os.getcwd())  # noqa: PTH109 - pathlib takes 5 ms to import
    if given.has("--json"):
        say_json(answer)
        return 0
    from time import time

    from claude_syncd.ctl.show import count, version_lines

    say("\n".join(version_lines(answer.files, time(), painter(sys.stdout))))
    if answer.truncated:
        say(f"there are more than {count(len(answer.files), 'file')}: name a folder further down")
    return 0
