"""Questions on a terminal, with arrow keys. They go to stderr, which leaves stdout to results.

questionary is imported when the first question is asked. Ctrl-C at any of them is a KeyboardInterrupt.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from claude_syncd.ctl.flags import on_terminal
from claude_syncd.ctl.terminal import line, note
from claude_syncd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from questionary import Question

_HOW = "give the answers as options; see `claude-syncctl init --help`"


def answerable() -> bool:
    """Whether there is somebody to ask, at a terminal that can be drawn on."""
    return on_terminal() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


class Questions:
    """Asks, and remembers whether it has."""

    def __init__(self) -> None:
        self.asked = False

    def choose(self, question: str, choices: Sequence[tuple[str, str]], default: str | None = None) -> str:
        """One of the `choices`, which are pairs of a value and its title."""
        import questionary  # noqa: PLC0415 - a tenth of a second, for those who are asked only

        shown = [questionary.Choice(line(title), value=value) for value, title in choices]
        first = next((choice for choice in shown if choice.value == default), None)
        return str(self._answer(questionary.select(question, shown, default=first, qmark="?", output=_stderr())))

    def text(self, question: str, check: Callable[[str], str], default: str = "") -> str:
        """A line that `check` accepts, as it gives it back; what it says is shown, and asked again."""
        import questionary  # noqa: PLC0415 - see above

        asked = questionary.text(
            line(question),
            default=default,
            validate=lambda text: _verdict(check, text.strip()),
            validate_while_typing=False,
            output=_stderr(),
        )
        return check(str(self._answer(asked)).strip())

    def secret(self, question: str, check: Callable[[str], str] = str, told: Callable[[str], str] | None = None) -> str:
        """A line that is not shown, and that `check` accepts. `told` says something about it while it is typed."""
        import questionary  # noqa: PLC0415 - see above
        from prompt_toolkit.application import get_app  # noqa: PLC0415 - see above

        toolbar = None if told is None else lambda: told(get_app().current_buffer.text)
        asked = questionary.password(
            line(question),
            validate=lambda text: _verdict(check, text),
            validate_while_typing=False,
            bottom_toolbar=toolbar,
            output=_stderr(),
        )
        return check(str(self._answer(asked)))

    def agreed(self, question: str, *, default: bool = True) -> bool:
        """Yes or no."""
        import questionary  # noqa: PLC0415 - see above

        return bool(self._answer(questionary.confirm(line(question), default=default, output=_stderr())))

    def tell(self, text: str) -> None:
        """Say something in between."""
        note(text)

    def _answer(self, question: Question) -> Any:
        self.asked = True
        try:
            return question.unsafe_ask()
        except (EOFError, OSError):
            raise UsageError("no answer", hint=_HOW) from None


def _verdict(check: Callable[[str], str], text: str) -> bool | str:
    """What questionary wants of a check: True, or what is wrong."""
    try:
        check(text)
    except UsageError as error:
        return f"{error}; {error.hint}" if error.hint and not error.hint.startswith("see `") else str(error)
    return True


def _stderr() -> Any:
    from prompt_toolkit.output import create_output  # noqa: PLC0415 - see above

    return create_output(stdout=sys.stderr)
