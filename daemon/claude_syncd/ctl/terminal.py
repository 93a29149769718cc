"""What may go to a terminal: colour only where it is wanted, and no control characters that others wrote."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}

# Names and texts come from other machines: an escape sequence in one must not reach the terminal. Nor what turns
# the direction of writing, which makes a name look like another.
_UNSAFE = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_UNSAFE_IN_LINE = {**_UNSAFE, 9: "\\t", 10: "\\n"}


def lively(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that may be drawn on in colour."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painter(stream: TextIO) -> Callable[[str, str], str]:
    """Give the function that puts text in a colour, or leaves it as it is."""
    if not lively(stream):
        return lambda text, _colour: text
    return lambda text, colour: f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def line(text: str) -> str:
    """Give `text` fit to stand within a line."""
    return text.translate(_UNSAFE_IN_LINE)


def block(text: str) -> str:
    """Give `text`, of several lines, fit for a terminal."""
    return text.translate(_UNSAFE)


def say(text: str) -> None:
    """Print on stdout, whose last line it ends."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Print on stderr: what a script that reads stdout doesn't want."""
    sys.stderr.write(f"{text}\n")


def fail(message: str, hint: str) -> None:
    """Tell on stderr what happened, then what to do."""
    note(f"error: {line(message)}")
    if hint:
        note(f"hint: {line(hint)}")
