"""Makes the plain modules of tests/servers and tests/support importable, has no test fail for a busy machine, and
chooses the seed of the simulation (tests/sim), which is told at the end of each run.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

for folder in ("servers", "support"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

# A script's job in the background ignores Ctrl-C, and so do all commands that it starts; tests send them one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_SEED = "SIMULATION_SEED"
os.environ.setdefault(_SEED, str(random.SystemRandom().randrange(10**9)))  # other processes of the run have it, too


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"the simulation began with {_SEED}={os.environ[_SEED]}")
