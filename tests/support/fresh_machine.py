"""A machine on which nothing was set up, and its user who runs `claude-syncctl`, with options or at a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from terminal_user import TerminalUser

from claude_syncd.ctl.main import main

CTL = Path(sys.executable).with_name("claude-syncctl")
GOOD = "correct horse battery staple"
CODE = re.compile(r"\b(?:[0-9A-Z]{4}-){8}[0-9A-Z]{4}\b")
SET_UP = {"config.toml", "device.json", "vault.key"}
"""What `init` leaves in the state folder."""


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Machine:
    """A device with its own home folder; several may share a vault."""

    home: Path
    extra: dict[str, str] = field(default_factory=dict)
    run_by: list[str] = field(default_factory=list)  # a command that runs the others, such as setpriv

    @property
    def state(self) -> Path:
        return self.home / ".claude-sync"

    @property
    def environ(self) -> dict[str, str]:
        fixed = {"HOME": str(self.home), "PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"}
        return {**fixed, **self.extra}

    def run(self, *words: str, stdin: str = "", **environ: str) -> Done:
        """Run the command without a terminal."""
        done = subprocess.run(
            [*self.run_by, CTL, *words],
            input=stdin,
            env={**self.environ, **environ},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            umask=0,  # the command has to care by itself
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def run_here(self, *words: str, stdin: str = "", **environ: str) -> Done:
        """Run the command in this process, as its user would see it: many times quicker, where there are many cases."""
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, {**self.environ, **environ}, clear=True),
            patch.object(sys, "argv", [str(CTL), *words]),
            patch.object(sys, "stdin", io.StringIO(stdin)),
            contextlib.chdir(self.home),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main()
        return Done(code, out.getvalue(), err.getvalue())

    def at_terminal(self, *words: str, **environ: str) -> TerminalUser:
        """Run the command on a terminal; a context manager."""
        return TerminalUser([CTL, *words], {**self.environ, **environ}, self.home)

    def files(self) -> set[str]:
        """Every file in the state folder."""
        if not self.state.exists():
            return set()
        return {str(path.relative_to(self.state)) for path in self.state.rglob("*") if path.is_file()}

    def store(self) -> dict[str, Any]:
        """The `[store]` section of config.toml."""
        found: dict[str, Any] = tomllib.loads((self.state / "config.toml").read_text())["store"]
        return found

    def is_untouched(self) -> bool:
        """Whether nothing in the home folder says that anybody was here."""
        return not self.state.exists()


def new_machine(folder: Path, name: str = "one", **extra: str) -> Machine:
    """A machine whose home is in `folder`."""
    home = folder / name
    (home / ".claude").mkdir(parents=True)
    return Machine(home, extra)
