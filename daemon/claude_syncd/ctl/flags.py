"""For commands that take their own words apart (`own_options` in the table), and questions on a terminal."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from claude_syncd.ctl.options import Command, Given, parse, usage_error
from claude_syncd.ctl.terminal import say
from claude_syncd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def given(command: Command, arguments: Sequence[str]) -> Given | None:
    """The words after the command's name, taken apart; None after its help was shown. Raises UsageError."""
    if any(word in ("-h", "--help") for word in arguments):
        say(command.help())
        return None
    taken = parse(command, list(arguments))
    if taken.words and (not command.actions or taken.words[0] not in command.actions or len(taken.words) > 1):
        wrong = taken.words[0] if len(taken.words) == 1 else taken.words[1]
        raise usage_error(command, f"{command.name} takes no {wrong!r}", wrong, command.actions)
    return taken


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, default: str = "") -> str:
    """One line from the user, without blanks around it; the question goes to stderr, which leaves stdout to results."""
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise UsageError("no answer", hint="give the answers as options; see --help")
    return line.strip() or default


def ask_secret(question: str) -> str:
    """One line from the user's terminal that is not shown."""
    try:
        return getpass.getpass(f"{question} ", stream=sys.stderr)
    except EOFError:
        raise UsageError("no answer", hint="give the answers as options; see --help") from None


def agreed(question: str, *, default: bool) -> bool:
    """Yes or no from the user; an empty answer is `default`."""
    answer = ask(f"{question} [{'Y/n' if default else 'y/N'}]").lower()
    return default if not answer else answer in ("y", "yes")


def confirm(taken: Given, question: str, otherwise: str) -> None:
    """Ask before something that can't be taken back, unless `--yes` was said. Raises UsageError, with the message
    `otherwise`, for a no.
    """
    if taken.has("--yes"):
        return
    if not on_terminal():
        raise UsageError("there is nobody to ask", hint="say --yes if you are sure")
    if not agreed(question, default=False):
        raise UsageError(otherwise, hint="")
