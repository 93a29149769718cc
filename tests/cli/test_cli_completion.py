from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Desk


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_takes(bare: Desk, shell: str) -> None:
    script = bare.ctl("completion", shell).out
    for word in ("status", "conflicts", "rename", "resolve", "dry-run", "keep"):
        assert word in script
    for word in ("poke", "metrics", "run-default", "search"):
        assert word not in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=20)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["claude-syncctl", "sta"], ["status"]),
        (["claude-syncctl", "status", "--w"], ["--watch"]),
        (["claude-syncctl", "conflicts", "re"], ["resolve"]),
        (["claude-syncctl", "conflicts", "resolve", "x", "--keep", ""], ["local", "remote", "both"]),
        (["claude-syncctl", "pause", "--for", ""], []),
        (["claude-syncctl", "nonsense", ""], []),
        (["claude-syncctl", "init", "--web"], ["--webdav"]),
        (["claude-syncctl", "init", "--provider", "mi"], ["minio"]),
        (["claude-syncctl", "init", "--region", ""], []),
        (["claude-syncctl", "service", "unin"], ["uninstall"]),
        (["claude-syncctl", "reset", "--lo"], ["--local"]),
    ],
)
def test_bash_offers_what_fits(bare: Desk, typed: list[str], offered: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in typed)
    script = (
        f"{bare.ctl('completion', 'bash').out}\n"
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _claude_syncctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    shown = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True, timeout=20).stdout
    assert shown.split() == offered
