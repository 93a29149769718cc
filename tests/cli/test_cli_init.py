"""`claude-syncctl init`, by the real command: creating, joining, and every way to fail without leaving a trace."""

from __future__ import annotations

import json
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from fresh_machine import CODE, CTL, GOOD, SET_UP, Machine, new_machine
from prepared_vault import prepared
from vaults import FolderVault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "store" / "vault"


def created(machine: Machine, vault: Path, *words: str) -> str:
    """Create a vault without a passphrase; gives the recovery code. In this process: it comes before the test."""
    done = machine.run_here("init", "--folder", str(vault), "--generate-key", *words)
    assert (done.code, done.err) == (0, "")
    (code,) = CODE.findall(done.out)
    return str(code)


def test_create_with_a_passphrase_then_join_with_it_and_with_the_code(tmp_path: Path, vault: Path) -> None:
    one, two, three = (new_machine(tmp_path, name) for name in ("one", "two", "three"))
    made = one.run("init", "--folder", str(vault), "--passphrase-stdin", "--device-name", "Büro", stdin=f"{GOOD}\n")
    assert (made.code, made.err) == (0, "")
    (code,) = CODE.findall(made.out)
    assert one.files() == SET_UP
    assert json.loads((one.state / "device.json").read_text())["name"] == "Büro"

    secret = tmp_path / "secret"
    secret.write_text(f"{GOOD}\nsecond line\n")
    joined = two.run("init", "--folder", str(vault), "--passphrase-file", str(secret), "--json")
    assert joined.code == 0, joined.err
    said = json.loads(joined.out)
    assert said["created"] is False
    assert said["recovery_code"] is None
    again = three.run("init", "--folder", str(vault), "--passphrase-stdin", stdin=f"{code.lower().replace('-', ' ')}\n")
    assert again.code == 0, again.err
    assert not CODE.search(joined.out + again.out)

    def facts(machine: Machine) -> tuple[str, str]:
        key = (machine.state / "vault.key").read_text()
        return key, json.loads((machine.state / "device.json").read_text())["id"]

    assert facts(one)[0] == facts(two)[0] == facts(three)[0]
    assert len({facts(machine)[1] for machine in (one, two, three)}) == 3
    assert said["vault"]["id"] in facts(one)[0]


def test_everything_written_is_private(machine: Machine, vault: Path) -> None:
    assert machine.run("init", "--folder", str(vault), "--generate-key").code == 0
    assert machine.state.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in machine.state.iterdir()} == {0o600}


def test_json_has_the_code_once_and_nothing_else_on_stdout(machine: Machine, vault: Path) -> None:
    done = machine.run("init", "--folder", str(vault), "--generate-key", "--json")
    said = json.loads(done.out)
    assert said["created"] is True
    assert CODE.fullmatch(said["recovery_code"])
    assert len(CODE.findall(done.out)) == 1
    assert said["vault"]["store"] == vault.as_uri()
    assert said["state"] == str(machine.state)
    assert said["recovery_code"] not in "".join(path.read_text() for path in machine.state.iterdir())


@pytest.mark.parametrize("secret", ["quite another passphrase here", "0000-0000-0000-0000-0000-0000-0000-0000-0000"])
def test_a_wrong_secret_changes_nothing(tmp_path: Path, vault: Path, secret: str) -> None:
    vault.parent.mkdir()
    FolderVault(vault).place(prepared(GOOD))
    before = sorted(path.name for path in vault.rglob("*"))
    two = new_machine(tmp_path, "two")
    done = two.run_here("init", "--folder", str(vault), "--passphrase-stdin", stdin=f"{secret}\n")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert "hint: " in done.err
    assert not two.state.exists()
    assert sorted(path.name for path in vault.rglob("*")) == before


def test_generate_key_does_not_join(tmp_path: Path, vault: Path) -> None:
    created(new_machine(tmp_path, "one"), vault)
    two = new_machine(tmp_path, "two")
    done = two.run("init", "--folder", str(vault), "--generate-key")
    assert done.code == 2
    assert "there is a vault" in done.err
    assert not two.state.exists()


def test_a_recovery_code_does_not_become_a_passphrase(machine: Machine, vault: Path) -> None:
    done = machine.run_here(
        "init", "--folder", str(vault), "--passphrase-stdin", stdin="7K2M-HVSH-9ABC-0000-1111-2222-3333-4444-WXYZ\n"
    )
    assert done.code == 2
    assert "there is no vault" in done.err
    assert not vault.exists()


@pytest.mark.parametrize("passphrase", ["hunter2", "password123456", "aaaaaaaaaaaaaaaaaaaaaaaa", "sunshine2024!"])
def test_an_easy_passphrase_is_refused_with_the_reason(machine: Machine, vault: Path, passphrase: str) -> None:
    done = machine.run_here("init", "--folder", str(vault), "--passphrase-stdin", stdin=f"{passphrase}\n")
    assert done.code == 2
    assert "too easy to guess" in done.err
    assert passphrase not in done.err
    assert not vault.exists()
    assert not machine.state.exists()


def test_a_second_init_replaces_nothing_without_force(machine: Machine, vault: Path, tmp_path: Path) -> None:
    created(machine, vault)
    before = {path: path.read_bytes() for path in machine.state.iterdir()}
    other = tmp_path / "other"
    done = machine.run("init", "--folder", str(other), "--generate-key")
    assert done.code == 1
    assert "set up already" in done.err
    assert {path: path.read_bytes() for path in machine.state.iterdir()} == before
    assert not other.exists()


def test_force_to_another_vault_is_a_new_device_without_the_old_state(
    machine: Machine, vault: Path, tmp_path: Path
) -> None:
    created(machine, vault)
    config = machine.state / "config.toml"
    config.write_text('exclude = ["x"]\n' + config.read_text())
    (machine.state / "state.db").write_bytes(b"of the old vault")
    (machine.state / "outbox").mkdir()
    (machine.state / "trash").mkdir()
    before = json.loads((machine.state / "device.json").read_text())
    created(machine, tmp_path / "other", "--force")
    after = json.loads((machine.state / "device.json").read_text())
    assert after["id"] != before["id"]
    assert not (machine.state / "state.db").exists()
    assert not (machine.state / "outbox").exists()
    assert (machine.state / "trash").exists()
    settings = tomllib.loads(config.read_text())
    assert settings["exclude"] == ["x"]
    assert settings["store"]["path"] == str(tmp_path / "other")
    assert (vault / "vault.json").exists()


def test_force_to_the_same_vault_stays_the_same_device(machine: Machine, vault: Path) -> None:
    code = created(machine, vault)
    (machine.state / "state.db").write_bytes(b"still good")
    before = json.loads((machine.state / "device.json").read_text())
    done = machine.run(
        "init", "--folder", str(vault), "--passphrase-stdin", "--force", "--device-name", "new", stdin=code
    )
    assert done.code == 0, done.err
    after = json.loads((machine.state / "device.json").read_text())
    assert after == {"id": before["id"], "name": "new"}
    assert (machine.state / "state.db").exists()


def test_a_wrong_secret_with_force_keeps_the_old_key(machine: Machine, vault: Path, tmp_path: Path) -> None:
    created(machine, vault)
    FolderVault(tmp_path / "other").place(prepared(GOOD))
    before = {path: path.read_bytes() for path in machine.state.iterdir()}
    wrong = f"not {GOOD}\n"
    done = machine.run("init", "--folder", str(tmp_path / "other"), "--passphrase-stdin", "--force", stdin=wrong)
    assert done.code == 1
    assert {path: path.read_bytes() for path in machine.state.iterdir()} == before


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_of_other_things_is_refused_and_kept(machine: Machine, vault: Path, force: tuple[str, ...]) -> None:
    vault.mkdir(parents=True)
    (vault / "photo.jpg").write_bytes(b"dear")
    done = machine.run_here("init", "--folder", str(vault), "--generate-key", *force)
    assert done.code == 1
    assert "other things" in done.err
    assert [path.name for path in vault.iterdir()] == ["photo.jpg"]
    assert not machine.state.exists()


def test_a_vault_inside_the_synced_tree_is_refused(machine: Machine) -> None:
    done = machine.run("init", "--folder", str(machine.home / ".claude" / "vault"), "--generate-key")
    assert done.code == 2
    assert "inside" in done.err
    assert not (machine.home / ".claude" / "vault").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_failure_at_the_last_file_takes_back_the_others_and_the_vault(
    machine: Machine, vault: Path, tmp_path: Path, force: bool
) -> None:
    words = ["init", "--folder", str(tmp_path / "other"), "--generate-key"]
    if force:
        created(machine, vault)
        words.append("--force")
    before = {path: path.read_bytes() for path in machine.state.iterdir()} if force else {}
    rehearsal = new_machine(tmp_path, "rehearsal")
    if force:
        created(rehearsal, tmp_path / "rehearsed")
    # strace counts each thread's calls: the one that puts config.toml in place is looked up in a run without a fault.
    trace = traced(rehearsal, [word.replace("other", "third") for word in words], tmp_path / "trace").splitlines()
    last = next(i for i, line in enumerate(trace) if '/config.toml"' in line)
    thread = trace[last].split()[0]
    when = sum(line.split()[0] == thread for line in trace[: last + 1])
    trace = traced(machine, words, tmp_path / "trace", f"inject={RENAMES}:error=ENOSPC:when={when}").splitlines()
    (struck,) = [line for line in trace if "INJECTED" in line]
    assert '/config.toml"' in struck
    after = {path: path.read_bytes() for path in machine.state.iterdir()} if machine.state.exists() else {}
    assert after == before
    assert machine.state.exists() is force
    assert not (tmp_path / "other").exists()
    # And a second attempt meets no obstacle.
    done = subprocess.run([CTL, *words], env=machine.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


RENAMES = "rename,renameat,renameat2"


def traced(machine: Machine, words: list[str], trace: Path, fault: str = "") -> str:
    """Run the command under strace; gives its renames. With a `fault` the command has to fail, and to say so."""
    given = ["-e", f"trace={RENAMES}", *(["-e", fault] if fault else [])]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-s", "4096", "-o", trace, *given, CTL, *words],
        env=machine.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (1 if fault else 0), done.stderr
    assert ("No space left" in done.stderr) is bool(fault)
    assert bool(CODE.search(done.stdout)) is not bool(fault)
    return trace.read_text()


def test_while_another_process_works_on_the_state_nothing_is_replaced(machine: Machine, vault: Path) -> None:
    created(machine, vault)
    holder = subprocess.Popen(
        ["flock", str(machine.state / "lock"), "sh", "-c", "echo ready; read _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        done = machine.run("init", "--folder", str(vault), "--generate-key", "--force")
        assert done.code == 1
        assert "a daemon works on" in done.err
    finally:
        holder.communicate(b"\n")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "no store given"),
        (("--folder", "x", "--s3", "b"), "one store at a time"),
        (("--folder", "v"), "no passphrase given"),
        (("--folder", "v", "--region", "eu"), "makes no sense with a folder"),
        (("--r2", "b", "--generate-key"), "--account-id needs a value"),
        (("--r2", "b", "--account-id", "../x", "--generate-key"), "no Cloudflare account id"),
        (("--s3", "b", "--endpoint", "host:9", "--generate-key"), "is no address"),
        (("--s3", "b", "--access-key-id", "a", "--generate-key"), "no secret for --access-key-id"),
        (("--s3", "b", "--secret-access-key", "a"), "no option --secret-access-key"),
        (("--folder", "v", "--generate-key", "--passphrase-stdin"), "give one of them"),
        (("--folder", "v", "--passphrase-stdin"), "the passphrase is empty"),
        (("--folder", "v", "--passphrase-file", "/nonexistent"), "can't read"),
        (("--folder", "v", "--generate-key", "more"), "takes no 'more'"),
    ],
)
def test_wrong_words_are_explained_and_write_nothing(machine: Machine, words: tuple[str, ...], part: str) -> None:
    done = machine.run_here("init", *words)
    assert done.code in (1, 2)
    assert part in done.err
    assert done.err.startswith("error: ")
    assert done.out == ""
    assert [path.name for path in machine.home.iterdir()] == [".claude"]


def test_a_bucket_that_does_not_answer_is_an_error_and_writes_nothing(machine: Machine, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = AK\naws_secret_access_key = VERY-SECRET\n")
    words = ("--s3", "b", "--region", "eu", "--endpoint", "http://127.0.0.1:9", "--credentials-file", str(keys))
    done = machine.run("init", *words, "--generate-key")
    assert done.code == 1
    assert "VERY-SECRET" not in done.out + done.err
    assert not machine.state.exists()


def test_help_is_shown(machine: Machine) -> None:
    done = machine.run("init", "--help")
    assert done.code == 0
    assert "--passphrase-file FILE" in done.out
