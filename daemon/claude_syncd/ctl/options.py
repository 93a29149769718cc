"""The words of a command line, taken apart by a table of commands. Small, since `status` must start fast."""

# Imports cost start-up time: what only an error needs is imported where it is needed.
# ruff: noqa: PLC0415
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.errors import UsageError

PROGRAM = "claude-syncctl"


class Option:
    """`--name`, perhaps with a short `-n`. With `metavar` it takes a value, one of `choices` if there are any."""

    __slots__ = ("about", "choices", "metavar", "name", "short")

    def __init__(
        self, name: str, about: str, *, short: str = "", metavar: str = "", choices: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.about = about
        self.short = short
        self.choices = choices
        self.metavar = metavar or "|".join(choices)

    @property
    def usage(self) -> str:
        """How it is written: `-n, --lines N`."""
        spelled = f"{self.short}, {self.name}" if self.short else self.name
        return f"{spelled} {self.metavar}" if self.metavar else spelled


class Command:
    """One command: `entry` is `module:function` within this package, `words` how its words are written.

    `paths`: its words name files. `own_options` leaves the rest of the line to the entry. `later`: known, but not in
    this release.
    """

    __slots__ = (
        "about",
        "actions",
        "entry",
        "hidden",
        "later",
        "name",
        "needs_setup",
        "options",
        "own_options",
        "paths",
        "words",
    )

    def __init__(
        self,
        name: str,
        about: str,
        entry: str = "",
        *,
        words: str = "",
        actions: tuple[str, ...] = (),
        paths: bool = False,
        options: tuple[Option, ...] = (),
        needs_setup: bool = True,
        hidden: bool = False,
        own_options: bool = False,
    ) -> None:
        self.name = name
        self.about = about
        self.entry = entry
        self.words = words
        self.actions = actions
        self.paths = paths
        self.options = options
        self.needs_setup = needs_setup
        self.hidden = hidden
        self.own_options = own_options
        self.later = not entry

    def usage(self) -> str:
        """One line: how the command is written."""
        given = " [options]" if self.options else ""
        return f"usage: {PROGRAM} {self.name}" + (f" {self.words}" if self.words else "") + given

    def help(self) -> str:
        """Everything about the command, for a terminal."""
        rows = [(option.usage, option.about) for option in self.options]
        rows.append(("-h, --help", "show this"))
        return "\n".join([self.usage(), "", _sentence(self.about), "", "options:", *columns(rows)])


class Given:
    """What a user wrote after the command's name."""

    __slots__ = ("_options", "command", "words")

    def __init__(self, command: Command, options: dict[str, str], words: list[str]) -> None:
        self.command = command
        self._options = options
        self.words = words

    def has(self, name: str) -> bool:
        """Whether the option `--name` is there."""
        return name in self._options

    def value(self, name: str) -> str | None:
        """Give the option's value, the last if it is there twice."""
        return self._options.get(name)

    def number(self, name: str, default: int) -> int:
        """Give the option's value as a number that is not negative. Raises UsageError."""
        text = self._options.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise usage_error(self.command, f"{name} takes a number, not {text!r}")
        return int(text)

    def seconds(self, name: str) -> int | None:
        """Give the option's value as a time: `90`, `90s`, `30m`, `2h`, `1d`, `1h30m`. Raises UsageError."""
        text = self._options.get(name)
        if text is None:
            return None
        total, digits = 0, ""
        for letter in f"{text}s" if text.isdigit() else text:
            if letter.isascii() and letter.isdigit():
                digits += letter
            elif digits and len(digits) < 10 and letter in _SECONDS:
                total += int(digits) * _SECONDS[letter]
                digits = ""
            else:
                digits = letter  # not a time
                break
        if digits or not 0 < total <= _LONGEST:
            raise usage_error(self.command, f"{name} takes a time such as 30m, 2h or 1d, not {text!r}")
        return total

    def moment(self, name: str) -> str | None:
        """Give the option's value as a time in ISO 8601 with a zone: `2026-01-31T12:00` by the local clock, or how long
        ago, as `seconds` takes it. Raises UsageError.
        """
        text = self._options.get(name)
        if text is None:
            return None
        from datetime import datetime, timedelta

        from claude_syncd.errors import UsageError

        try:
            return datetime.fromisoformat(text).astimezone().isoformat()
        except (ValueError, OverflowError):
            pass
        try:
            ago = self.seconds(name)
        except UsageError:
            raise usage_error(
                self.command, f"{name} takes a time such as 2026-01-31T12:00 or 2h, not {text!r}"
            ) from None
        return (datetime.now().astimezone() - timedelta(seconds=ago or 0)).isoformat()


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400


def parse(command: Command, arguments: list[str]) -> Given:
    """Take `arguments` apart. Options and words may be mixed; `--` ends the options. Raises UsageError."""
    known = {option.name: option for option in command.options}
    shorts = {option.short: option for option in command.options if option.short}
    options: dict[str, str] = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            words += rest
            break
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            option = known.get(name)
            if option is None:
                raise usage_error(command, f"{command.name} has no option {name}", name, known)
            if equals and not option.metavar:
                raise usage_error(command, f"{name} takes no value")
            _store(command, option, options, value if equals else None, rest)
        elif argument.startswith("-") and argument != "-":
            _parse_short(command, shorts, options, argument[1:], rest)
        else:
            words.append(argument)
    return Given(command, options, words)


def _parse_short(
    command: Command, shorts: dict[str, Option], options: dict[str, str], letters: str, rest: list[str]
) -> None:
    """`-q`, several at once as `-qv`, or with a value as `-n5` or `-n 5`."""
    while letters:
        option = shorts.get(f"-{letters[0]}")
        if option is None:
            raise usage_error(command, f"{command.name} has no option -{letters[0]}")
        letters = letters[1:]
        if option.metavar:
            _store(command, option, options, letters or None, rest)
            return
        options[option.name] = ""


def _store(command: Command, option: Option, options: dict[str, str], value: str | None, rest: list[str]) -> None:
    if option.metavar and value is None:
        if not rest:
            raise usage_error(command, f"{option.name} needs a value: {option.usage}")
        value = rest.pop(0)
    if option.choices and value not in option.choices:
        raise usage_error(command, f"{option.name} takes {', '.join(option.choices)}, not {value!r}")
    options[option.name] = value or ""


def usage_error(command: Command | None, message: str, wrong: str = "", known: Iterable[str] = ()) -> UsageError:
    """Make the error for wrong words; the hint is what of `known` comes near to `wrong`, or where the help is."""
    from claude_syncd.errors import UsageError

    where = f"see `{PROGRAM} {command.name} --help`" if command else f"see `{PROGRAM} --help`"
    if wrong:
        from difflib import get_close_matches

        if near := get_close_matches(wrong, list(known), 1):
            return UsageError(message, hint=f"did you mean {near[0]}? {where}")
    return UsageError(message, hint=where)


def columns(rows: list[tuple[str, str]]) -> list[str]:
    """Lay out two columns, indented."""
    width = max((len(left) for left, _ in rows), default=0)
    return [f"  {left:<{width}}  {right}".rstrip() for left, right in rows]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
