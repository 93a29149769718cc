"""What options and environment say about a store, and what becomes of it in `[store]`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from claude_syncd import config
from claude_syncd.ctl import providers, store_choice
from claude_syncd.ctl.options import Command, parse
from claude_syncd.ctl.providers import PROVIDERS
from claude_syncd.ctl.store_choice import Choice
from claude_syncd.errors import UsageError
from claude_syncd.local.home import Places
from claude_syncd.store.options import GitOptions, S3Options

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "hush"}
SECRET = {"access_key_id": "AK", "secret_access_key": "hush"}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tree=tmp_path / ".claude", state=tmp_path / ".claude-sync", user_home=tmp_path)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "CLAUDE_SYNC_", "GOOGLE_", "STORAGE_EMULATOR", "SSH_AUTH")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def chosen(places: Places, line: str, **answers: str) -> Choice:
    """What the words of `line` choose; `answers` are given to questions for secrets."""
    given = parse(Command("init", "", options=store_choice.OPTIONS), line.split())
    found = store_choice.from_options(given, places, (lambda question: answers["secret"]) if answers else None)
    assert found is not None
    return found


def section(places: Places, line: str, **answers: str) -> dict[str, Any]:
    return chosen(places, line, **answers).section()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--s3 b", {"bucket": "b"}),
        ("--s3 b --region eu-west-1 --prefix /a/b/", {"bucket": "b", "region": "eu-west-1", "prefix": "a/b"}),
        ("--s3 b --endpoint http://h:9/", {"bucket": "b", "endpoint": "http://h:9", "region": "us-east-1"}),
        (
            "--s3 b --endpoint https://h --path-style",
            {"endpoint": "https://h", "path_style": True, "region": "us-east-1"},
        ),
        ("--s3 b --provider garage --endpoint http://h:3900", {"endpoint": "http://h:3900", "region": "garage"}),
        ("--s3 b --provider minio --endpoint http://h:9000", {"endpoint": "http://h:9000", "region": "us-east-1"}),
        ("--s3 b --provider ceph --endpoint https://h --region x", {"endpoint": "https://h", "region": "x"}),
        (
            "--s3 b --provider b2 --region us-west-004",
            {"endpoint": "https://s3.us-west-004.backblazeb2.com", "region": "us-west-004"},
        ),
        ("--s3 b --provider wasabi", {"endpoint": "https://s3.us-east-1.wasabisys.com", "region": "us-east-1"}),
        (
            "--s3 b --provider wasabi --region eu-central-1",
            {"endpoint": "https://s3.eu-central-1.wasabisys.com", "region": "eu-central-1"},
        ),
        ("--r2 b --account-id abc", {"endpoint": "https://abc.r2.cloudflarestorage.com", "region": "auto"}),
        (
            "--r2 b --account-id abc --endpoint https://abc.eu.r2.cloudflarestorage.com",
            {"endpoint": "https://abc.eu.r2.cloudflarestorage.com", "region": "auto"},
        ),
    ],
)
def test_s3_and_its_relatives(
    places: Places, monkeypatch: pytest.MonkeyPatch, line: str, expected: dict[str, object]
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    found = section(places, line)
    assert found == {"kind": "s3", "bucket": "b", **SECRET, **expected}
    options = config.store_settings(found, places.state)
    assert isinstance(options, S3Options)
    assert (options.access_key_id, options.secret_access_key) == ("AK", "hush")


@pytest.mark.parametrize(
    ("line", "environ", "expected"),
    [
        ("--s3 b", {"AWS_PROFILE": "work"}, {"profile": "work"}),
        ("--s3 b --profile p", KEYS, {"profile": "p"}),
        ("--s3 b --access-key-id AK", KEYS, SECRET),
        ("--s3 b", {"AWS_REGION": "eu-north-1"}, {"region": "eu-north-1"}),
        ("--s3 b --region x", {"AWS_DEFAULT_REGION": "eu-north-1"}, {"region": "x"}),
        ("--s3 b", {"AWS_ENDPOINT_URL_S3": "http://h"}, {"endpoint": "http://h", "region": "us-east-1"}),
        ("--s3 b", {"CLAUDE_SYNC_STORE__REGION": "here", "AWS_REGION": "there"}, {"region": "here"}),
        (
            "--s3 b",
            {"CLAUDE_SYNC_STORE__ACCESS_KEY_ID": "AK", "CLAUDE_SYNC_STORE__SECRET_ACCESS_KEY": "hush"},
            SECRET,
        ),
        ("--s3 b", {**KEYS, "AWS_SESSION_TOKEN": "psst"}, {**SECRET, "session_token": "psst"}),
    ],
)
def test_what_the_daemon_would_not_see_is_kept(
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    environ: dict[str, str],
    expected: dict[str, str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert section(places, line) == {"kind": "s3", "bucket": "b", **expected}


def test_a_secret_is_asked_for_where_there_is_somebody(places: Places) -> None:
    assert section(places, "--s3 b --access-key-id AK", secret="hush") == {"kind": "s3", "bucket": "b", **SECRET}
    url = "https://host/dav"
    found = section(places, f"--webdav {url} --username ann", secret="hush")
    assert found == {"kind": "webdav", "url": url, "username": "ann", "password": "hush"}
    assert "hush" not in repr(chosen(places, f"--webdav {url} --username ann", secret="hush"))


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("username=ann\npassword=hush", "--webdav https://h", {"username": "ann", "password": "hush"}),
        ("password = hush", "--webdav https://h --username bob", {"username": "bob", "password": "hush"}),
        ("token=psst", "--webdav https://h", {"token": "psst"}),
        ("token=psst", "--git https://h/x.git", {"username": "git", "password": "psst"}),
        ("password=hush", "--git https://h/x.git --branch b", {"branch": "b", "username": "git", "password": "hush"}),
        ("aws_access_key_id=AK\naws_secret_access_key=hush", "--s3 b", SECRET),
    ],
)
def test_credentials_from_a_file(
    places: Places, tmp_path: Path, file: str, line: str, expected: dict[str, str]
) -> None:
    path = tmp_path / "credentials"
    path.write_text(file)
    found = section(places, f"{line} --credentials-file {path}")
    assert {key: found[key] for key in found if key not in ("kind", "url", "bucket")} == expected


def test_google(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    expected = {"kind": "gcs", "bucket": "b", "credentials_file": str(key)}
    assert section(places, f"--gcs b --credentials-file {key} --region us-central1") == expected
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert section(places, "--gcs b") == expected
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")
    assert section(places, "--gcs b") == {"kind": "gcs", "bucket": "b", "endpoint": "http://127.0.0.1:4443"}


@pytest.mark.parametrize("url", ["https://host/x.git", "git@host:x.git", "ssh://git@host/x.git", "/disk/x.git"])
def test_git_has_its_mirror_in_the_state_folder(places: Places, url: str) -> None:
    found = section(places, f"--git {url}")
    assert found == {"kind": "git", "url": url}
    options = config.store_settings(found, places.state)
    assert options == GitOptions(url=url, mirror=places.state / "mirror.git")


def test_a_git_url_without_credentials_leaves_them_to_git(places: Places) -> None:
    assert section(places, "--git https://h/x.git --username me") == {
        "kind": "git",
        "url": "https://h/x.git",
        "username": "me",
    }


def test_notes(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"HOME": "/"}
    assert store_choice.notes(chosen(places, "--s3 b"), plain) == []
    (said,) = store_choice.notes(chosen(places, "--s3 b"), {"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"})
    assert "does not see" in said
    (said,) = store_choice.notes(chosen(places, "--git git@h:x"), {"SSH_AUTH_SOCK": "/x"})
    assert "ssh-agent" in said
    for name, value in {**KEYS, "AWS_SESSION_TOKEN": "psst"}.items():
        monkeypatch.setenv(name, value)
    (said,) = store_choice.notes(chosen(places, "--s3 b"), plain)
    assert "expires" in said


def test_without_a_store_nothing_is_chosen(places: Places) -> None:
    given = parse(Command("init", "", options=store_choice.OPTIONS), [])
    assert store_choice.from_options(given, places, None) is None


def test_what_depends_on_an_answer_is_known_with_it() -> None:
    choice = Choice(providers.find("b2"), {})
    assert choice.known("endpoint") == ""
    choice.values["region"] = "us-west-004"
    assert choice.known("endpoint") == "https://s3.us-west-004.backblazeb2.com"
    assert choice.known("prefix") == ""


def test_every_provider_needs_what_it_says(places: Places) -> None:
    for provider in PROVIDERS:
        choice = Choice(provider, {})
        assert provider.key in choice.missing()
        with pytest.raises(UsageError, match="needs a value"):
            choice.section()
        for key in provider.may_give:
            assert key == "path_style" or providers.question(provider, key)
            assert key in {"path_style", "account_id", "region"} or hasattr(config.STORES[provider.kind], key)
        assert providers.find(provider.name) is provider


@pytest.mark.parametrize("text", ["", "a b", "-x", "https://h", "x" * 300, "b\x1b[0m"])
def test_what_no_bucket_is_called(places: Places, text: str) -> None:
    with pytest.raises(UsageError):
        providers.check(providers.AWS, "bucket", places)(text)


def test_a_path_is_made_absolute(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check = providers.check(providers.FOLDER, "path", places)
    assert check("disk/vault") == str(tmp_path / "disk" / "vault")
    assert check("~/vault") == str(Path.home() / "vault")
