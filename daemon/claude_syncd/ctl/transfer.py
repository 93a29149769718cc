"""`push`, `pull`, `sync`: run now and wait, with progress where somebody looks on."""

# Imports cost start-up time.
# ruff: noqa: PLC0415, PTH100, PTH111
from __future__ import annotations

import os
import sys

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.progress import reporter
from claude_syncd.ctl.terminal import painter, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.control.messages import DiffAnswer, Kind
    from claude_syncd.core.status import RunResult
    from claude_syncd.ctl.options import Given


def push(given: Given) -> int:
    """`push [--dry-run] [--project DIR] [-q] [-v] [--json]`."""
    return _run("push", given)


def pull(given: Given) -> int:
    """`pull`, as push; with `--from DEVICE` only what that device wrote."""
    return _run("pull", given)


def sync(given: Given) -> int:
    """`sync`, as pull."""
    return _run("sync", given)


def _run(kind: Kind, given: Given) -> int:
    project = given.value("--project")
    request: dict[str, object] = {
        # The daemon works in another folder than this one.
        "project": None if project is None else os.path.abspath(os.path.expanduser(project)),
        "from_device": given.value("--from"),
    }
    if given.has("--dry-run"):
        with remote.anyone() as there:
            _show_plan(given, there.plan(kind, request))
    else:
        with remote.anyone() as there, reporter(given) as report:
            result = there.run(kind, request, report)
        _show_result(kind, given, result)
    return 0


def _show_plan(given: Given, plan: DiffAnswer) -> None:
    if given.has("--json"):
        say_json(plan)
    elif not given.has("--quiet"):
        from claude_syncd.ctl.show import diff_lines

        say("\n".join(diff_lines(plan, painter(sys.stdout))))


def _show_result(kind: Kind, given: Given, result: RunResult) -> None:
    if given.has("--json"):
        say_json(result)
    elif not given.has("--quiet"):
        from claude_syncd.ctl.show import request_text, result_text

        say(result_text(kind, result))
        if given.has("--verbose"):
            say(request_text(result))
