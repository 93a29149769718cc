"""`claude-syncctl init` with a real S3 server: keys, prefixes, and what is kept in config.toml."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from s3_server import S3Server, s3_client

if TYPE_CHECKING:
    from collections.abc import Iterator

CTL = str(Path(sys.executable).with_name("claude-syncctl"))
CODE = re.compile(r"\b(?:[0-9A-Z]{4}-){8}[0-9A-Z]{4}\b")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def init(
    server: S3Server, home: Path, *words: str, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [CTL, "init", "--s3", server.bucket, "--endpoint", server.endpoint, "--region", "us-east-1", *words],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert server.secret_key not in done.stdout + done.stderr
    return done


def settings(home: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((home / ".claude-sync" / "config.toml").read_text())["store"]
    return found


def test_keys_from_the_environment_are_kept_since_the_daemon_does_not_see_it(server: S3Server, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    one, two = tmp_path / "one", tmp_path / "two"
    done = init(server, one, "--prefix", "/kept/here/", "--generate-key", **keys)
    assert done.returncode == 0, done.stderr
    (code,) = CODE.findall(done.stdout)
    store = settings(one)
    assert store["prefix"] == "kept/here"
    assert store["access_key_id"] == server.access_key
    assert store["secret_access_key"] == server.secret_key
    assert (one / ".claude-sync" / "config.toml").stat().st_mode & 0o777 == 0o600

    # The second device has its keys from a file, and joins with the code.
    file = tmp_path / "keys"
    file.write_text(f"aws_access_key_id={server.access_key}\naws_secret_access_key={server.secret_key}\n")
    joined = init(
        server, two, "--prefix", "kept/here", "--credentials-file", str(file), "--passphrase-stdin", stdin=code
    )
    assert joined.returncode == 0, joined.stderr
    assert settings(two) == store
    assert (one / ".claude-sync" / "vault.key").read_bytes() == (two / ".claude-sync" / "vault.key").read_bytes()


def test_a_profile_is_named_and_its_keys_are_not_copied(server: S3Server, tmp_path: Path) -> None:
    aws = tmp_path / "home" / ".aws"
    aws.mkdir(parents=True)
    (aws / "credentials").write_text(
        f"[work]\naws_access_key_id={server.access_key}\naws_secret_access_key={server.secret_key}\n"
    )
    done = init(server, tmp_path / "home", "--prefix", "profile", "--profile", "work", "--generate-key")
    assert done.returncode == 0, done.stderr
    store = settings(tmp_path / "home")
    assert store["profile"] == "work"
    assert "secret_access_key" not in store


def test_a_prefix_that_holds_other_things_is_refused_and_kept(server: S3Server, tmp_path: Path) -> None:
    client = s3_client(server.endpoint, server.access_key, server.secret_key)
    client.put_object(Bucket=server.bucket, Key="taken/photo.jpg", Body=b"dear")
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    done = init(server, tmp_path / "home", "--prefix", "taken", "--generate-key", "--force", **keys)
    assert done.returncode == 1
    assert "other things" in done.stderr
    listed = client.list_objects_v2(Bucket=server.bucket, Prefix="taken/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["taken/photo.jpg"]
    client.close()
    assert not (tmp_path / "home" / ".claude-sync").exists()


def test_a_wrong_bucket_is_told_and_writes_nothing(server: S3Server, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    done = init(server, tmp_path / "home", "--generate-key", "--s3", "no-such-bucket", **keys)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr
    assert not (tmp_path / "home" / ".claude-sync").exists()
