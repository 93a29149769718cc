"""`claude-syncctl run-default`, which is `make run`: from nothing to a running daemon, and again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from waiting import wait_until

CTL = str(Path(sys.executable).with_name("claude-syncctl"))
CODE = re.compile(r"\b(?:[0-9A-Z]{4}-){8}[0-9A-Z]{4}\b")


def run_until_it_works(home: Path) -> tuple[str, str]:
    """Start it, have it answer, end it; gives what it printed."""
    environ = {"HOME": str(home), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [CTL, "run-default"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def answers() -> bool:
        assert process.poll() is None, process.communicate()
        asked = [CTL, "status", "--json"]
        said = subprocess.run(asked, env=environ, capture_output=True, text=True, timeout=60, check=False)
        return '"daemon":true' in said.stdout.replace(" ", "")

    try:
        wait_until(answers, 30, "an answer of the daemon")
        again = [CTL, "run-default"]
        second = subprocess.run(again, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "a daemon works on" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out, err


def test_the_first_time_it_sets_up_and_then_it_just_runs(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    out, err = run_until_it_works(tmp_path)
    assert len(CODE.findall(out)) == 1
    assert "starting" in err
    state = tmp_path / ".claude-sync"
    assert (state / "vault" / "vault.json").exists()
    key = (state / "vault.key").read_bytes()
    out, _ = run_until_it_works(tmp_path)
    assert not CODE.search(out)
    assert (state / "vault.key").read_bytes() == key
    assert not CODE.search((state / "log" / "claude-syncd.log").read_text())
