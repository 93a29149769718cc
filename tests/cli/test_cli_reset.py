"""`claude-syncctl reset`, by the real command: what goes, what stays, and who is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CTL = Path(sys.executable).with_name("claude-syncctl")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A device set up with a vault in `vault`, and traces of work in its state folder."""
    home = tmp_path / "home"
    (home / ".claude").mkdir(parents=True)
    (home / ".claude" / "CLAUDE.md").write_text("mine")
    assert ctl(home, "init", "--folder", str(tmp_path / "vault"), "--generate-key").returncode == 0
    state = home / ".claude-sync"
    for folder in ("outbox", "trash/1", "conflicts/x", "log"):
        (state / folder).mkdir(parents=True)
        (state / folder / "file").write_text("x")
    for name in ("state.db", "state.db-wal", "notes of the user.txt"):
        (state / name).write_text("x")
    return home


def ctl(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [CTL, *words],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def vault_id(home: Path) -> str:
    lines = (home / ".claude-sync" / "vault.key").read_text().splitlines()
    return next(line.removeprefix("# vault: ") for line in lines if line.startswith("# vault: "))


def test_local_forgets_the_device_and_nothing_else(home: Path, tmp_path: Path) -> None:
    vault = contents(tmp_path / "vault")
    tree = contents(home / ".claude")
    done = ctl(home, "reset", "--local", "--yes")
    assert done.returncode == 0, done.stderr
    assert set(contents(home / ".claude-sync")) == {"lock", "notes of the user.txt"}
    assert contents(tmp_path / "vault") == vault
    assert contents(home / ".claude") == tree
    assert ctl(home, "status").returncode == 4


def test_local_keeps_a_vault_that_lies_in_the_state_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    vault = home / ".claude-sync" / "vault"
    assert ctl(home, "init", "--folder", str(vault), "--generate-key").returncode == 0
    before = contents(vault)
    assert ctl(home, "reset", "--local", "--yes").returncode == 0
    assert contents(vault) == before


def test_local_does_not_follow_links_out(home: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (home / ".claude-sync" / "trash" / "link").symlink_to(precious)
    outbox = home / ".claude-sync" / "outbox"
    (outbox / "file").unlink()
    outbox.rmdir()
    outbox.symlink_to(precious)
    assert ctl(home, "reset", "--local", "--yes").returncode == 0
    assert contents(precious) == {"file": b"x"}
    assert not outbox.is_symlink()


def test_remote_deletes_the_vault_and_keeps_the_device(home: Path, tmp_path: Path) -> None:
    state = contents(home / ".claude-sync")
    area = tmp_path / "vault" / "devices" / ("ab" * 16) / "log"
    area.mkdir(parents=True)
    (area / "000000000001").write_bytes(b"x")
    done = ctl(home, "reset", "--remote", "--vault-id", vault_id(home))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "vault") == {}
    after = contents(home / ".claude-sync")
    assert {name: after[name] for name in state} == state
    assert "there is no vault" in ctl(home, "reset", "--remote", "--yes").stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "say what to reset"),
        (("--local",), "there is nobody to ask"),
        (("--remote",), "there is nobody to ask"),
        (("--remote", "--yes"), "there is nobody to ask"),
        (("--remote", "--vault-id", "ab" * 16), "not the vault's id"),
        (("--local", "--remote", "--yes"), "there is nobody to ask"),
    ],
)
def test_without_a_clear_yes_nothing_goes(home: Path, tmp_path: Path, words: tuple[str, ...], part: str) -> None:
    before = contents(tmp_path)
    done = ctl(home, "reset", *words, stdin="y\n")
    assert done.returncode == 2
    assert part in done.stderr
    after = contents(tmp_path)
    after.pop("home/.claude-sync/lock", None)
    assert after == before


def test_the_vault_of_somebody_else_is_not_deleted(home: Path, tmp_path: Path) -> None:
    (tmp_path / "vault").rename(tmp_path / "away")
    other = tmp_path / "other"
    other.mkdir()
    assert ctl(other, "init", "--folder", str(tmp_path / "vault"), "--generate-key").returncode == 0
    before = contents(tmp_path / "vault")
    done = ctl(home, "reset", "--remote", "--vault-id", vault_id(other))
    assert done.returncode == 2
    assert "not the one that this device belongs to" in done.stderr
    assert contents(tmp_path / "vault") == before


def test_a_daemon_at_work_is_left_alone(home: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    holder = subprocess.Popen(
        ["flock", str(home / ".claude-sync" / "lock"), "sh", "-c", "echo ready; read _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        done = ctl(home, "reset", "--local", "--yes")
        assert done.returncode == 1
        assert "works on" in done.stderr
    finally:
        holder.communicate(b"\n")
    after = contents(tmp_path)
    after.pop("home/.claude-sync/lock")
    assert after == before


def test_nothing_to_reset(tmp_path: Path) -> None:
    assert ctl(tmp_path, "reset", "--local", "--yes").returncode == 4
    assert list(tmp_path.iterdir()) == []
