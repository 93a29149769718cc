"""Every module of the engine can be the first that is imported."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import claude_syncd.engine as engine
for module in pkgutil.walk_packages(engine.__path__, "claude_syncd.engine."):
    for name in [name for name in sys.modules if name.startswith("claude_syncd.engine.")]:
        del sys.modules[name]
    importlib.import_module(module.name)
"""


def test_no_module_needs_another_to_come_first() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
