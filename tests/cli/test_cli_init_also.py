"""`claude-syncctl init --also`: a second store for the vault, by the real commands."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from fresh_machine import CODE, CTL, Machine, new_machine
from git_place import new_repository
from ruled_s3 import BUCKET, RuledS3
from s3_server import S3Server, s3_client
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.long


def contents(folder: Path) -> dict[str, bytes]:
    """Every object of the vault in a folder."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith("tmp/")}


def config(machine: Machine) -> dict[str, Any]:
    return tomllib.loads((machine.state / "config.toml").read_text())


def stores(machine: Machine) -> list[tuple[str, int]]:
    done = machine.run_here("status", "--json")
    assert done.code == 0, done.err
    return [(one["state"], one["behind"]) for one in json.loads(done.out)["stores"]]


def synced(machine: Machine) -> None:
    done = machine.run_here("sync")  # as the command would
    assert done.code == 0, done.err


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return tmp_path / "one"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return tmp_path / "two"


def set_up(tmp_path: Path, place: Path, name: str = "ann", code: str = "") -> tuple[Machine, str]:
    """A machine with a vault of its own, or the one that `code` opens; and the code."""
    machine = new_machine(tmp_path, name)
    words = ["--passphrase-stdin"] if code else ["--generate-key"]
    done = machine.run_here("init", "--folder", str(place), *words, stdin=f"{code}\n")
    assert done.code == 0, done.err
    return machine, code or CODE.findall(done.out)[0]


@pytest.fixture
def machine_and_code(tmp_path: Path, one: Path) -> tuple[Machine, str]:
    """A machine whose vault is in the folder `one`, with something in it; and its recovery code."""
    made, code = set_up(tmp_path, one)
    (made.home / ".claude" / "CLAUDE.md").write_text("mine\n")
    (made.home / ".claude" / "agents").mkdir()
    (made.home / ".claude" / "agents" / "a.md").write_text("agent\n")
    synced(made)
    return made, code


@pytest.fixture
def machine(machine_and_code: tuple[Machine, str]) -> Machine:
    return machine_and_code[0]


def refused(
    machine: Machine, *words: str, part: str, code: int = 1, environ: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Have `init --also` fail as it should, with nothing kept here."""
    before = {name: (machine.state / name).read_bytes() for name in machine.files()}
    done = machine.run_here("init", "--also", *words, **environ)
    lines = done.err.splitlines()
    assert done.code == code, done
    assert [text.partition(": ")[0] for text in lines] == ["error", "hint"], done.err
    assert part in done.err
    assert done.out == ""
    after = {name: (machine.state / name).read_bytes() for name in machine.files()}
    assert after == {**before, **{name: after[name] for name in after.keys() & {"lock"}}}


def test_the_vault_is_copied_and_kept_alike(machine: Machine, one: Path, two: Path) -> None:
    done = machine.run("init", "--also", "--folder", str(two))
    assert done.code == 0, done.err
    assert "the vault is in file://" in done.out
    assert contents(two) == contents(one)
    assert config(machine)["also"] == [{"kind": "folder", "path": str(two)}]
    assert (machine.state / "config.toml").stat().st_mode & 0o777 == 0o600
    (machine.home / ".claude" / "CLAUDE.md").write_text("changed\n")
    assert machine.run("sync").code == 0
    assert contents(two) == contents(one)
    assert stores(machine) == [("ok", 0), ("ok", 0)]


def test_one_store_goes_and_comes_back(machine: Machine, tmp_path: Path, one: Path, two: Path) -> None:
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    for place, other in ((two, one), (one, two)):
        place.rename(tmp_path / "unplugged")
        (machine.home / ".claude" / "CLAUDE.md").write_text(f"without {place.name}\n")
        synced(machine)
        text = machine.run_here("status").out
        assert "out of reach" in text
        assert "lacks 1 object" in text
        assert [state for state, _ in stores(machine)].count("unreachable") == 1
        (tmp_path / "unplugged").rename(place)
        synced(machine)
        assert contents(place) == contents(other)
        assert stores(machine) == [("ok", 0), ("ok", 0)]
        assert "out of reach" not in machine.run_here("status").out


def test_a_lost_store_is_made_good_and_a_new_device_joins_by_either(
    machine_and_code: tuple[Machine, str], tmp_path: Path, one: Path, two: Path
) -> None:
    machine, code = machine_and_code
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    before = contents(one)
    for path in one.iterdir():
        if path.name != "tmp":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    bob, _ = set_up(tmp_path, two, "bob", code)
    synced(bob)
    assert (bob.home / ".claude" / "CLAUDE.md").read_text() == "mine\n"
    synced(machine)
    assert before.items() <= contents(one).items()
    # Bob joins the other place as his second store.
    assert bob.run_here("init", "--also", "--folder", str(one)).code == 0
    synced(bob)
    assert contents(one) == contents(two)


def test_a_copy_that_was_cut_off_goes_on(machine: Machine, one: Path, two: Path) -> None:
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    (machine.state / "config.toml").write_text(f'[store]\nkind = "folder"\npath = "{one}"\n')
    lost = sorted(path for path in (two / "devices").rglob("*") if path.is_file())[-2:]
    for path in lost:
        path.unlink()
    done = machine.run_here("init", "--also", "--folder", str(two), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["copied"] == len(lost)
    assert contents(two) == contents(one)
    # Once more changes nothing, but the credentials perhaps: there is one table of it.
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    assert len(config(machine)["also"]) == 1


def test_what_one_store_has_damaged_is_copied_from_another(
    machine: Machine, tmp_path: Path, one: Path, two: Path
) -> None:
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    whole = contents(two)
    entry = next((one / "devices").glob("*/log/*1"))
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    three = tmp_path / "three"
    done = machine.run_here("init", "--also", "--folder", str(three))
    assert (done.code, done.err) == (0, "")
    assert contents(three) == whole
    # Where all have it damaged, the rest of it may be of use; and it is told.
    for place in (two, three):
        (place / entry.relative_to(one)).write_bytes(entry.read_bytes())
    done = machine.run_here("init", "--also", "--folder", str(tmp_path / "four"))
    assert done.code == 0
    assert f"note: {entry.relative_to(one)} is damaged" in done.err
    assert contents(tmp_path / "four") == contents(one)


def test_killed_during_the_copy(machine: Machine, one: Path, s3: RuledS3) -> None:
    for number in range(30):
        (machine.home / ".claude" / "agents" / f"{number}.md").write_text(f"{number}\n")
        if number % 10 == 0:
            synced(machine)
    words = ["init", "--also", "--s3", BUCKET, "--endpoint", s3.endpoint]
    before = (machine.state / "config.toml").read_bytes()
    last = max(name for name in contents(one) if "/log/" in name)
    for key in ("vault.json", last):
        with s3.holding(key) as reached:
            process = subprocess.Popen(
                [CTL, *words],
                env={**machine.environ, **KEYS},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert reached.wait(30)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        assert (machine.state / "config.toml").read_bytes() == before
    done = machine.run_here(*words, **KEYS)
    assert done.code == 0, done.err
    assert {name: data for name, data in s3.objects.items() if not name.startswith("probe/")} == contents(one)


KEYS = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-key-of-a-test"}


@pytest.fixture
def s3() -> Iterator[RuledS3]:
    server = RuledS3()
    server.start()
    yield server
    server.stop()


def test_a_folder_and_a_bucket(machine: Machine, one: Path, s3_server: S3Server) -> None:
    words = ("--s3", s3_server.bucket, "--endpoint", s3_server.endpoint, "--region", "us-east-1", "--prefix", "also")
    keys = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    done = machine.run("init", "--also", *words, **keys)
    assert done.code == 0, done.err
    assert s3_server.secret_key not in done.out + done.err
    (section,) = config(machine)["also"]
    assert section["secret_access_key"] == s3_server.secret_key
    (machine.home / ".claude" / "CLAUDE.md").write_text("changed\n")
    assert machine.run("sync").code == 0  # without the keys in the environment
    client = s3_client(s3_server.endpoint, s3_server.access_key, s3_server.secret_key)
    listed = client.list_objects_v2(Bucket=s3_server.bucket, Prefix="also/")["Contents"]
    client.close()
    assert {entry["Key"].removeprefix("also/") for entry in listed} == set(contents(one))
    assert stores(machine) == [("ok", 0), ("ok", 0)]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    yield server
    server.stop()


def test_a_repository_has_a_copy_of_its_own(machine: Machine, tmp_path: Path, one: Path) -> None:
    repository = new_repository(tmp_path / "vault.git")
    done = machine.run_here("init", "--also", "--git", str(repository))
    assert done.code == 0, done.err
    assert [path.name for path in machine.state.glob("mirror*.git")] != ["mirror.git"]
    synced(machine)
    assert stores(machine) == [("ok", 0), ("ok", 0)]
    # The same command with the same place finds all there.
    again = machine.run_here("init", "--also", "--git", str(repository), "--json")
    assert json.loads(again.out)["copied"] == 0
    assert machine.run_here("reset", "--local", "--yes").code == 0
    assert list(machine.state.glob("mirror*")) == []


def test_secrets_go_to_the_keychain_where_that_is_wanted(machine: Machine, tmp_path: Path, s3: RuledS3) -> None:
    kept = tmp_path / "kept"
    chain = {
        "PYTHON_KEYRING_BACKEND": "keychain_in_a_file.Keychain",
        "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
        "KEYCHAIN_FILE": str(kept),
    }
    words = ("init", "--also", "--s3", BUCKET, "--endpoint", s3.endpoint, "--keychain")
    done = machine.run(*words, **KEYS, **chain)
    assert done.code == 0, done.err
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in (machine.state / "config.toml").read_text()
    assert KEYS["AWS_SECRET_ACCESS_KEY"] in kept.read_text()
    assert machine.run("sync", **chain).code == 0
    assert machine.run(*words, **KEYS, **chain).code == 0  # the item of before is forgotten
    assert len(json.loads(kept.read_text())) == 1
    assert machine.run("reset", "--local", "--yes", **chain).code == 0
    assert json.loads(kept.read_text()) == {}


def test_a_store_that_is_to_be_added_has_variables_of_its_own(machine: Machine, one: Path, s3: RuledS3) -> None:
    words = ("--s3", BUCKET, "--endpoint", s3.endpoint)
    first = {"CLAUDE_SYNC_STORE__PATH": str(one)}
    refused(machine, *words, part="there are no credentials", environ=first)
    mine = {f"CLAUDE_SYNC_ALSO__0__{name.removeprefix('AWS_')}": value for name, value in KEYS.items()}
    done = machine.run_here("init", "--also", *words, **first, **mine)
    assert done.code == 0, done.err
    assert config(machine)["also"][0]["access_key_id"] == KEYS["AWS_ACCESS_KEY_ID"]


def test_a_device_that_is_not_set_up(tmp_path: Path, two: Path) -> None:
    machine = new_machine(tmp_path, "new")
    for words in (("--folder", str(two)), (), ("--generate-key",)):
        done = machine.run_here("init", "--also", *words)
        assert done.code == 4
        assert done.err.startswith("error: this device is not set up\nhint: ")
    assert machine.is_untouched()
    assert not two.exists()


def test_the_same_place_is_no_second_store(machine: Machine, tmp_path: Path, one: Path) -> None:
    (tmp_path / "link").symlink_to(one)
    before = contents(one)
    for path in (one, tmp_path / "link", tmp_path / "." / "one"):
        refused(machine, "--folder", str(path), part="the vault is in")
    assert contents(one) == before


def test_another_vault_and_other_things_are_refused(machine: Machine, tmp_path: Path, two: Path) -> None:
    other, _ = set_up(tmp_path, two, "bob")
    before = contents(two)
    refused(machine, "--folder", str(two), part="holds another vault than this device's")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "photo.jpg").write_bytes(b"dear")
    refused(machine, "--folder", str(photos), part="holds other things")
    assert contents(two) == before
    assert [path.name for path in photos.iterdir()] == ["photo.jpg"]
    assert "also" not in config(other)


def test_other_bytes_under_a_name_are_refused(machine: Machine, one: Path, two: Path) -> None:
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    (machine.state / "config.toml").write_text(f'[store]\nkind = "folder"\npath = "{one}"\n')
    entry = next((two / "devices").glob("*/log/*1"))
    entry.write_bytes(entry.read_bytes() + b"x")
    refused(machine, "--folder", str(two), part="holds other bytes")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "no second store given"),
        (("--folder", "x", "--s3", "b"), "one store at a time"),
        (("--folder", "x", "--generate-key"), "--generate-key makes no sense with --also"),
        (("--folder", "x", "--force"), "--force makes no sense with --also"),
        (("--folder", "x", "--device-name", "n"), "--device-name makes no sense with --also"),
    ],
)
def test_wrong_words(machine: Machine, words: tuple[str, ...], part: str) -> None:
    refused(machine, *words, part=part, code=2)


def test_what_fails_leaves_nothing(machine: Machine, tmp_path: Path, s3: RuledS3) -> None:
    words = ("--s3", BUCKET, "--endpoint", s3.endpoint)
    for refuses, part in (
        ({"all": (403, "InvalidAccessKeyId")}, "the access key is not known there"),
        ({"put": (403, "AccessDenied")}, "while writing"),
        ({"list": (403, "AccessDenied")}, "while listing"),
    ):
        s3.refuses = refuses
        refused(machine, *words, part=part, environ=KEYS)
    s3.refuses = {}
    refused(machine, "--s3", "no-such", "--endpoint", s3.endpoint, part="--create makes it", environ=KEYS)
    (tmp_path / "file").write_text("here")
    refused(machine, "--folder", str(tmp_path / "file"), part="a file is where a folder should be")
    assert s3.objects == {}


def test_a_daemon_at_work_is_not_disturbed(machine: Machine, two: Path) -> None:
    process = subprocess.Popen(
        [CTL.with_name("claude-syncd")],
        env=machine.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until((machine.state / "control.sock").exists, 30, "the daemon answers", [])
        done = machine.run_here("init", "--also", "--folder", str(two))
        assert done.code == 1
        assert "a daemon works on" in done.err
        assert not two.exists()
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_a_new_vault_has_no_stores_of_the_old_one(machine: Machine, tmp_path: Path, two: Path) -> None:
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    before = contents(two)
    done = machine.run_here("init", "--folder", str(tmp_path / "new"), "--generate-key", "--force")
    assert done.code == 0, done.err
    assert "also" not in config(machine)
    synced(machine)
    assert contents(two) == before


def test_a_remote_reset_empties_every_store(machine: Machine, one: Path, two: Path) -> None:
    assert machine.run_here("init", "--also", "--folder", str(two)).code == 0
    vault = json.loads(machine.run_here("status", "--json").out)["vault"]["id"]
    done = machine.run_here("reset", "--remote", "--vault-id", vault)
    assert done.code == 0, done.err
    assert done.out.count("deleted the vault at") == 2
    assert contents(one) == contents(two) == {}


def test_a_person_is_asked(machine: Machine, two: Path) -> None:
    with machine.at_terminal("init", "--also") as user:
        user.chooses("Where should the vault be?", "a folder")
        user.answers("Which folder?", str(two))
        user.agrees("Make the folder?")
        user.sees("the vault is in")
        assert user.ends() == 0
    assert config(machine)["also"] == [{"kind": "folder", "path": str(two)}]
