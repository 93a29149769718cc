"""`claude-syncctl init` by options with every kind of store: what is made, joined and kept, and where secrets go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fresh_machine import CODE, SET_UP, Machine, new_machine
from gcs_server import GcsServer
from git_http import GitHttpServer
from git_place import git, new_repository
from ruled_s3 import RuledS3
from webdav_server import WebDavServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

KEYS = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-key-of-a-test"}


def made_and_joined(tmp_path: Path, words: tuple[str, ...], **environ: str) -> list[dict[str, Any]]:
    """Have one device make a vault, and a second one join it; what each one kept about the store."""
    one, two = new_machine(tmp_path, "one"), new_machine(tmp_path, "two")
    made = one.run_here("init", *words, "--generate-key", **environ)
    assert (made.code, made.err) == (0, "")
    (code,) = CODE.findall(made.out)
    joined = two.run_here("init", *words, "--passphrase-stdin", stdin=f"{code}\n", **environ)
    assert (joined.code, joined.err) == (0, "")
    assert "joined the vault" in joined.out
    for machine in (one, two):
        assert {name for name in machine.files() if not name.startswith("mirror.git/")} == SET_UP
    assert (one.state / "vault.key").read_bytes() == (two.state / "vault.key").read_bytes()
    return [one.store(), two.store()]


@pytest.fixture
def s3() -> Iterator[RuledS3]:
    server = RuledS3()
    server.start()
    yield server
    server.stop()


def test_a_bucket_that_is_made(tmp_path: Path, s3: RuledS3) -> None:
    words = ("--s3", "made", "--provider", "minio", "--endpoint", s3.endpoint, "--create")
    kept = {"kind": "s3", "bucket": "made", "endpoint": s3.endpoint, "region": "us-east-1"}
    secret = {"access_key_id": "AKEXAMPLE", "secret_access_key": "secret-key-of-a-test"}
    assert made_and_joined(tmp_path, words, **KEYS) == [{**kept, **secret}] * 2
    assert "made" in s3.buckets


def test_google(tmp_path: Path) -> None:
    server = GcsServer()
    server.start()
    try:
        words = ("--gcs", server.bucket, "--prefix", "a/b")
        kept = {"kind": "gcs", "bucket": server.bucket, "prefix": "a/b", "endpoint": server.endpoint}
        assert made_and_joined(tmp_path, words, STORAGE_EMULATOR_HOST=server.endpoint) == [kept] * 2
        assert {name.split("/")[2] for name in server.objects} == {"keys", "vault.json"}
    finally:
        server.stop()


def test_a_repository_in_a_folder(tmp_path: Path) -> None:
    repository = tmp_path / "disk" / "vault.git"
    words = ("--git", str(repository), "--branch", "vault", "--create")
    assert made_and_joined(tmp_path, words) == [{"kind": "git", "url": str(repository), "branch": "vault"}] * 2
    assert git("show", "vault:vault.json", repository=repository)


def test_a_repository_over_http(tmp_path: Path) -> None:
    server = GitHttpServer()
    server.start()
    try:
        new_repository(server.folder / "vault.git")
        url = server.url(server.folder / "vault.git")
        secrets = tmp_path / "secrets"
        secrets.write_text(f"password = {server.password}\n")
        words = ("--git", url, "--username", server.username, "--credentials-file", str(secrets))
        kept = {"kind": "git", "url": url, "username": server.username, "password": server.password}
        assert made_and_joined(tmp_path, words) == [kept] * 2
    finally:
        server.stop()


def test_webdav(tmp_path: Path) -> None:
    server = WebDavServer()
    try:
        server.start()
        url = f"{server.endpoint}/deep/vault"
        words = ("--webdav", url, "--username", server.username or "")
        kept = {"kind": "webdav", "url": url, "username": server.username, "password": server.password}
        assert made_and_joined(tmp_path, words, CLAUDE_SYNC_STORE__PASSWORD=server.password or "") == [kept] * 2
    finally:
        server.stop()


@pytest.fixture
def keychain(tmp_path: Path) -> Path:
    return tmp_path / "keychain.json"


def with_keychain(machine: Machine, keychain: Path) -> Machine:
    support = str(Path(__file__).parents[1] / "support")
    machine.extra = {
        **KEYS,
        "PYTHON_KEYRING_BACKEND": "keychain_in_a_file.Keychain",
        "PYTHONPATH": support,
        "KEYCHAIN_FILE": str(keychain),
    }
    return machine


def test_the_keychain_has_the_secrets_of_the_last_set_up_until_it_is_forgotten(
    tmp_path: Path, s3: RuledS3, keychain: Path
) -> None:
    machine = with_keychain(new_machine(tmp_path), keychain)
    words = ("init", "--s3", "vaults", "--endpoint", s3.endpoint, "--keychain")
    made = machine.run(*words, "--generate-key")
    assert made.code == 0, made.err
    (first,) = json.loads(keychain.read_text())
    assert "secret_access_key" not in machine.store()
    # A set-up that fails leaves the old item as it was, and no other.
    failed = machine.run(*words, "--force", "--passphrase-stdin", stdin="a wrong passphrase, long enough\n")
    assert failed.code == 1
    assert list(json.loads(keychain.read_text())) == [first]
    (code,) = CODE.findall(made.out)
    again = machine.run(*words, "--force", "--passphrase-stdin", stdin=f"{code}\n")
    assert again.code == 0, again.err
    (second,) = json.loads(keychain.read_text())
    assert second != first
    assert machine.store()["keychain"] in second
    assert machine.run("reset", "--local", "--yes").code == 0
    assert json.loads(keychain.read_text()) == {}


def test_without_a_keychain_nothing_is_made(tmp_path: Path, s3: RuledS3, keychain: Path) -> None:
    machine = with_keychain(new_machine(tmp_path), keychain)
    words = ("init", "--s3", "vaults", "--endpoint", s3.endpoint, "--keychain", "--generate-key")
    done = machine.run(*words, PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring")
    assert done.code == 1
    assert done.err.startswith("error: this system has no keychain\nhint: ")
    assert machine.is_untouched()
    assert s3.objects == {}
