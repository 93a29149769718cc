"""`claude-syncctl init` at a terminal: what it asks, what comes of the answers, and that Ctrl-C leaves nothing."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from fresh_machine import CODE, CTL, GOOD, SET_UP, Machine, new_machine
from gcs_server import GcsServer
from git_http import GitHttpServer
from git_place import new_repository
from ruled_s3 import BUCKET, RuledS3
from s3_server import S3Server, s3_client
from webdav_server import WebDavServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from _pytest.mark import ParameterSet
    from terminal_user import TerminalUser

INTERRUPTED = 130
KEY, SECRET = "AKEXAMPLE", "secret-key-of-a-test"
WHERE, OPEN = "Where should the vault be?", "How should it open?"
NAME = "What is this device called?"


class Step(NamedTuple):
    """A question, and how it is answered: by a choice, a text, yes, no, or a part of the recovery code."""

    question: str
    way: str
    answer: str = ""


def chooses(question: str, answer: str) -> Step:
    return Step(question, "choose", answer)


def types(question: str, answer: str) -> Step:
    return Step(question, "type", answer)


def agrees(question: str) -> Step:
    return Step(question, "yes")


PASSPHRASE = (chooses(OPEN, "with a passphrase"), types("A passphrase", GOOD), types("Once more", GOOD))
CODE_TYPED = Step("type its group", "code")
NAMED = types(NAME, "Büro")


def talk(user: TerminalUser, steps: Sequence[Step]) -> None:
    """Answer all of these questions, in this order."""
    for step in steps:
        match step.way:
            case "choose":
                user.chooses(step.question, step.answer)
            case "type":
                user.answers(step.question, step.answer)
            case "yes":
                user.agrees(step.question)
            case "no":
                user.agrees(step.question, no=True)
            case "code":
                asked = re.search(r"its group (\d) of 9", user.sees(step.question))
                codes = CODE.findall(user.shown)
                assert asked
                user.answers(step.question, codes[-1].split("-")[int(asked[1]) - 1])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


@pytest.fixture
def s3() -> Iterator[RuledS3]:
    server = RuledS3()
    server.start()
    yield server
    server.stop()


def in_folder(folder: Path) -> list[Step]:
    return [chooses(WHERE, "a folder"), types("Which folder?", str(folder)), agrees("Make the folder?")]


def in_bucket(endpoint: str, bucket: str, key: str = KEY, secret: str = SECRET) -> list[Step]:
    return [
        chooses(WHERE, "another server"),
        types("The server's address", endpoint),
        types("Which bucket?", bucket),
        types("Access key id", key),
        types("Secret access key", secret),
        agrees("Make the bucket?"),
    ]


def test_a_new_vault_in_a_folder_and_a_second_device(tmp_path: Path, machine: Machine) -> None:
    folder = tmp_path / "disk" / "vault"
    with machine.at_terminal("init") as user:
        talk(user, [*in_folder(folder), PASSPHRASE[0]])
        user.answers("A passphrase", "hunter2")
        user.notices("too easy to guess (about")
        user.retypes(GOOD)
        user.answers("Once more", "something else")
        user.sees("The two differ")
        talk(user, [*PASSPHRASE[1:], CODE_TYPED, NAMED])
        assert user.ends() == 0
        assert "created a vault" in user.shown
        assert len(CODE.findall(user.shown)) == 1
        (code,) = CODE.findall(user.shown)
        assert GOOD.encode() not in user.raw
    assert machine.files() == SET_UP
    assert json.loads((machine.state / "device.json").read_text())["name"] == "Büro"
    assert machine.store() == {"kind": "folder", "path": str(folder)}

    two = new_machine(tmp_path, "two")
    with two.at_terminal("init") as user:
        talk(user, [chooses(WHERE, "a folder"), types("Which folder?", str(folder))])
        user.sees("There is a vault")
        user.answers("Its passphrase, or the recovery code", "a wrong one")
        user.sees("does not open this vault")
        talk(user, [types("Its passphrase, or the recovery code", code.lower()), types(NAME, "two")])
        assert user.ends() == 0
        assert "joined the vault" in user.shown
    assert (two.state / "vault.key").read_bytes() == (machine.state / "vault.key").read_bytes()


def test_a_bucket_that_the_wizard_makes(tmp_path: Path, machine: Machine) -> None:
    server = S3Server()
    try:
        server.start()
        with machine.at_terminal("init") as user:
            talk(user, in_bucket(server.endpoint, "made-here", server.access_key, server.secret_key))
            talk(user, [chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
            assert user.ends() == 0
            assert server.secret_key.encode() not in user.raw
        client = s3_client(server.endpoint, server.access_key, server.secret_key)
        names = {entry["Key"].partition("/")[0] for entry in client.list_objects_v2(Bucket="made-here")["Contents"]}
        client.close()
        assert names == {"keys", "vault.json"}
    finally:
        server.stop()
    assert machine.store() == {
        "kind": "s3",
        "bucket": "made-here",
        "region": "us-east-1",
        "endpoint": server.endpoint,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }


def conversation(name: str, folder: Path, s3: RuledS3) -> list[Step]:
    ways = {"folder": in_folder(folder), "bucket": in_bucket(s3.endpoint, "made")}
    return [*ways[name], *PASSPHRASE, CODE_TYPED, NAMED]


def long(*values: object) -> ParameterSet:
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("name", "after"),
    [
        *(("folder", count) if count in {0, 4, 7} else long("folder", count) for count in range(8)),
        *(long("bucket", 4), long("bucket", 6), ("bucket", 10)),
    ],
)
def test_ctrl_c_at_any_question_leaves_nothing(
    tmp_path: Path, machine: Machine, s3: RuledS3, name: str, after: int
) -> None:
    steps = conversation(name, tmp_path / "disk" / "vault", s3)
    with machine.at_terminal("init") as user:
        talk(user, steps[:after])
        user.sees(steps[after].question)
        user.interrupts()
        assert user.ends() == INTERRUPTED
        assert "nothing was kept" in user.shown
    assert machine.is_untouched()
    assert not (tmp_path / "disk").exists()
    assert (s3.buckets, s3.objects) == ({BUCKET}, {})


@pytest.mark.parametrize(
    ("name", "after", "number"),
    [
        *(("folder", 4, signal.SIGTERM), ("folder", 1, signal.SIGHUP), ("bucket", 10, signal.SIGTERM)),
        *(long("folder", 1, signal.SIGTERM), long("folder", 4, signal.SIGHUP), long("bucket", 10, signal.SIGHUP)),
    ],
)
def test_a_signal_at_any_question_leaves_nothing(
    tmp_path: Path, machine: Machine, s3: RuledS3, name: str, after: int, number: int
) -> None:
    steps = conversation(name, tmp_path / "disk" / "vault", s3)
    with machine.at_terminal("init") as user:
        talk(user, steps[:after])
        user.sees(steps[after].question)
        user.signals(number)
        assert user.ends() == 128 + number
        assert "Traceback" not in user.shown
    assert machine.is_untouched()
    assert not (tmp_path / "disk").exists()
    assert (s3.buckets, s3.objects) == ({BUCKET}, {})


def test_sigterm_in_the_middle_of_the_work_leaves_nothing(machine: Machine, s3: RuledS3) -> None:
    # Whoever starts it from a script may have it ignore Ctrl-C.
    words = ["env", "--ignore-signal=INT", str(CTL), "init", "--s3", "made", "--endpoint", s3.endpoint]
    process = subprocess.Popen(
        [*words, "--create", "--generate-key"],
        env={**machine.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
        stderr=subprocess.PIPE,
        text=True,
    )
    with s3.holding("vault.json") as reached:
        assert reached.wait(60)
        process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert machine.is_untouched()
    assert (s3.buckets, s3.objects) == ({BUCKET}, {})


def test_ctrl_c_in_the_middle_of_the_work_leaves_nothing(machine: Machine, s3: RuledS3) -> None:
    with machine.at_terminal("init") as user:
        talk(user, in_bucket(s3.endpoint, "made"))
        talk(user, [chooses(OPEN, "with a generated key"), CODE_TYPED])
        user.sees(NAME)
        with s3.holding("vault.json") as reached:
            user.answers(NAME, "Büro")
            assert reached.wait(60)
            assert any(name.startswith("keys/") for name in s3.objects)
            user.interrupts()
        assert user.ends() == INTERRUPTED
    assert machine.is_untouched()
    assert (s3.buckets, s3.objects) == ({BUCKET}, {})


def test_what_is_wrong_can_be_corrected(machine: Machine, s3: RuledS3) -> None:
    s3.objects["other/photo.jpg"] = b"dear"
    with machine.at_terminal("init") as user:
        talk(user, [chooses(WHERE, "MinIO")])
        user.answers("The server's address", "localhost:9000")
        user.notices("is no address; it begins with https://")
        user.retypes("http://127.0.0.1:9")
        talk(user, [types("Which bucket?", BUCKET), types("Access key id", KEY), types("Secret access key", SECRET)])
        user.sees("there is no connection")
        talk(user, [chooses("What now?", "correct: endpoint"), types("The server's address", s3.endpoint)])
        user.sees("holds other things")
        # What most likely is to blame is proposed.
        talk(user, [chooses("What now?", "set: prefix"), types("Where in there?", "/vault/")])
        user.sees(OPEN)
        s3.refuses = {"put": (403, "AccessDenied")}
        talk(user, [chooses(OPEN, "not at all"), chooses("What now?", "try again")])
        user.sees("while writing")
        s3.refuses = {}
        talk(user, [chooses("What now?", "sign in differently"), types("Access key id", "AKOTHER")])
        talk(user, [types("Secret access key", SECRET), chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
        assert user.ends() == 0
    assert machine.store()["prefix"] == "vault"
    assert machine.store()["access_key_id"] == "AKOTHER"
    assert s3.objects.pop("other/photo.jpg") == b"dear"
    assert all(name.startswith("vault/") for name in s3.objects)


def test_giving_up_is_an_error_like_any_other(machine: Machine, s3: RuledS3) -> None:
    s3.refuses = {"all": (403, "RequestTimeTooSkewed")}
    with machine.at_terminal("init") as user:
        talk(user, in_bucket(s3.endpoint, BUCKET)[:-1])
        user.sees("this machine's clock is wrong")
        user.sees("hint: set the clock")
        talk(user, [chooses("What now?", "give up")])
        assert user.ends() == 1
    assert machine.is_untouched()


def test_only_what_the_options_leave_open_is_asked(tmp_path: Path, machine: Machine) -> None:
    folder = tmp_path / "vault"
    with machine.at_terminal("init", "--folder", str(folder)) as user:
        talk(user, [*PASSPHRASE, CODE_TYPED])
        assert user.ends() == 0
        assert WHERE not in user.shown
        assert NAME not in user.shown
    two = new_machine(tmp_path, "two")
    with two.at_terminal("init", "--folder", str(folder), "--device-name", "two") as user:
        talk(user, [types("Its passphrase", GOOD)])
        assert user.ends() == 0


@pytest.mark.parametrize("more", [("--generate-key",), ("--generate-key", "--yes", "--json")])
def test_whoever_said_it_all_is_not_asked(tmp_path: Path, machine: Machine, more: tuple[str, ...]) -> None:
    with machine.at_terminal("init", "--folder", str(tmp_path / "vault"), *more) as user:
        assert user.ends() == 0
        assert "?" not in user.shown
        assert len(CODE.findall(user.shown)) == 1


def test_with_yes_nothing_is_asked(tmp_path: Path, machine: Machine) -> None:
    with machine.at_terminal("init", "--folder", str(tmp_path / "vault"), "--yes") as user:
        assert user.ends() == 2
        assert "no passphrase given" in user.shown
    with machine.at_terminal("init", TERM="dumb") as user:
        assert user.ends() == 2
        assert "no store given" in user.shown


def test_the_ways_to_sign_in_are_those_that_this_device_has(machine: Machine, s3: RuledS3) -> None:
    aws = machine.home / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(f"[work]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")
    (aws / "config").write_text("[profile work]\nregion = eu-central-1\n[sso-session x]\n[profile other]\n")
    environ = {"AWS_ACCESS_KEY_ID": "AKSHELL", "AWS_SECRET_ACCESS_KEY": SECRET}
    steps = [*in_bucket(s3.endpoint, BUCKET)[:3]]
    with machine.at_terminal("init", **environ) as user:
        talk(user, steps)
        user.sees("How does this device sign in?")
        user.notices("AKSHELL")
        assert "sso-session" not in user.shown
        talk(user, [chooses("How does this device sign in?", "the profile work")])
        talk(user, [chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
        assert user.ends() == 0
    assert machine.store()["profile"] == "work"
    assert "secret_access_key" not in machine.store()


def test_a_bucket_of_google(machine: Machine) -> None:
    server = GcsServer()
    server.start()
    try:
        with machine.at_terminal("init", STORAGE_EMULATOR_HOST=server.endpoint) as user:
            talk(user, [chooses(WHERE, "Google"), types("Which bucket?", server.bucket)])
            talk(user, [chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
            assert user.ends() == 0
    finally:
        server.stop()
    assert machine.store() == {"kind": "gcs", "bucket": server.bucket, "endpoint": server.endpoint}


def test_a_key_file_of_google_is_looked_for_at_once(tmp_path: Path, machine: Machine) -> None:
    file = tmp_path / "key.json"
    file.write_text('{"type": "service_account", "project_id": "p"}')
    with machine.at_terminal("init") as user:
        talk(user, [chooses(WHERE, "Google"), types("Which bucket?", "My bucket")])
        user.notices("is no bucket's name")
        user.retypes("my-bucket")
        talk(user, [chooses("How does this device sign in?", "a service account")])
        user.answers("Where is the key file?", "/nowhere/key.json")
        user.notices("can't read /nowhere/key.json")
        user.retypes(str(file))
        user.sees("is not a credentials file of Google's")
        talk(user, [chooses("What now?", "give up")])
        assert user.ends() == 1
    assert machine.is_untouched()


def test_webdav_with_a_password(machine: Machine) -> None:
    server = WebDavServer()
    try:
        server.start()
        url = f"{server.endpoint}/vault"
        with machine.at_terminal("init") as user:
            talk(user, [chooses(WHERE, "WebDAV"), types("The folder's URL", url)])
            talk(user, [chooses("How does this device sign in?", "user name"), types("User name", "ann")])
            talk(user, [types("Password", "mistyped")])
            user.sees("the credentials were not accepted")
            talk(user, [chooses("What now?", "sign in differently")])
            talk(user, [chooses("How does this device sign in?", "user name"), types("User name", "ann")])
            talk(user, [types("Password", server.password or "")])
            talk(user, [chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
            assert user.ends() == 0
            assert (server.password or "").encode() not in user.raw
    finally:
        server.stop()
    assert machine.store() == {"kind": "webdav", "url": url, "username": "ann", "password": server.password}


def test_git_with_a_token(machine: Machine) -> None:
    server = GitHttpServer()
    server.start()
    try:
        new_repository(server.folder / "vault.git")
        url = server.url(server.folder / "vault.git")
        with machine.at_terminal("init") as user:
            talk(user, [chooses(WHERE, "a git repository"), types("The repository's URL", url)])
            talk(user, [chooses("How does this device sign in?", "git signs in by itself")])
            user.sees("there are no credentials")
            talk(user, [chooses("What now?", "sign in differently")])
            talk(user, [chooses("How does this device sign in?", "a token"), types("User name", server.username)])
            talk(user, [types("Token or password", server.password)])
            talk(user, [chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
            assert user.ends() == 0
    finally:
        server.stop()
    assert machine.store() == {"kind": "git", "url": url, "username": server.username, "password": server.password}


def test_a_repository_that_the_wizard_makes(tmp_path: Path, machine: Machine) -> None:
    repository = tmp_path / "disk" / "vault.git"
    with machine.at_terminal("init") as user:
        talk(user, [chooses(WHERE, "a git repository"), types("The repository's URL", str(repository))])
        talk(user, [agrees("Make the repository?")])
        user.sees(OPEN)
        user.interrupts()
        assert user.ends() == INTERRUPTED
    assert machine.is_untouched()
    assert not (tmp_path / "disk").exists()
    with machine.at_terminal("init") as user:
        talk(user, [chooses(WHERE, "a git repository"), types("The repository's URL", str(repository))])
        talk(user, [agrees("Make the repository?"), chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED])
        assert user.ends() == 0
    assert machine.store() == {"kind": "git", "url": str(repository)}
    assert (machine.state / "mirror.git").is_dir()


BACKEND = Path(__file__).parents[1] / "support"


def test_secrets_go_to_the_keychain_where_that_is_wanted(tmp_path: Path, machine: Machine, s3: RuledS3) -> None:
    kept = tmp_path / "keychain.json"
    machine.extra |= {
        "PYTHON_KEYRING_BACKEND": "keychain_in_a_file.Keychain",
        "PYTHONPATH": str(BACKEND),
        "KEYCHAIN_FILE": str(kept),
    }
    steps = [*in_bucket(s3.endpoint, BUCKET)[:-1], chooses(OPEN, "with a generated key"), CODE_TYPED]
    with machine.at_terminal("init") as user:
        talk(
            user, [*steps, chooses("Where are the store's credentials to be kept?", "in this system's keychain"), NAMED]
        )
        assert user.ends() == 0
    assert SECRET not in (machine.state / "config.toml").read_text()
    assert machine.store()["access_key_id"] == KEY
    assert SECRET in kept.read_text()
    # And what needs the store finds them there.
    done = machine.run("sync")
    assert done.code == 0, done.err


def test_the_daemon_is_started_where_that_is_wanted(tmp_path: Path, machine: Machine) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "asked"
    systemctl = programs / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    systemctl.chmod(systemctl.stat().st_mode | stat.S_IXUSR)
    path = f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin"
    steps = [*in_folder(tmp_path / "vault"), chooses(OPEN, "with a generated key"), CODE_TYPED, NAMED]
    with machine.at_terminal("init", PATH=path) as user:
        talk(user, [*steps, agrees("Start the daemon now")])
        assert user.ends() == 0
        assert "started; it starts again at each login" in user.shown
    assert (machine.home / ".config/systemd/user/claude-syncd.service").exists()
    assert "enable claude-syncd.service" in log.read_text()
