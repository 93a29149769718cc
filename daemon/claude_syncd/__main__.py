"""`claude-syncd`: the daemon in the foreground, until SIGTERM."""

from __future__ import annotations

import os
import sys

from claude_syncd import __version__
from claude_syncd.errors import SyncError

_USAGE = """\
usage: claude-syncd [--version] [--help]

Keeps Claude Code's state the same on all of your machines. Runs in the foreground until SIGTERM;
`claude-syncctl init` sets this device up, `claude-syncctl service install` has it started for you.
"""


def main() -> int:
    """Run the daemon. The exit codes are those of `claude-syncctl`."""
    arguments = sys.argv[1:]
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(_USAGE)
        return 0
    if arguments == ["--version"]:
        sys.stdout.write(f"claude-syncd {__version__}\n")
        return 0
    if arguments:
        sys.stderr.write(
            f"error: unknown argument {arguments[0]}\nhint: claude-syncd takes --version and --help only\n"
        )
        return 2
    from claude_syncd.app.stopping import StoppedEarly, stop_early  # noqa: PLC0415 - --help must not wait for it

    try:
        stop_early()
        from claude_syncd.app.daemon import run_daemon  # noqa: PLC0415 - takes long: it can be stopped meanwhile
        from claude_syncd.local.home import Places  # noqa: PLC0415 - --help must not wait for it

        # launchd would put it into a file that grows for ever.
        run_daemon(Places.from_environment(), console=os.environ.get("XPC_SERVICE_NAME") != "com.claude-syncd.agent")
    except SyncError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        return error.exit_code
    except StoppedEarly as stop:
        sys.stderr.write(f"{stop}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
