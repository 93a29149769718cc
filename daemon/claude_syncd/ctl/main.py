"""`claude-syncctl`: finds the command, runs it, and turns whatever goes wrong into an exit code and two lines."""

# `status` and `poke` start in 10 ms over Python itself because nothing is imported before it is needed.
# ruff: noqa: PLC0415
from __future__ import annotations

import os
import sys

from claude_syncd.ctl import where
from claude_syncd.ctl.options import PROGRAM, Command, parse, usage_error
from claude_syncd.ctl.table import COMMANDS, find, overview
from claude_syncd.ctl.terminal import fail, note, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

INTERRUPTED = 130
_HELP = ("-h", "--help")


def main() -> int:
    """Run the command that the process was started with; returns its exit code, or ends the process with it."""
    try:
        _lenient(sys.stdout)
        _lenient(sys.stderr)
        code = run(sys.argv[1:])
        sys.stdout.flush()
        if "threading" not in sys.modules:
            # Python takes 2.5 ms to take itself apart. Without threads, nobody has left anything to tidy up.
            sys.stderr.flush()
            os._exit(code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone, as `head` does. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the edge of the program: users get two lines, never a traceback
        return _failed(error)
    return code


def run(arguments: list[str]) -> int:
    """Run one command line, without the program's name. Raises SyncError."""
    if not arguments:
        note(overview())
        return 2
    name, *rest = arguments
    if name in _HELP or (name == "help" and not rest):
        say(overview())
        return 0
    if name == "help":
        name, rest = rest[0], ["--help"]
    command = find("version" if name in {"--version", "-V"} else name)
    if command is None:
        visible = [c.name for c in COMMANDS if not c.hidden]
        raise usage_error(None, f"there is no command {name}", name, visible)
    return _run(command, rest)


def _run(command: Command, arguments: list[str]) -> int:
    if command.later:
        from claude_syncd.errors import SyncError

        raise SyncError(f"{command.name} is not in this release yet", hint=f"see `{PROGRAM} --help` for what is")
    if command.own_options:
        return int(_entry(command)(arguments))
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(word in _HELP for word in before):
        say(command.help())
        return 0
    given = parse(command, arguments)
    if given.words and not command.actions and not command.paths:
        raise usage_error(command, f"{command.name} takes no {given.words[0]!r}")
    if command.needs_setup and not where.is_set_up():
        from claude_syncd.errors import NotSetUp

        raise NotSetUp("this device is not set up")
    return int(_entry(command)(given))


def _entry(command: Command) -> Any:
    """Import what carries out the command."""
    module, _, function = command.entry.partition(":")
    # What importlib.import_module does, without importing importlib.
    return getattr(__import__(f"claude_syncd.ctl.{module}", fromlist=[function]), function)


def _failed(error: Exception) -> int:
    from claude_syncd.errors import SyncError

    if isinstance(error, SyncError):
        fail(str(error), error.hint)
        return error.exit_code
    fail(f"internal error: {type(error).__name__}: {error}", _record(error))
    return 1


def _record(error: Exception) -> str:
    """Put what nobody expected into the log, whole; returns the hint that says where it is."""
    from pathlib import Path

    from claude_syncd import log
    from claude_syncd.errors import SyncError

    path = Path(where.log_file())
    hint = f"please report it, with the last lines of {path}"
    if not path.parent.parent.is_dir():
        return "please report it"
    try:
        log.configure(path)
        log.get_logger(__name__).error("internal error", exc_info=error)
    except SyncError:
        return "please report it"
    finally:
        log.close()
    return hint


def _lenient(stream: TextIO) -> None:
    """File names may be no text at all: show what can't be encoded instead of failing over it."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
