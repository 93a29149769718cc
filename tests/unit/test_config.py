"""Settings: defaults, the file, the environment over it, and what is said about mistakes."""

from __future__ import annotations

import os
from pathlib import Path

import keyring
import pytest
from keychain_in_a_file import Keychain

from claude_syncd import config
from claude_syncd.errors import ConfigError, LocalError
from claude_syncd.local import keychain
from claude_syncd.settings import Settings
from claude_syncd.store.options import FolderOptions, GcsOptions, GitOptions, S3Options, WebDavOptions


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("CLAUDE_SYNC_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refused(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    return str(caught.value).splitlines()


def test_defaults_without_a_file(file: Path) -> None:
    settings = config.load(file)
    assert settings.store is None
    assert settings.scope == "portable"
    assert (settings.debounce.quiet, settings.debounce.limit) == (2.0, 15.0)
    assert (settings.poll.active, settings.poll.idle, settings.poll.roster, settings.poll.list) == (5, 60, 60, 1800)
    assert (settings.limits.parallel, settings.scan.interval, settings.log.level) == (8, 3600, "info")


def test_folder_store_expands_home(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    file.write_text('[store]\nkind = "folder"\npath = "~/vault"\n')
    assert config.load(file).store == FolderOptions(path=Path("/somewhere/vault"))


def test_s3_store_keeps_secrets_out_of_its_repr(file: Path) -> None:
    file.write_text(
        '[store]\nkind = "s3"\nbucket = "b"\naccess_key_id = "id"\nsecret_access_key = "hush"\nsession_token = "tok"\n'
    )
    settings = config.load(file)
    assert isinstance(settings.store, S3Options)
    assert settings.store.secret_access_key == "hush"
    assert "hush" not in repr(settings)
    assert "tok" not in repr(settings).replace("session_token", "")


def test_every_kind_of_store(file: Path) -> None:
    file.write_text('[store]\nkind = "gcs"\nbucket = "b"\ncredentials_file = "/k.json"\n')
    assert config.load(file).store == GcsOptions("b", credentials_file=Path("/k.json"))
    file.write_text('[store]\nkind = "git"\nurl = "git@host:x.git"\n')
    assert config.load(file).store == GitOptions("git@host:x.git", mirror=file.parent / "mirror.git")
    file.write_text('[store]\nkind = "git"\nurl = "git@host:x.git"\nmirror = "/elsewhere"\n')
    assert config.load(file).store == GitOptions("git@host:x.git", mirror=Path("/elsewhere"))
    file.write_text('[store]\nkind = "webdav"\nurl = "https://h"\nusername = "u"\npassword = "hush"\n')
    settings = config.load(file)
    assert settings.store == WebDavOptions("https://h", username="u", password="hush")
    assert "hush" not in repr(settings)


ALSO = """
[store]
kind = "folder"
path = "/vault"

[[also]]
kind = "s3"
bucket = "b"

[[also]]
kind = "git"
url = "git@host:x.git"
"""


def test_further_stores(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(ALSO)
    monkeypatch.setenv("CLAUDE_SYNC_ALSO__0__REGION", "eu-central-1")
    bucket, repository = config.load(file).also
    assert bucket == S3Options("b", region="eu-central-1")
    assert isinstance(repository, GitOptions)
    assert repository.mirror.parent == file.parent
    assert repository.mirror.name != "mirror.git"  # that is the first store's, whatever kind it has
    monkeypatch.setenv("CLAUDE_SYNC_ALSO__2__KIND", "folder")
    monkeypatch.setenv("CLAUDE_SYNC_ALSO__2__PATH", "/third")
    assert config.load(file).also[2] == FolderOptions(Path("/third"))
    assert config.store_settings({"kind": "git", "url": "git@host:x.git"}, file.parent, also=True) == repository


def test_mistakes_in_further_stores(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(ALSO.replace("bucket", "buket"))
    assert refused(file) == [
        f"also.0.buket in {file}: there is no such setting; did you mean 'bucket'?",
        f"also.0.bucket in {file}: is missing",
    ]
    file.write_text("also = 5")
    assert refused(file) == [f"also in {file}: must be tables: [[also]]"]
    file.write_text("also = [5]")
    assert "kind must be" in refused(file)[0]
    file.write_text(ALSO)
    monkeypatch.setenv("CLAUDE_SYNC_ALSO__0__REGION", " " * 5000)
    assert refused(file)[0].startswith("CLAUDE_SYNC_ALSO__0__REGION in the environment: ")
    monkeypatch.delenv("CLAUDE_SYNC_ALSO__0__REGION")
    monkeypatch.setenv("CLAUDE_SYNC_ALSO__7__REGION", "eu")
    assert "without gaps" in refused(file)[0]


def test_the_keychains_items_of_all_stores(file: Path) -> None:
    file.write_text(
        ALSO.replace("bucket =", 'keychain = "store-2"\nbucket =').replace("path =", 'keychain = "a"\npath =')
    )
    assert config.keychain_items(file) == ("a", "store-2")
    file.write_text("also = 5")
    assert config.keychain_items(file) == ()


def test_secrets_in_the_keychain_are_found_there(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keyring.get_keyring()
    monkeypatch.setenv("KEYCHAIN_FILE", str(tmp_path / "kept"))
    keyring.set_keyring(Keychain())
    try:
        item = keychain.keep({"password": "hush"})
        file.write_text(f'[store]\nkind = "webdav"\nurl = "https://h"\nusername = "u"\nkeychain = "{item}"\n')
        assert config.load(file).store == WebDavOptions("https://h", username="u", password="hush")
        monkeypatch.setenv("CLAUDE_SYNC_STORE__PASSWORD", "louder")
        assert config.load(file).store == WebDavOptions("https://h", username="u", password="louder")
        keychain.forget(item)
        with pytest.raises(LocalError, match="keychain has no"):
            config.load(file)
    finally:
        keyring.set_keyring(before)


def test_environment_wins_over_the_file_key_by_key(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('exclude = ["x"]\n[store]\nkind = "s3"\nbucket = "b"\nregion = "old"\n[poll]\nidle = 99\n')
    monkeypatch.setenv("CLAUDE_SYNC_STORE__REGION", "new")
    monkeypatch.setenv("CLAUDE_SYNC_POLL__ACTIVE", "0.5")
    monkeypatch.setenv("CLAUDE_SYNC_EXCLUDE", "a/**, b")
    monkeypatch.setenv("CLAUDE_SYNC_INCLUDE", '["c,d"]')
    settings = config.load(file)
    assert isinstance(settings.store, S3Options)
    assert (settings.store.bucket, settings.store.region) == ("b", "new")
    assert (settings.poll.active, settings.poll.idle) == (0.5, 99)
    assert settings.exclude == ("a/**", "b")
    assert settings.include == ("c,d",)


def test_the_state_folder_variable_is_no_setting(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_SYNC_HOME", "/x")
    assert config.load(file) == Settings()


def test_unknown_keys_are_named_with_their_file_one_line_each(file: Path) -> None:
    file.write_text('scoep = "x"\n[store]\nkind = "s3"\nbucket = "b"\nregoin = "x"\n[poll]\nactvie = 3\n')
    lines = refused(file)
    assert len(lines) == 3
    assert f"scoep in {file}: there is no such setting; did you mean 'scope'?" in lines
    assert f"store.regoin in {file}: there is no such setting; did you mean 'region'?" in lines
    assert f"poll.actvie in {file}: there is no such setting; did you mean 'active'?" in lines


def test_unknown_variable_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_SYNC_SCOEP", "portable")
    assert refused(file) == ["CLAUDE_SYNC_SCOEP in the environment is no setting; did you mean CLAUDE_SYNC_SCOPE?"]


def test_wrong_value_in_the_environment_names_the_variable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[poll]\nactive = 3\n")
    monkeypatch.setenv("CLAUDE_SYNC_POLL__ACTIVE", "soon")
    (line,) = refused(file)
    assert line.startswith("CLAUDE_SYNC_POLL__ACTIVE in the environment: ")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[store]\nbucket = "b"\n', 'kind must be "folder", "s3", "gcs", "git" or "webdav"'),
        ('[store]\nkind = "floppy"\n', 'kind must be "folder", "s3", "gcs", "git" or "webdav"'),
        ('[store]\nkind = "s3"\n', "store.bucket"),
        ('[store]\nkind = "git"\nurl = "x"\nkeychain = 3\n', "must be the name of an item"),
        ('[store]\nkind = "webdav"\nurl = "x"\nusername = "u"\n', "username and password go together"),
        ('[store]\nkind = "folder"\npath = "here"\n', "must be an absolute path"),
        ('[store]\nkind = "s3"\nbucket = "b"\naccess_key_id = "a"\n', "go together"),
        ('[store]\nkind = "s3"\nbucket = "b"\nsession_token = "a"\n', "session_token needs"),
        ("[debounce]\nquiet = 9\nlimit = 1\n", "limit must not be below quiet"),
        ("[poll]\nactive = 90\n", "idle must not be below active"),
        ("[poll]\nactive = inf\n", "poll.active"),
        ("[limits]\nparallel = 0\n", "limits.parallel"),
        ('[log]\nlevel = "chatty"\n', "log.level"),
        ("poll = 3\n", "poll in"),
        ("a =", "is not valid TOML"),
    ],
)
def test_mistakes_are_explained(file: Path, text: str, part: str) -> None:
    file.write_text(text)
    (line,) = refused(file)
    assert part in line
    assert str(file) in line


def test_a_bad_list_in_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_SYNC_INCLUDE", "[1,")
    (line,) = refused(file)
    assert line.startswith("CLAUDE_SYNC_INCLUDE in the environment: is neither a JSON list")


def test_secrets_do_not_appear_in_errors(file: Path) -> None:
    file.write_text('[store]\nkind = "s3"\nbucket = "b"\nsecret_access_key = "hush-hush"\nbogus = "hush-hush"\n')
    assert "hush-hush" not in "\n".join(refused(file))


def test_bytes_that_are_no_text_and_folders(file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    assert "is not valid TOML" in refused(file)[0]
    with pytest.raises(LocalError):
        config.load(tmp_path)


def test_write_then_load(file: Path) -> None:
    config.write_config(file, {"store": {"kind": "s3", "bucket": "b", "region": None}, "exclude": ["a"]})
    settings = config.load(file)
    assert settings.exclude == ("a",)
    assert settings.store == S3Options(bucket="b")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("# Settings of claude-syncd")
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_file_that_others_can_read_is_warned_about(file: Path) -> None:
    config.write_config(file, {})
    assert config.warnings(file) == ()
    file.chmod(0o640)
    (line,) = config.warnings(file)
    assert "0640" in line
    assert str(file) in line
