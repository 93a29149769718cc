"""`claude-syncctl init` where a provider refuses: the same promises over each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from certificate import make_certificate
from fresh_machine import Machine, new_machine
from gcs_server import GcsServer
from git_http import GitHttpServer, Instead
from git_place import git, new_repository
from refusing import KEYS, refused
from ruled_s3 import BUCKET, RuledS3
from webdav_server import WebDavServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


@pytest.fixture
def s3() -> Iterator[RuledS3]:
    server = RuledS3()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def gcs() -> Iterator[GcsServer]:
    server = GcsServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def git_host() -> Iterator[GitHttpServer]:
    server = GitHttpServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def webdav() -> Iterator[WebDavServer]:
    server = WebDavServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("provider", ["s3", "gcs", "git", "webdav"])
def test_a_wrong_passphrase_and_a_place_that_is_taken(
    request: pytest.FixtureRequest, tmp_path: Path, machine: Machine, provider: str
) -> None:
    environ: dict[str, str] = {}
    words: tuple[str, ...]
    if provider == "s3":
        words, environ = ("--s3", BUCKET, "--endpoint", request.getfixturevalue("s3").endpoint), KEYS
    elif provider == "gcs":
        server = request.getfixturevalue("gcs")
        words = ("--gcs", server.bucket, "--endpoint", server.endpoint)
    elif provider == "git":
        words = ("--git", str(new_repository(tmp_path / "vault.git")))
    else:
        server = request.getfixturevalue("webdav")
        words = ("--webdav", f"{server.endpoint}/vault", "--username", server.username)
        environ = {"CLAUDE_SYNC_STORE__PASSWORD": server.password}
    made = new_machine(tmp_path, "other").run_here("init", *words, "--generate-key", **environ)
    assert made.code == 0, made.err
    refused(machine, *words, part="does not open this vault", environ=environ)
    # And no second vault is made over the first.
    done = machine.run_here("init", *words, "--generate-key", **environ)
    assert done.code == 2
    assert "there is a vault at" in done.err
    assert machine.is_untouched()


@pytest.mark.parametrize(
    ("refuses", "part"),
    [
        ({"all": (401, "authError")}, "the credentials were not accepted"),
        ({"all": (403, "forbidden")}, "permission denied"),
        ({"all": (403, "accessNotConfigured")}, "the storage API is switched off"),
        ({"list": (403, "forbidden")}, "while listing"),
        ({"get": (403, "forbidden")}, "permission denied"),
        ({"put": (403, "forbidden")}, "while writing"),
        ({"delete": (403, "forbidden")}, "while deleting"),
        ({"all": (503, "backendError")}, "error"),
    ],
)
def test_what_google_refuses(machine: Machine, gcs: GcsServer, refuses: dict[str, tuple[int, str]], part: str) -> None:
    gcs.refuses = refuses
    refused(machine, "--gcs", gcs.bucket, "--endpoint", gcs.endpoint, part=part)
    assert "delete" in refuses or gcs.objects == {}


def test_a_bucket_of_google_with_other_things(machine: Machine, gcs: GcsServer) -> None:
    gcs.objects["photo.jpg"] = (b"dear", 1)
    refused(machine, "--gcs", gcs.bucket, "--endpoint", gcs.endpoint, part="holds other things")
    assert gcs.objects == {"photo.jpg": (b"dear", 1)}


def test_a_repository_that_may_only_be_read(machine: Machine, git_host: GitHttpServer) -> None:
    password = {"CLAUDE_SYNC_STORE__PASSWORD": git_host.password or ""}
    repository = new_repository(git_host.folder / "vault.git")
    git_host.instead = [Instead("git-receive-pack", 403, {})]
    words = ("--git", git_host.url(repository), "--username", "alice")
    refused(machine, *words, part="while writing", environ=password)
    assert git("for-each-ref", repository=repository) == ""


def test_a_webdav_folder_that_may_only_be_read(machine: Machine) -> None:
    server = WebDavServer(readonly=True)
    try:
        server.start()
        words = ("--webdav", server.endpoint, "--username", server.username or "")
        refused(
            machine, *words, part="permission denied", environ={"CLAUDE_SYNC_STORE__PASSWORD": server.password or ""}
        )
        assert list(server.folder.iterdir()) == []
    finally:
        server.stop()


def test_a_certificate_that_nobody_trusts(machine: Machine, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    host = GitHttpServer(certificate)
    host.start()
    try:
        repository = new_repository(host.folder / "vault.git")
        refused(machine, "--git", host.url(repository), part="certificate")
    finally:
        host.stop()
    server = RuledS3(certificate)
    server.start()
    try:
        refused(machine, "--gcs", "bucket", "--endpoint", server.endpoint, part="certificate")
        words = ("--s3", BUCKET, "--provider", "minio", "--endpoint", server.endpoint)
        refused(machine, *words, part="certificate", environ=KEYS)
    finally:
        server.stop()


def test_credentials_that_are_half_or_in_the_wrong_place(machine: Machine, tmp_path: Path, s3: RuledS3) -> None:
    words = ("--s3", BUCKET, "--endpoint", s3.endpoint)
    refused(machine, *words, "--access-key-id", "AK", part="no secret for --access-key-id", code=2)
    half = tmp_path / "half"
    half.write_text("aws_access_key_id = AK\n")
    refused(machine, *words, "--credentials-file", str(half), part="has no access key in it", code=2)
    refused(machine, *words, "--credentials-file", str(half), "--access-key-id", "AK", part="give one of them", code=2)
    refused(machine, "--webdav", s3.endpoint, "--credentials-file", str(half), part="has no password in it", code=2)
