"""A unified diff in two columns."""

from __future__ import annotations

from claude_syncd.ctl.terminal import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Paint = Callable[[str, str], str]

NARROWEST = 80
"""Columns of a terminal below which two texts don't fit beside each other."""


def two_columns(diff: str, width: int, paint: Paint) -> list[str]:
    """The diff's lines, the old side on the left and the new one on the right, in `width` columns; what is longer is
    cut.
    """
    half = (width - 3) // 2
    out: list[str] = []
    old: list[str] = []
    new: list[str] = []

    def flush() -> None:
        for number in range(max(len(old), len(new))):
            left = paint(_cut(old[number], half), "red") if number < len(old) else " " * half
            right = paint(_cut(new[number], half), "green") if number < len(new) else ""
            mark = "|" if number < min(len(old), len(new)) else ">" if right else "<"
            out.append(f"{left} {mark} {right}".rstrip())
        old.clear()
        new.clear()

    head = True
    for row in diff.splitlines():
        head = head and not row.startswith("@")
        if head:
            (old if row.startswith("-") else new).append(row[4:])
        elif row.startswith("-"):
            old.append(row[1:])
        elif row.startswith("+"):
            new.append(row[1:])
        else:
            flush()
            if row.startswith("@"):
                out.append(paint(line(row), "blue"))
            else:
                text = _cut(row[1:], half)
                out.append(f"{text}   {text}".rstrip())
    flush()
    return out


def _cut(text: str, width: int) -> str:
    text = line(text.replace("\t", "    "))
    return f"{text:<{width}}" if len(text) <= width else text[: width - 1] + "…"
