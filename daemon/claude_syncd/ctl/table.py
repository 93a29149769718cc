"""Every command of `claude-syncctl`, in the order of its help."""

from __future__ import annotations

from claude_syncd.ctl.options import PROGRAM, Command, Option, columns

_JSON = Option("--json", "print one JSON object")
_KEEP = ("local", "remote", "both")
_QUIET = Option("--quiet", "print nothing but errors", short="-q")
_TRANSFER = (
    Option("--dry-run", "show what it would do, change nothing"),
    Option("--project", "only the project in this folder", metavar="DIR"),
    _QUIET,
    Option("--verbose", "print more", short="-v"),
    _JSON,
)
_FROM = Option("--from", "only what this device wrote", metavar="DEVICE")

COMMANDS: tuple[Command, ...] = (
    Command(
        "init",
        "set up this device: choose a store, create or join a vault",
        "init:run",
        needs_setup=False,
        own_options=True,
    ),
    Command(
        "status",
        "show what is pending, when it last synced, each device, and what needs you",
        "look:status",
        options=(Option("--watch", "keep it on screen", short="-w"), _JSON),
    ),
    Command("push", "upload what changed here now, and wait", "transfer:push", options=_TRANSFER),
    Command("pull", "download what other devices pushed now, and wait", "transfer:pull", options=(_FROM, *_TRANSFER)),
    Command("sync", "pull and push now, and wait", "transfer:sync", options=(_FROM, *_TRANSFER)),
    Command(
        "pause",
        "stop syncing; it stays so over a restart",
        "steer:pause",
        options=(Option("--for", "go on by itself after this time: 30m, 2h, 1d", metavar="TIME"), _QUIET, _JSON),
    ),
    Command(
        "resume",
        "sync again",
        "steer:resume",
        options=(Option("--accept", "say yes to what a hold asks about"), _QUIET, _JSON),
    ),
    Command("diff", "compare this device with the vault, file by file", "look:diff", options=(_JSON,)),
    Command(
        "conflicts",
        "list conflicts, show one, merge one by hand, end one or all",
        "conflicts:run",
        words="[list | show ID | edit ID | resolve ID|--all --keep local|remote|both]",
        actions=("list", "show", "edit", "resolve"),
        options=(
            Option("--keep", "the side that stays; without an action: of all conflicts", choices=_KEEP),
            Option("--all", "resolve every conflict"),
            Option("--side-by-side", "show: in two columns, where the terminal is wide enough"),
            Option("--tool", "edit: run it instead of $EDITOR, as CMD LOCAL MERGED REMOTE", metavar="CMD"),
            _JSON,
        ),
    ),
    Command(
        "approve",
        "list settings of other devices that wait for you, and answer them",
        "approve:run",
        words="[list | [--reject] ID...|--all]",
        actions=("list",),
        options=(
            Option("--all", "answer every setting that waits"),
            Option("--reject", "leave it out until it changes"),
            _JSON,
        ),
    ),
    Command(
        "log",
        "list the versions of a file, over all devices",
        "log:run",
        words="PATH",
        paths=True,
        options=(_JSON,),
    ),
    Command(
        "restore",
        "bring back a version of a file, a folder, or everything as of a time",
        "restore:run",
        words="PATH | --all",
        paths=True,
        options=(
            Option("--version", "which one: a number or id of `log`; if not given, the newest", metavar="V"),
            Option("--at", "as of this time: 2026-01-31T12:00, or 2h for two hours ago", metavar="TIME"),
            Option("--to", "write it there, to a file or a new folder, and leave the tree alone", metavar="FILE"),
            Option("--all", "everything, as of the time --at"),
            Option("--yes", "do not ask", short="-y"),
            _QUIET,
            _JSON,
        ),
    ),
    Command(
        "forget",
        "delete files for good, on every device",
        "forget:run",
        words="PATH...",
        paths=True,
        options=(
            Option("--dry-run", "show what it would delete"),
            Option("--yes", "do not ask", short="-y"),
            _QUIET,
            _JSON,
        ),
    ),
    Command(
        "devices",
        "list the devices of the vault, give this one another name, or take another one out",
        "look:devices",
        words="[list | rename NAME | remove ID|NAME]",
        actions=("list", "rename", "remove"),
        options=(Option("--yes", "do not ask before a device is removed", short="-y"), _JSON),
    ),
    Command(
        "projects",
        "show how projects of other machines are matched here",
        "projects:run",
        words="[list]",
        actions=("list",),
        options=(_JSON,),
    ),
    Command(
        "check",
        "verify the vault, object by object",
        "check:run",
        options=(Option("--read-data", "decrypt everything and compare every file's hash, too"), _JSON),
    ),
    Command(
        "service",
        "install, remove, start or stop the daemon as a service of this user",
        "service:run",
        words="install|uninstall|start|stop|status",
        actions=("install", "uninstall", "start", "stop", "status"),
        needs_setup=False,
        own_options=True,
    ),
    Command(
        "logs",
        "show the daemon's log",
        "logs:run",
        needs_setup=False,
        options=(
            Option("--follow", "go on as it grows", short="-f"),
            Option("--lines", "how many lines from the end; 50 if not given", short="-n", metavar="N"),
            _JSON,
        ),
    ),
    Command(
        "reset", "forget this device's state, or delete the vault", "reset:run", needs_setup=False, own_options=True
    ),
    Command("version", "show the version", "look:version", needs_setup=False, options=(_JSON,)),
    Command(
        "completion",
        "print a script that completes commands in your shell",
        "completion:run",
        words="bash|zsh|fish",
        actions=("bash", "zsh", "fish"),
        needs_setup=False,
    ),
    Command("poke", "tell the daemon that something changed just now", "steer:poke", hidden=True),
    Command("metrics", "print the daemon's counters in the Prometheus text format", "look:metrics", hidden=True),
    Command(
        "run-default",
        "set up if need be, then run",
        "run_default:run",
        hidden=True,
        needs_setup=False,
        own_options=True,
    ),
    Command("search", "search every device's sessions"),
    Command("hooks", "make Claude Code poke the daemon"),
    Command("key", "recovery code, passphrase, recipients"),
    Command("doctor", "look for what is wrong here"),
    Command("import", "bring over what another tool stored"),
    Command("update", "update this program"),
)


def find(name: str) -> Command | None:
    """Give the command of that name."""
    return next((command for command in COMMANDS if command.name == name), None)


def overview() -> str:
    """Give the help of the whole program."""
    shown = [(c.name, c.about) for c in COMMANDS if not (c.hidden or c.later)]
    later = [(c.name, c.about) for c in COMMANDS if c.later]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [options]",
            "",
            "Keeps Claude Code's state the same on all of your machines.",
            "",
            "commands:",
            *columns(shown),
            "",
            "not in this release yet:",
            *columns(later),
            "",
            f"`{PROGRAM} COMMAND --help` tells more about one.",
        ]
    )
