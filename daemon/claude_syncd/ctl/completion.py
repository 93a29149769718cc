"""`completion`: scripts for bash, zsh and fish, made from the table of commands."""

from __future__ import annotations

import importlib

from claude_syncd.ctl.options import PROGRAM, usage_error
from claude_syncd.ctl.table import COMMANDS
from claude_syncd.ctl.terminal import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.ctl.options import Command, Given, Option


def run(given: Given) -> int:
    """`completion bash|zsh|fish`."""
    match given.words:
        case ["bash"]:
            say(bash())
        case ["zsh"]:
            say(zsh())
        case ["fish"]:
            say(fish())
        case _:
            raise usage_error(given.command, f"say which shell: {', '.join(given.command.actions)}")
    return 0


_FILES = {"FILE", "PATH", "DIR"}


def _shown() -> list[Command]:
    """The commands to complete, with all of their options: some keep those in a module of their own."""
    shown = [command for command in COMMANDS if not (command.hidden or command.later)]
    return [_whole(command) if command.own_options else command for command in shown]


def _whole(command: Command) -> Command:
    module = importlib.import_module(f"claude_syncd.ctl.{command.entry.partition(':')[0]}")
    whole: Command = module.COMMAND
    return whole


def _words(command: Command) -> list[str]:
    """What may follow the command."""
    shorts = [option.short for option in command.options if option.short]
    return [*command.actions, *(option.name for option in command.options), *shorts, "--help"]


def _values() -> tuple[dict[str, str], str, str]:
    """Of the options that take values: those that take one of some words, with these; those that take files, and the
    rest, each as a pattern of the shells.
    """
    taking = [option for command in _shown() for option in command.options if option.metavar]

    def pattern(options: list[Option]) -> str:
        return "|".join(sorted({name for option in options for name in (option.name, option.short) if name}))

    words = {option.name: " ".join(option.choices) for option in taking if option.choices}
    files = [option for option in taking if option.metavar in _FILES]
    rest = [option for option in taking if not option.choices and option.metavar not in _FILES]
    return words, pattern(files), pattern(rest)


def bash() -> str:
    """Give the script for bash."""
    names = " ".join(command.name for command in _shown())
    words, files, rest = _values()
    values = "\n".join(f'    {name}) words="{choices}" ;;' for name, choices in words.items())
    cases = "\n".join(
        f'    {command.name}) words="{" ".join(_words(command))}"{"; compopt -o default" if command.paths else ""} ;;'
        for command in _shown()
    )
    return f"""# bash completion for {PROGRAM}; put it into ~/.local/share/bash-completion/completions/{PROGRAM}
_claude_syncctl() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
  COMPREPLY=()
  case "$before" in
{values}
    {files}) compopt -o default; return ;;
    {rest}) return ;;
    *)
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{names} --help"
  else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _claude_syncctl {PROGRAM}"""


def zsh() -> str:
    """Give the script for zsh."""
    names = "\n".join(f"    {_quoted(f'{command.name}:{command.about}')}" for command in _shown())
    words, files, rest = _values()
    values = "\n".join(f"    {name}) compadd {choices}; return ;;" for name, choices in words.items())
    cases = "\n".join(
        f"    {command.name}) compadd -- {' '.join(_words(command))}{'; _files' if command.paths else ''} ;;"
        for command in _shown()
    )
    return f"""#compdef {PROGRAM}
# zsh completion for {PROGRAM}; put it into a folder of $fpath under the name _{PROGRAM}
_claude_syncctl() {{
  local -a commands
  commands=(
{names}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  case "$words[CURRENT-1]" in
{values}
    {files}) _files; return ;;
    {rest}) return ;;
  esac
  case "$words[2]" in
{cases}
  esac
}}
if [ "$funcstack[1]" = "_{PROGRAM}" ]; then _claude_syncctl "$@"; else compdef _claude_syncctl {PROGRAM}; fi"""


def fish() -> str:
    """Give the script for fish."""
    lines = [
        f"# fish completion for {PROGRAM}; put it into ~/.config/fish/completions/{PROGRAM}.fish",
        f"complete -c {PROGRAM} -f",
    ]
    for command in _shown():
        here = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {command.name}'"
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -a {command.name} -d {_quoted(command.about)}")
        if command.actions:
            lines.append(f"{here} -a '{' '.join(command.actions)}'")
        if command.paths:
            lines.append(f"{here} -F")
        for option in command.options:
            short = f" -s {option.short[1:]}" if option.short else ""
            value = f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r" if option.metavar else ""
            value += " -F" if option.metavar in _FILES else ""
            lines.append(f"{here} -l {option.name[2:]}{short}{value} -d {_quoted(option.about)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Give `text`, which has no backslash, as one word of any of the three shells."""
    return "'" + text.replace("'", "'\\''") + "'"
