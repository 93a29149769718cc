"""What a host's refusals look like, over HTTP with a password: each an error that says what to do, without secrets."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from certificate import make_certificate
from git_http import GitHttpServer, Instead
from git_place import git, git_options
from s3_server import free_port, wait_until

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.git import GitStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from claude_syncd.store.options import GitOptions

LOG = "devices/ab/log/000000000001"


@pytest.fixture
def server() -> Iterator[GitHttpServer]:
    made = GitHttpServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def options(server: GitHttpServer) -> GitOptions:
    return git_options(server)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's, empty: no credentials but those of the options."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_SSL_CAINFO"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


async def refusal(options: GitOptions, *methods: str) -> StoreError:
    """The error of each method (of all, if none is named); none of them shows a secret."""
    counting = Counting(GitStore(options))
    errors: list[StoreError] = []
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: counting.get("vault.json"),
        "list": lambda: counting.list(""),
        "put": lambda: counting.put("vault.json", b"data"),
        "delete": lambda: counting.delete("vault.json"),
    }
    for method in methods or calls:
        with pytest.raises(StoreError) as raised:
            await calls[method]()
        errors.append(raised.value)
    assert len({type(error) for error in errors}) == 1
    for error in errors:
        shown = f"{error} {error.hint} {options!r}"
        assert options.password is None or options.password not in shown
        assert "GIT_STORE" not in shown
        assert error.hint
    return errors[0]


async def test_the_password_is_known_to_git_alone(
    server: GitHttpServer, options: GitOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/words\nexec {real} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    store = GitStore(options)
    await store.put(LOG, b"12345")
    later = GitStore(replace(options, mirror=tmp_path / "later"))
    assert await later.get(LOG) == b"12345"
    words = (tmp_path / "words").read_text()
    assert all(command in words for command in ("push", "fetch", "ls-remote"))
    secret = server.password.encode()
    assert secret not in words.encode()
    for mirror in (options.mirror, tmp_path / "later"):
        assert not any(secret in path.read_bytes() for path in mirror.rglob("*") if path.is_file())


async def test_a_wrong_password(options: GitOptions) -> None:
    error = await refusal(replace(options, password="wrong-password"))
    assert isinstance(error, StoreRefused)
    assert "not accepted" in str(error)
    assert "password" in error.hint


async def test_no_password(options: GitOptions) -> None:
    error = await refusal(replace(options, username=None, password=None))
    assert isinstance(error, StoreRefused)
    assert "no credentials" in str(error)


async def test_a_password_with_a_line_break(options: GitOptions) -> None:
    error = await refusal(replace(options, password="x\nhost=elsewhere"))
    assert "line break" in str(error)


async def test_a_credential_helper_of_the_user_is_asked(server: GitHttpServer, options: GitOptions, home: Path) -> None:
    store = GitStore(replace(options, username=None, password=None))
    with pytest.raises(StoreRefused, match="no credentials"):
        await store.put(LOG, b"12345")
    (home / "secrets").write_text(server.password)
    (home / ".gitconfig").write_text(
        f'[credential "{server.origin}"]\n'
        f'\thelper = "!f() {{ echo username={server.username}; echo \\"password=$(cat {home}/secrets)\\"; }}; f"\n'
    )
    await store.put(LOG, b"12345")
    assert await store.get(LOG) == b"12345"


async def test_a_username_alone_chooses_among_the_users_credentials(
    server: GitHttpServer, options: GitOptions, home: Path
) -> None:
    (home / ".gitconfig").write_text(
        f'[credential]\n\thelper = "!f() {{ cat > {home}/asked; echo \\"password=$(cat {home}/secrets)\\"; }}; f"\n'
    )
    (home / "secrets").write_text(server.password)
    await GitStore(replace(options, password=None)).put(LOG, b"12345")
    assert f"username={server.username}" in (home / "asked").read_text()


async def test_another_host_is_not_told_the_password(server: GitHttpServer, options: GitOptions) -> None:
    other = GitHttpServer()
    other.start()
    try:
        where = {"Location": options.url.replace(server.origin, other.origin) + "/info/refs?service=git-upload-pack"}
        server.instead.append(Instead("GET .*info/refs", 302, where))
        error = await refusal(options, "get")
        assert isinstance(error, StoreRefused)
        assert other.authorizations == []
        assert server.asked
    finally:
        other.stop()


async def test_no_such_repository(options: GitOptions) -> None:
    error = await refusal(replace(options, url=f"{options.url}-not"))
    assert isinstance(error, StoreRefused)
    assert "no such repository" in str(error)
    assert "create it" in error.hint


ANSWERS = [
    ("GET .*git-upload-pack", "get", 403, StoreRefused, "permission denied"),
    ("GET .*git-upload-pack", "list", 429, StoreUnavailable, "overloaded"),
    ("GET .*git-receive-pack", "put", 500, StoreUnavailable, "problem"),
    ("POST .*git-receive-pack", "put", 413, StoreRefused, "too large"),
    ("POST .*git-receive-pack", "put", 503, StoreUnavailable, "problem"),
]


@pytest.mark.parametrize(("request_", "method", "status", "kind", "words"), ANSWERS)
async def test_a_status_says_what_is_wrong(
    server: GitHttpServer,
    options: GitOptions,
    request_: str,
    method: str,
    status: int,
    kind: type[StoreError],
    words: str,
) -> None:
    server.instead.append(Instead(request_, status, {}))
    error = await refusal(options, method)
    assert isinstance(error, kind)
    assert words in str(error)


async def test_a_key_that_may_only_read(server: GitHttpServer, options: GitOptions) -> None:
    await GitStore(options).put(LOG, b"12345")
    server.instead.append(Instead("receive-pack", 403, {}))
    store = GitStore(options)
    assert await store.get(LOG) == b"12345"
    with pytest.raises(StoreRefused, match="permission denied") as refused:
        await store.put("vault.json", b"data")
    assert "write" in refused.value.hint


async def test_a_hook_that_declines(server: GitHttpServer, options: GitOptions) -> None:
    repository = server.folder / options.url.removeprefix(f"{server.origin}/")
    (repository / "hooks").mkdir()
    (repository / "hooks" / "pre-receive").write_text("#!/bin/sh\necho a secret of the server\nexit 1\n")
    (repository / "hooks" / "pre-receive").chmod(0o755)
    error = await refusal(options, "put")
    assert isinstance(error, StoreRefused)
    assert "does not take this push" in str(error)
    assert "secret of the server" not in f"{error} {error.hint}"
    assert "hooks" in error.hint


async def test_a_server_without_shallow_clones(server: GitHttpServer, options: GitOptions) -> None:
    def v0_without_shallow(content: bytes) -> bytes:
        return content.replace(b" shallow", b" shall0w").replace(b" deepen", b" deep3n")

    server.newer_protocol = False
    server.altered = v0_without_shallow
    first = GitStore(options)
    for number in range(3):
        await first.put(f"devices/ab/log/{number:012}", b"12345")
    later = Counting(GitStore(replace(options, mirror=options.mirror.with_name("later"))))
    assert len(list(await later.list(""))) == 3
    assert git("rev-list", "--all", "--count", repository=options.mirror.with_name("later")) == "3"
    await later.put("vault.json", b"{}")
    assert later.snapshot() == Traffic(head=1, get=1, put=1, bytes_down=15, bytes_up=2)


async def test_a_certificate_that_nobody_knows(tmp_path: Path, home: Path) -> None:
    certificate = make_certificate(tmp_path)
    server = GitHttpServer(certificate)
    server.start()
    try:
        options = git_options(server)
        error = await refusal(options)
        assert isinstance(error, StoreUnavailable)
        assert "trusted" in str(error)
        assert "sslCAInfo" in error.hint
        (home / ".gitconfig").write_text(f"[http]\n\tsslCAInfo = {certificate}\n")
        await GitStore(options).put(LOG, b"12345")
    finally:
        server.stop()


async def test_nobody_listens(options: GitOptions) -> None:
    for url in (f"http://127.0.0.1:{free_port()}/x", f"ssh://127.0.0.1:{free_port()}/x"):
        counting = Counting(GitStore(replace(options, url=url)))
        with pytest.raises(StoreUnavailable, match="no connection"):
            await counting.get("vault.json")
        assert counting.snapshot() == Traffic()


@pytest.mark.parametrize("page", [b"", b"<html>welcome</html>\n", b"0000", b"\n"])
@pytest.mark.parametrize("kind", ["text/html", "application/x-git-upload-pack-advertisement"])
async def test_a_login_page_is_no_empty_repository(
    server: GitHttpServer, options: GitOptions, page: bytes, kind: str
) -> None:
    server.instead.append(Instead("GET", 200, {"Content-Type": kind}, page))
    error = await refusal(options, "get", "list", "put", "delete")
    assert isinstance(error, StoreUnavailable)


async def test_a_login_page_that_comes_later_is_no_empty_repository(server: GitHttpServer, options: GitOptions) -> None:
    store, other = GitStore(options), GitStore(replace(options, mirror=options.mirror.with_name("other")))
    await store.put(LOG, b"12345")
    await other.put("vault.json", b"{}")
    server.instead.append(Instead("POST .*upload-pack", 200, {"Content-Type": "text/html"}))
    with pytest.raises(StoreUnavailable):
        await store.list("")
    server.instead[:] = [Instead("GET", 200, {"Content-Type": "text/html"})]
    for call in (store.list(""), store.put("vault.json", b"mine", if_absent=True)):
        with pytest.raises(StoreUnavailable):
            await call
    server.instead.clear()
    assert len(list(await store.list(""))) == 2


async def test_many_readers_share_a_failure(options: GitOptions) -> None:
    counting = Counting(GitStore(replace(options, password="wrong-password")))
    results = await asyncio.gather(*(counting.get(f"roster/{n:06}") for n in range(8)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreRefused] * 8
    assert counting.snapshot() == Traffic(head=1)


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "ssh"])
async def test_a_host_that_says_nothing_is_given_up(options: GitOptions, deaf: int, scheme: str) -> None:
    counting = Counting(GitStore(replace(options, url=f"{scheme}://127.0.0.1:{deaf}/x"), patience=0.3))
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        await counting.get("vault.json")
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        await counting.put("vault.json", b"data")
    assert counting.snapshot() == Traffic(head=2)


async def test_a_program_that_asks_questions_is_ended_with_all_it_started(
    options: GitOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is not deterred by a request to end, and has a child that isn't either.
    asks = tmp_path / "asks"
    asks.write_text(
        f"#!/bin/sh\ntrap '' TERM\n(trap '' TERM; echo $$ > {tmp_path}/child; while :; do sleep 0.1; done) &\n"
        f"cat > {tmp_path}/stdin; (exec < /dev/tty) 2> {tmp_path}/tty; while :; do sleep 0.1; done\n"
    )
    asks.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(asks))
    store = GitStore(replace(options, url="host:x"), patience=0.5)
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        await store.get("vault.json")
    group = int((tmp_path / "child").read_text())
    assert "No such device" in (tmp_path / "tty").read_text()
    assert wait_until(lambda: gone(group), 30)


def gone(process: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return True


async def test_ssh_asks_nothing_and_the_users_way_of_calling_it_counts(
    options: GitOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/words\necho "Permission denied (publickey)." >&2\nexit 255\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "other").write_text((tmp_path / "ssh").read_text())
    (tmp_path / "other").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def words() -> str:
        error = await refusal(replace(options, url="ssh://git@host/x"), "get")
        assert isinstance(error, StoreRefused)
        assert "no key of this device" in str(error)
        assert "ssh-agent" in error.hint
        said = (tmp_path / "words").read_text()
        (tmp_path / "words").unlink()
        return said

    assert "-o BatchMode=yes -o ConnectTimeout=20" in await words()
    (home / ".gitconfig").write_text(f"[core]\n\tsshCommand = {tmp_path}/ssh -i key\n")
    assert "-i key -o BatchMode=yes" in await words()
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{tmp_path}/other -o Own=yes")
    assert (await words()).startswith("-o Own=yes")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{tmp_path}/other")
    assert "BatchMode" not in await words()
    monkeypatch.delenv("GIT_SSH_COMMAND")
    (home / ".gitconfig").unlink()
    monkeypatch.setenv("GIT_SSH", str(tmp_path / "other"))
    assert "BatchMode" not in await words()
