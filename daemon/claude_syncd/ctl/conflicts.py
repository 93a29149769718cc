"""`conflicts`: list them, show one, end one or all."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

import sys

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import block, line, painter, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.control.messages import ConflictDetail, Keep
    from claude_syncd.ctl.options import Given

_KEEPS: tuple[Keep, ...] = ("local", "remote", "both")


def run(given: Given) -> int:
    """`conflicts [list | show ID | edit ID | resolve ID|--all --keep SIDE]`; `conflicts --keep SIDE` ends all."""
    keep = next((side for side in _KEEPS if side == given.value("--keep")), None)
    every = given.has("--all")
    match given.words:
        case [] | ["list"] if keep is None and not every:
            return _list(given)
        case ["show", conflict] if keep is None and not every:
            return _show(given, conflict)
        case ["edit", conflict] if keep is None and not every:
            from claude_syncd.ctl.conflict_edit import edit

            return edit(given, conflict)
        case ["resolve", conflict] if keep is not None and not every:
            return _resolve(given, conflict, keep)
        case ["resolve"] if keep is not None and every:
            return _resolve(given, None, keep)
        case [] if keep is not None:
            return _resolve(given, None, keep)
        case ["resolve", *_] if keep is None:
            raise usage_error(given.command, "say which side stays: --keep local, --keep remote or --keep both")
        case ["resolve"]:
            raise usage_error(given.command, "say which conflict: its ID, or --all")
        case _:
            raise usage_error(given.command, given.command.usage())


def _list(given: Given) -> int:
    with remote.anyone() as there:
        answer = there.conflicts()
    if given.has("--json"):
        say_json(answer)
    else:
        from time import time

        from claude_syncd.ctl.show import conflict_lines

        say("\n".join(conflict_lines(answer.conflicts, time(), painter(sys.stdout))))
    return 0


def _show(given: Given, conflict: str) -> int:
    with remote.anyone() as there:
        detail = there.conflict(conflict)
    if given.has("--json"):
        say_json(detail)
    else:
        say("\n".join(_detail_lines(detail, beside=given.has("--side-by-side"))))
    return 0


def _detail_lines(detail: ConflictDetail, *, beside: bool) -> list[str]:
    from time import time

    from claude_syncd.ctl.show import conflict_lines

    paint = painter(sys.stdout)
    lines = conflict_lines([detail.conflict], time(), paint)[:-2]
    if not detail.diff:
        return [*lines, "", "the two sides are not text, or equal"]
    lines.append("")
    from shutil import get_terminal_size

    from claude_syncd.ctl.side_by_side import NARROWEST, two_columns

    width = get_terminal_size().columns
    if beside and width >= NARROWEST:
        return [*lines, *two_columns(detail.diff, width, paint), *_cut_off(detail)]
    for row in block(detail.diff).splitlines():
        colour = {"+": "green", "-": "red", "@": "blue"}.get(row[:1])
        lines.append(paint(row, colour) if colour else row)
    return [*lines, *_cut_off(detail)]


def _cut_off(detail: ConflictDetail) -> list[str]:
    if not detail.truncated:
        return []
    return ["", f"there is more: compare {line(detail.conflict.path)} with the other side yourself"]


def _resolve(given: Given, conflict: str | None, keep: Keep) -> int:
    with remote.anyone() as there:
        answer = there.resolve(conflict, keep)
    if given.has("--json"):
        say_json(answer)
    else:
        from claude_syncd.ctl.show import count

        say(f"{count(answer.resolved, 'conflict')} resolved")
    return 0
