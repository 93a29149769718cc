"""`approve`: settings of other devices that run code, or may, wait here for an answer."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

import sys

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import line, painter, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.core.status import ApprovalInfo
    from claude_syncd.ctl.options import Given


def run(given: Given) -> int:
    """`approve [list | [--reject] ID...|--all] [--json]`."""
    every, reject = given.has("--all"), given.has("--reject")
    match given.words:
        case [] | ["list"] if not every and not reject:
            return _list(given)
        case [] if every:
            return _answer(given, None, reject=reject)
        case []:
            raise usage_error(given.command, "say which: IDs as `claude-syncctl approve` shows them, or --all")
        case ids if not every and "list" not in ids:
            return _answer(given, ids, reject=reject)
        case _:
            raise usage_error(given.command, given.command.usage())


def _list(given: Given) -> int:
    with remote.anyone() as there:
        answer = there.approvals()
    if given.has("--json"):
        say_json(answer)
    else:
        from time import time

        say("\n".join(lines(answer.approvals, time(), painter(sys.stdout))))
    return 0


def _answer(given: Given, ids: list[str] | None, *, reject: bool) -> int:
    with remote.anyone() as there:
        answer = there.approve(ids, reject=reject)
    if given.has("--json"):
        say_json(answer)
    else:
        from claude_syncd.ctl.show import count

        say(f"{count(answer.answered, 'setting')} {'rejected' if reject else 'approved'}")
    return 0


def lines(approvals: list[ApprovalInfo], now: float, paint: Callable[[str, str], str]) -> list[str]:
    """For each change its id, setting and origin, then the value here and the new one."""
    from claude_syncd.ctl.show import when

    if not approvals:
        return ["no settings wait for approval"]
    shown: list[str] = []
    for item in approvals:
        warning = paint("  dangerous: it may delete sessions or take a guard away", "red") if item.dangerous else ""
        shown.append(f"{paint(line(item.id), 'bold')}  {readable(item.setting)} in {line(item.path)}{warning}")
        shown.append(f"    by {line(item.device)}, {when(item.time, now)}")
        for label, value, colour in (("now", item.old, "red"), ("new", item.new, "green")):
            first, *more = _value(value)
            shown.append(f"    {label}  {paint(first, colour)}")
            shown += [f"         {paint(row, colour)}" for row in more]
        shown.append("")
    return [
        *shown,
        "hint: `claude-syncctl approve ID` puts the new value into your file; with --reject yours stays",
    ]


def _value(text: str | None) -> list[str]:
    """A JSON text on lines of its own; nothing in it is hidden."""
    if text is None:
        return ["(not set)"]
    import json

    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:  # a number beyond what Python reads
        return [readable(text)]
    return [readable(row) for row in text.split("\n")]


def readable(text: str) -> str:
    """Give `text` with all escaped that a terminal does not show as what it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
