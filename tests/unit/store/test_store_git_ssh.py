"""The git store over ssh, with OpenSSH's own server."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from git_place import git_options
from git_ssh import GitSshServer

from claude_syncd.errors import StoreRefused
from claude_syncd.store.git import GitStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.store.options import GitOptions

pytestmark = pytest.mark.servers

LOG = "devices/ab/log/000000000001"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitSshServer]:
    made = GitSshServer()
    try:
        made.start()
        monkeypatch.setenv("GIT_SSH_COMMAND", made.command)
        yield made
    finally:
        made.stop()


@pytest.fixture
def options(server: GitSshServer) -> GitOptions:
    return git_options(server)


async def test_both_forms_of_a_url(server: GitSshServer, options: GitOptions) -> None:
    await GitStore(options).put(LOG, b"12345")
    url = f"ssh://127.0.0.1:{server.port}{options.url.removeprefix('127.0.0.1:')}"
    assert await GitStore(replace(options, url=url)).get(LOG) == b"12345"


async def test_a_key_that_is_not_known(server: GitSshServer, options: GitOptions) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(server.folder / "other")]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    (server.folder / "other").replace(server.folder / "user")
    with pytest.raises(StoreRefused, match="no key of this device"):
        await GitStore(options).put(LOG, b"12345")


async def test_a_key_with_a_passphrase_asks_nothing(server: GitSshServer, options: GitOptions) -> None:
    words = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(server.folder / "user")]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    with pytest.raises(StoreRefused, match="no key of this device"):
        await GitStore(options).put(LOG, b"12345")


@pytest.mark.parametrize("known", ["", "[127.0.0.1]:{port} ssh-ed25519 {other}\n"])
async def test_a_host_that_is_not_the_known_one(server: GitSshServer, options: GitOptions, known: str) -> None:
    other = (server.folder / "user.pub").read_text().split()[1]
    (server.folder / "known").write_text(known.format(port=server.port, other=other))
    with pytest.raises(StoreRefused, match="host's key"):
        await GitStore(options).get("vault.json")


async def test_no_such_repository(options: GitOptions) -> None:
    with pytest.raises(StoreRefused, match="no such repository"):
        await GitStore(replace(options, url=f"{options.url}-not")).get("vault.json")


async def test_a_connection_that_is_kept_open_for_others(server: GitSshServer, options: GitOptions) -> None:
    control = f"  ControlMaster auto\n  ControlPath {server.folder}/master\n  ControlPersist 60\n"
    with (server.folder / "client").open("a") as file:
        file.write(control)
    try:
        store = GitStore(options, patience=20)
        await store.put(LOG, b"12345")
        assert (server.folder / "master").exists()
        await store.put("vault.json", b"{}")
        assert await store.get("vault.json") == b"{}"
    finally:
        words = [*server.command.split(), "-O", "exit", "127.0.0.1"]
        subprocess.run(words, check=True, capture_output=True)
