"""`claude-syncctl init` with settings that can't work: one error, one hint, no file left, nothing left at the store."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from certificate import make_certificate
from fresh_machine import CODE, Machine, new_machine
from gcs_server import GcsServer
from git_http import GitHttpServer
from git_place import git, new_repository
from refusing import KEYS, refused
from ruled_s3 import BUCKET, RuledS3
from webdav_server import WebDavServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


@pytest.fixture
def s3() -> Iterator[RuledS3]:
    server = RuledS3()
    server.start()
    yield server
    server.stop()


def s3_words(server: RuledS3) -> tuple[str, ...]:
    return ("--s3", BUCKET, "--endpoint", server.endpoint)


# S3 and its relatives.


@pytest.mark.parametrize(
    ("refuses", "part"),
    [
        ({"all": (403, "InvalidAccessKeyId")}, "the access key is not known there"),
        ({"all": (403, "SignatureDoesNotMatch")}, "the secret key does not belong to the access key"),
        ({"all": (400, "ExpiredToken")}, "the session token has expired"),
        ({"all": (400, "AuthorizationHeaderMalformed")}, "the bucket is in another region"),
        ({"all": (301, "PermanentRedirect")}, "the bucket is in another region"),
        ({"all": (403, "RequestTimeTooSkewed")}, "this machine's clock is wrong"),
        ({"all": (403, "AccessDenied")}, "permission denied"),
        ({"list": (403, "AccessDenied")}, "while listing"),
        ({"get": (403, "AccessDenied")}, "a missing object can't be told from a forbidden one"),
        ({"put": (403, "AccessDenied")}, "while writing"),
        ({"delete": (403, "AccessDenied")}, "while deleting"),
        ({"put": (403, "QuotaExceeded")}, "the quota is used up"),
        ({"all": (400, "InvalidBucketName")}, "no bucket can have that name"),
        ({"all": (503, "SlowDown")}, "too many requests"),
    ],
)
def test_what_s3_refuses(machine: Machine, s3: RuledS3, refuses: dict[str, tuple[int, str]], part: str) -> None:
    s3.refuses = refuses
    refused(machine, *s3_words(s3), part=part, environ=KEYS)
    assert "delete" in refuses or s3.objects == {}


def test_a_missing_bucket(machine: Machine, s3: RuledS3) -> None:
    refused(machine, "--s3", "no-such", "--endpoint", s3.endpoint, part="--create makes it", environ=KEYS)
    assert s3.buckets == {BUCKET}


def test_a_bucket_that_may_not_be_made(machine: Machine, s3: RuledS3) -> None:
    s3.refuses = {"make": (403, "AccessDenied")}
    refused(machine, "--s3", "no-such", "--endpoint", s3.endpoint, "--create", part="permission denied", environ=KEYS)
    s3.refuses = {"make": (409, "BucketAlreadyExists")}
    refused(machine, "--s3", "no-such", "--endpoint", s3.endpoint, "--create", part="somebody else has", environ=KEYS)


def test_a_bucket_that_was_made_for_nothing_goes_again(machine: Machine, s3: RuledS3) -> None:
    s3.refuses = {"put": (403, "AccessDenied")}
    refused(machine, "--s3", "made", "--endpoint", s3.endpoint, "--create", part="while writing", environ=KEYS)
    assert s3.buckets == {BUCKET}
    # With a weak passphrase all is well at the store, and nothing remains there either.
    s3.refuses = {}
    words = ("--s3", "made", "--endpoint", s3.endpoint, "--create")
    refused(machine, *words, part="too easy to guess", code=2, stdin="hunter2\n", environ=KEYS)
    assert (s3.buckets, s3.objects) == ({BUCKET}, {})


def test_a_place_that_holds_other_things_is_not_written_to(machine: Machine, s3: RuledS3) -> None:
    s3.objects["photo.jpg"] = b"dear"
    s3.refuses = {"put": (500, "InternalError")}  # nobody asks it to
    refused(machine, *s3_words(s3), part="holds other things", environ=KEYS)


@pytest.mark.parametrize(
    ("header", "part"),
    [(b"{", "vault.json is malformed"), (b'{"format": "other", "version": 1}', "not the header of")],
)
def test_a_damaged_header(machine: Machine, s3: RuledS3, header: bytes, part: str) -> None:
    s3.objects["vault.json"] = header
    refused(machine, *s3_words(s3), part=part, environ=KEYS)


def test_a_vault_of_the_future(machine: Machine, s3: RuledS3) -> None:
    s3.objects["vault.json"] = b'{"format": "claude-syncd vault", "version": 99}'
    refused(machine, *s3_words(s3), part="update claude-syncd", environ=KEYS)


def test_something_that_is_no_s3(machine: Machine, s3: RuledS3) -> None:
    s3.page = b"<html>Please log in.</html>"
    refused(machine, *s3_words(s3), part="not one of S3", environ=KEYS)


def test_a_server_that_does_not_answer(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refused(machine, "--s3", "b", "--endpoint", endpoint, part="there is no connection", environ=KEYS)
        for words in (("--gcs", "bucket", "--endpoint", endpoint), ("--webdav", endpoint)):
            refused(machine, *words, part="there is no connection")
        refused(machine, "--git", f"{endpoint}/vault.git", part="there is no connection")


def test_a_name_that_nobody_knows(machine: Machine) -> None:
    endpoint = "http://nowhere.invalid:9"
    refused(machine, "--s3", "b", "--endpoint", endpoint, part="the server's name is not known", environ=KEYS)


def test_no_credentials(machine: Machine, s3: RuledS3) -> None:
    refused(machine, *s3_words(s3), part="there are no credentials")


def test_a_profile_that_is_not_there(machine: Machine, s3: RuledS3) -> None:
    refused(machine, *s3_words(s3), "--profile", "work", part="there is no such profile")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path)


def test_a_certificate_that_nobody_trusts(machine: Machine, certificate: Path) -> None:
    server = RuledS3(certificate)
    server.start()
    try:
        refused(machine, *s3_words(server), part="the server's certificate is not trusted", environ=KEYS)
        refused(machine, "--webdav", server.endpoint, part="the server's certificate is not trusted")
        # Trusted, it works.
        words = (*s3_words(server), "--ca-bundle", str(certificate), "--generate-key")
        done = machine.run("init", *words, **KEYS)
        assert done.code == 0, done.err
        assert machine.store()["ca_bundle"] == str(certificate)
        assert "conditional_put" not in machine.store()
    finally:
        server.stop()


def test_a_server_that_overwrites_is_told_and_remembered(machine: Machine, s3: RuledS3) -> None:
    s3.overwrites = True
    done = machine.run("init", *s3_words(s3), "--generate-key", **KEYS)
    assert done.code == 0, done.err
    assert "can't refuse to overwrite" in done.err
    assert machine.store()["conditional_put"] is False


# A folder.


def test_a_folder_that_may_not_be_written(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o500)
    bound: list[str] = []
    if os.geteuid() == 0:
        gone = "-dac_override,-dac_read_search"
        bound = ["setpriv", "--inh-caps", gone, "--bounding-set", gone]
    machine.run_by = bound
    for folder in (place, place / "vault"):
        refused(machine, "--folder", str(folder), part="permission denied")
    assert list(place.iterdir()) == []


def test_a_file_where_the_folder_should_be(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    for path in ("file", "file/vault"):
        refused(machine, "--folder", str(tmp_path / path), part="a file is where a folder should be")


def test_a_folder_of_other_things(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    (place / "photo.jpg").write_bytes(b"dear")
    refused(machine, "--folder", str(place), part="holds other things")
    assert [path.name for path in place.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("path", [".claude", ".claude/vault", ".claude/../.claude/x"])
def test_a_vault_inside_the_tree(machine: Machine, path: str) -> None:
    for words in (("--folder", str(machine.home / path)), ("--git", str(machine.home / path))):
        refused(machine, *words, part="the vault would hold itself", code=2)


def test_a_wrong_passphrase_of_a_vault_that_is_there(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "vault"
    made = new_machine(tmp_path, "other").run("init", "--folder", str(place), "--generate-key")
    (code,) = CODE.findall(made.out)
    before = sorted(place.rglob("*"))
    refused(machine, "--folder", str(place), part="does not open this vault")
    mistyped = code[:-1] + ("A" if code[-1] != "A" else "B")
    refused(machine, "--folder", str(place), part="typing error", stdin=f"{mistyped}\n")
    assert sorted(place.rglob("*")) == before


def test_a_device_that_may_not_keep_anything(machine: Machine, tmp_path: Path) -> None:
    (machine.home / "file").write_text("")
    place = tmp_path / "vault"
    home = str(machine.home / "file" / "state")
    refused(machine, "--folder", str(place), part="can't make the folder", environ={"CLAUDE_SYNC_HOME": home})
    assert not place.exists()


# Google Cloud Storage.


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "can't read"),
        ("no JSON", "is not a credentials file of Google's"),
        ('{"type": "service_account"}', "is not a credentials file of Google's"),
        ('{"type": "service_account", "client_email": "a@b", "private_key": "the-password"}', "is damaged"),
    ],
)
def test_a_key_file_of_google_that_is_none(machine: Machine, tmp_path: Path, content: str | None, part: str) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    code = 2 if content is None else 1
    refused(machine, "--gcs", "bucket", "--credentials-file", str(file), part=part, code=code)
    refused(machine, "--gcs", "bucket", part=part, code=code, environ={"GOOGLE_APPLICATION_CREDENTIALS": str(file)})


def test_a_missing_bucket_of_google(machine: Machine) -> None:
    server = GcsServer()
    server.start()
    try:
        words = ("--gcs", "no-such", "--endpoint", server.endpoint)
        refused(machine, *words, part="there is no such bucket")
        refused(machine, *words, "--create", part="--project-id")
    finally:
        server.stop()


# Git.


def test_a_repository_that_is_not_there(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        refused(machine, "--git", str(tmp_path / name), part="there is no git repository")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "photo.jpg").write_bytes(b"dear")
    refused(machine, "--git", str(tmp_path / "files"), part="no such repository")


def test_a_repository_without_git(machine: Machine, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "vault.git")
    programs = tmp_path / "bin"
    programs.mkdir()
    refused(machine, "--git", str(repository), part="install git", environ={"PATH": str(programs)})


def test_a_branch_of_other_things(machine: Machine, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "vault.git")
    photo = git("hash-object", "-w", "--stdin", repository=repository, feed=b"dear")
    tree = git("mktree", repository=repository, feed=f"100644 blob {photo}\tphoto.jpg\n".encode())
    commit = git("commit-tree", "-m", "photos", tree, repository=repository)
    git("update-ref", "refs/heads/photos", commit, repository=repository)
    refused(machine, "--git", str(repository), "--branch", "photos", part="holds other things and no vault")
    refused(machine, "--git", str(repository), "--branch", "a..b", part="is no branch's name", code=2)
    assert git("for-each-ref", repository=repository).split() == [commit, "commit", "refs/heads/photos"]


def test_git_over_http_with_wrong_credentials(machine: Machine, tmp_path: Path) -> None:
    server = GitHttpServer()
    server.start()
    try:
        new_repository(server.folder / "vault.git")
        url = server.url(server.folder / "vault.git")
        refused(machine, "--git", url, part="there are no credentials")
        wrong = {"CLAUDE_SYNC_STORE__PASSWORD": "the-password"}
        refused(machine, "--git", url, "--username", "alice", part="the credentials were not accepted", environ=wrong)
        right = {"CLAUDE_SYNC_STORE__PASSWORD": server.password}
        other = server.url(server.folder / "other.git")
        refused(machine, "--git", other, "--username", "alice", part="there is no such repository", environ=right)
    finally:
        server.stop()


def test_a_host_that_ssh_does_not_reach(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ssh://git@127.0.0.1:{taken.getsockname()[1]}/vault.git"
        refused(machine, "--git", url, part="there is no connection")


# WebDAV.


@pytest.fixture(scope="module")
def webdav() -> Iterator[WebDavServer]:
    server = WebDavServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_webdav_with_wrong_credentials(machine: Machine, webdav: WebDavServer) -> None:
    url = f"{webdav.endpoint}/wrong"
    wrong = {"CLAUDE_SYNC_STORE__PASSWORD": "the-password"}
    refused(machine, "--webdav", url, "--username", "ann", part="the credentials were not accepted", environ=wrong)
    refused(machine, "--webdav", url, part="the credentials were not accepted")
    refused(
        machine, "--webdav", url, part="the credentials were not accepted", environ={"CLAUDE_SYNC_STORE__TOKEN": "x"}
    )
    assert not (webdav.folder / "wrong").exists()


def test_a_webdav_folder_of_other_things(machine: Machine, webdav: WebDavServer) -> None:
    (webdav.folder / "photos").mkdir()
    (webdav.folder / "photos" / "photo.jpg").write_bytes(b"dear")
    right = {"CLAUDE_SYNC_STORE__PASSWORD": webdav.password or ""}
    words = ("--webdav", f"{webdav.endpoint}/photos", "--username", "ann")
    refused(machine, *words, part="holds other things", environ=right)
    assert [path.name for path in (webdav.folder / "photos").iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(("status", "part"), [(404, ""), (405, "does not speak WebDAV"), (403, "permission denied")])
def test_something_that_is_no_webdav(machine: Machine, s3: RuledS3, status: int, part: str) -> None:
    s3.refuses = {"all": (status, "Whatever")}
    refused(machine, "--webdav", s3.endpoint, part=part)


# Words that can't be right, whatever the store says.


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--s3", "a/b"), "is no bucket's name"),
        (("--s3", "b", "--endpoint", "host:9000"), "is no address"),
        (("--s3", "b", "--endpoint", "https://me:hush@host"), "user name or password"),
        (("--s3", "b", "--endpoint", "https://host:99999"), "is no address"),
        (("--s3", "b", "--region", "Frankfurt am Main"), "is no region"),
        (("--s3", "b", "--prefix", "../x"), "is no path"),
        (("--s3", "b", "--provider", "b2"), "--region needs a value"),
        (("--s3", "b", "--provider", "minio"), "--endpoint needs a value"),
        (("--s3", "b", "--provider", "floppy"), "--provider takes"),
        (("--s3", "b", "--ca-bundle", "/none"), "there is no file"),
        (("--s3", "b", "--credentials-file", "/none"), "can't read"),
        (("--s3", "b", "--branch", "main"), "makes no sense with Amazon S3"),
        (("--r2", "b", "--account-id", "a/b"), "is no Cloudflare account id"),
        (("--r2", "b", "--provider", "b2"), "--provider goes with --s3"),
        (("--git", "u"), "not a URL of a git repository"),
        (("--git", "https://me:hush@host/x.git"), "user name or password"),
        (("--git", "git@host:x.git", "--username", "me"), "for https only"),
        (("--git", "ext::sh -c true"), "not a URL of a git repository"),
        (("--webdav", "host/dav"), "is no address"),
        (("--webdav", "https://me:hush@host/dav"), "user name or password"),
        (("--webdav", "https://host/dav", "--username", "me"), "no password for --username"),
        (("--gcs", "b", "--profile", "p"), "makes no sense with Google"),
        (("--region", "eu"), "goes with a store"),
        (("--folder", "v", "--keychain"), "makes no sense with a folder"),
        (("--folder", "v", "--device-name", "\n"), "can't be a device's name"),
    ],
)
def test_words_that_can_not_be_right(machine: Machine, words: tuple[str, ...], part: str) -> None:
    done = machine.run_here("init", *words, "--generate-key")
    assert done.code in (1, 2)
    assert [line.partition(": ")[0] for line in done.err.splitlines()] == ["error", "hint"], done.err
    assert part in done.err
    assert "hush" not in done.err
    assert machine.is_untouched()
