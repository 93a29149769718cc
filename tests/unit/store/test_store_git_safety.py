"""What must not matter to a git store: the configuration, environment and folders that it finds."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from git_place import git, new_repository

from claude_syncd.errors import ObjectMissing, StoreRefused, StoreUnavailable
from claude_syncd.store.git import GitStore
from claude_syncd.store.options import GitOptions

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = "devices/ab/log/000000000001"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "vault.git")


@pytest.fixture
def options(repository: Path, tmp_path: Path) -> GitOptions:
    return GitOptions(url=str(repository), mirror=tmp_path / "mirror")


@pytest.fixture
def store(options: GitOptions) -> GitStore:
    return GitStore(options)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the user's git configuration."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()

    def write(text: str) -> None:
        (tmp_path / "home" / ".gitconfig").write_text(text)

    return write


async def use(store: GitStore) -> None:
    await store.put("vault.json", b"first")
    await store.put("vault.json", b"line\r\nline\n")
    await store.put(LOG, b"12345", if_absent=True)
    await store.delete("roster/000001")
    assert await store.get("vault.json") == b"line\r\nline\n"
    assert [info.name for info in await store.list("")] == [LOG, "vault.json"]
    await store.squash()
    assert await store.get(LOG) == b"12345"


def hooks(folder: Path, witness: Path) -> None:
    folder.mkdir(parents=True)
    names = ["pre-push", "reference-transaction", "pre-receive", "update", "post-receive", "post-update", "pre-auto-gc"]
    for name in [*names, "proc-receive", "push-to-checkout", "post-checkout", "pre-commit", "commit-msg"]:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> {witness}\nexit 1\n")
        (folder / name).chmod(0o755)


HOSTILE = """\
[commit]
\tgpgSign = true
[tag]
\tgpgSign = true
[user]
\tuseConfigOnly = true
\tsigningKey = none
[gpg]
\tprogram = /bin/false
[core]
\thooksPath = {folder}/hooks
\tautocrlf = true
\teol = crlf
\teditor = /bin/false
\tattributesFile = {folder}/attributes
\tfsmonitor = {folder}/hooks/pre-commit
\tcompression = 9
\taskPass = {folder}/hooks/pre-commit
\tworktree = {folder}
\tbare = false
\tlogAllRefUpdates = always
\tsharedRepository = world
[init]
\ttemplateDir = {folder}/template
\tdefaultBranch = claude-sync
\tdefaultObjectFormat = sha256
[push]
\tdefault = mirror
\tgpgSign = true
\tfollowTags = true
\tpushOption = x
\tautoSetupRemote = true
\trecurseSubmodules = only
[remote]
\tpushDefault = nowhere
[fetch]
\tprune = true
\tfsckObjects = true
\tnegotiationAlgorithm = noop
\trecurseSubmodules = true
[transfer]
\tfsckObjects = true
\thideRefs = refs/heads
[receive]
\tdenyNonFastForwards = true
\tdenyDeletes = true
\tfsckObjects = true
[uploadpack]
\tpackObjectsHook = {folder}/hooks/pre-commit
[gc]
\tauto = 1
\tautoDetach = false
\trecentObjectsHook = {folder}/hooks/pre-commit
[protocol]
\tallow = never
[protocol "file"]
\tallow = never
[safe]
\tbareRepository = explicit
[alias]
\tpush = !false
[trace2]
\tnormalTarget = {folder}/trace
[include]
\tpath = {folder}/more
"""


async def test_a_hostile_configuration_of_the_user_changes_nothing(
    store: GitStore, tmp_path: Path, configured: Callable[[str], None]
) -> None:
    configured(HOSTILE.format(folder=tmp_path))
    witness = tmp_path / "witness"
    hooks(tmp_path / "hooks", witness)
    hooks(tmp_path / "template" / "hooks", witness)
    (tmp_path / "attributes").write_text("* text eol=crlf ident filter=x\n")
    (tmp_path / "more").write_text('[core]\n\tpager = false\n[filter "x"]\n\tclean = false\n\trequired = true\n')
    await use(store)
    assert not witness.exists()
    assert not (tmp_path / "trace").exists()
    assert not (tmp_path / "mirror" / "hooks").exists()


async def test_the_environment_leads_git_nowhere_else(
    store: GitStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Callable[[str], None]
) -> None:
    configured("")
    elsewhere = new_repository(tmp_path / "elsewhere.git")
    hooks(tmp_path / "hooks", tmp_path / "witness")
    for name in ("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(elsewhere))
    for name in ("GIT_INDEX_FILE", "GIT_TRACE", "GIT_TRACE2", "GIT_SHALLOW_FILE", "GIT_TRACE_CURL"):
        monkeypatch.setenv(name, str(tmp_path / "index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(elsewhere / "objects"))
    monkeypatch.setenv("GIT_NAMESPACE", "other")
    monkeypatch.setenv("GIT_EXEC_PATH", "/nowhere")
    monkeypatch.setenv("GIT_ASKPASS", str(tmp_path / "hooks" / "pre-commit"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "hooks"))
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    await use(store)
    assert not (tmp_path / "witness").exists()
    assert not (tmp_path / "index").exists()
    assert git("count-objects", repository=elsewhere).startswith("0 objects")
    monkeypatch.delenv("GIT_DIR")


async def test_the_configuration_may_rewrite_the_url(
    options: GitOptions, repository: Path, tmp_path: Path, configured: Callable[[str], None]
) -> None:
    configured(f'[url "{tmp_path}/"]\n\tinsteadOf = https://host.invalid/\n')
    # The folder is reached as the user says; git itself starts the other side then, and hooks are no matter of ours.
    store = GitStore(replace(options, url=f"https://host.invalid/{repository.name}"))
    await store.put(LOG, b"12345")
    assert git("show", f"claude-sync:{LOG}", repository=repository) == "12345"


@pytest.mark.parametrize("transport", ["ext::sh -c 'touch {witness}' %S ", "fd::7,", "git://127.0.0.1:1/"])
async def test_a_rewritten_url_does_not_lead_to_other_transports(
    options: GitOptions, tmp_path: Path, configured: Callable[[str], None], transport: str
) -> None:
    witness = tmp_path / "witness"
    configured(f'[url "{transport.format(witness=witness)}"]\n\tinsteadOf = https://host.invalid/\n')
    with pytest.raises(StoreRefused, match="transport that is not allowed"):
        await GitStore(replace(options, url="https://host.invalid/x")).get("vault.json")
    assert not witness.exists()


async def test_a_configuration_that_cannot_be_read_is_said_to_be_so(
    store: GitStore, configured: Callable[[str], None]
) -> None:
    configured("[broken\n")
    with pytest.raises(StoreRefused, match="configuration"):
        await store.get("vault.json")
    configured("")
    with pytest.raises(ObjectMissing):
        await store.get("vault.json")


async def test_a_repository_on_a_disk_runs_none_of_its_hooks(store: GitStore, repository: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    hooks(repository / "hooks", witness)
    git("config", "core.hooksPath", str(repository / "hooks"), repository=repository)
    git("config", "core.alternateRefsCommand", f"touch {witness}; false", repository=repository)
    (repository / "objects" / "info" / "alternates").write_text(f"{new_repository(tmp_path / 'more.git')}/objects\n")
    await use(store)
    assert not witness.exists()


async def test_the_mirror_is_private(store: GitStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await store.put(LOG, b"12345")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mirror").stat().st_mode) == 0o700
    assert not (tmp_path / "mirror" / "index").exists()


@pytest.mark.parametrize("held", ["a file", "a repository of somebody else"])
async def test_a_folder_of_others_is_not_taken_for_the_mirror(store: GitStore, tmp_path: Path, held: str) -> None:
    if held == "a file":
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / "letter").write_text("dear")
    else:
        new_repository(tmp_path / "mirror")
    before = sorted((tmp_path / "mirror").rglob("*"))
    with pytest.raises(StoreRefused, match="holds other things"):
        await store.get("vault.json")
    assert sorted((tmp_path / "mirror").rglob("*")) == before


@pytest.mark.parametrize(
    "branch", ["-f", "a..b", "a/", "/a", "a.lock", "a.lock/b", "a b", "a:b", "", "a//b", "@{1}", "a/.b"]
)
async def test_a_name_that_no_branch_can_have_is_refused(options: GitOptions, branch: str) -> None:
    with pytest.raises(StoreRefused, match="branch"):
        await GitStore(replace(options, branch=branch)).get("vault.json")


@pytest.mark.parametrize("prefix", ["../x", "a b", "a//b", ".git/../x"])
async def test_a_prefix_that_leads_elsewhere_is_refused(options: GitOptions, prefix: str) -> None:
    with pytest.raises(StoreRefused, match="prefix"):
        await GitStore(replace(options, prefix=prefix)).get("vault.json")


URLS = [
    *(
        "ext::sh -c date",
        "fd::7",
        "--upload-pack=date",
        "-",
        "-x",
        "git://127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "x",
        "x/y",
    ),
    *("ssh://-oProxyCommand=date/x", "-oProxyCommand=date:x", "a@-oProxyCommand=date:x", "host:-x", "ssh://host"),
    *("u:p4ssw0rd@host:x", "u:p4ss/w0rd@host:x", "https://u:p4ss/w0rd@host/x", "https://u:p4ssw0rd@host:/x@y"),
    *("https://", "https://-x/y", "host::x", "https://a b/c", "/a\nb", "ssh://u:p4ssw0rd@host/x", "./a", "~u/x", ""),
    *("https://u:p4ssw0rd@127.0.0.1/x", "https://t0ken@127.0.0.1/x", "http://u:p4ss@w0rd@127.0.0.1/x"),
]


@pytest.mark.parametrize("url", URLS)
async def test_other_urls_are_refused_without_being_told(options: GitOptions, url: str) -> None:
    store = GitStore(replace(options, url=url))
    for call in (
        store.get("vault.json"),
        store.put("vault.json", b""),
        store.list(""),
        store.delete("x"),
        store.squash(),
    ):
        with pytest.raises(StoreRefused) as refused:
            await call
        shown = f"{refused.value} {refused.value.hint} {store.address}"
        assert not any(secret in shown for secret in ("p4ss", "w0rd", "t0ken"))
        assert refused.value.hint
    assert not options.mirror.exists()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://host/me/x.git", "https://host/me/x.git#claude-sync"),
        ("https://host:8443/x", "https://host:8443/x#claude-sync"),
        ("ssh://git@host:22/x", "ssh://git@host:22/x#claude-sync"),
        ("git@host:me/x.git", "git@host:me/x.git#claude-sync"),
        ("host:x", "host:x#claude-sync"),
        ("[::1]:x", "[::1]:x#claude-sync"),
        ("/a/b c", "file:///a/b%20c#claude-sync"),
        ("file:///a/b", "file:///a/b#claude-sync"),
        ("~/b", f"{Path.home().as_uri()}/b#claude-sync"),
    ],
)
def test_an_address_is_url_and_branch(options: GitOptions, url: str, address: str) -> None:
    assert GitStore(replace(options, url=url)).address == address


async def test_a_disk_that_is_not_there_is_passing(options: GitOptions, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    for path in (tmp_path / "mount", tmp_path / "nothing", tmp_path / "mount" / "vault.git"):
        store = GitStore(replace(options, url=str(path)))
        with pytest.raises(StoreUnavailable, match="no such repository") as unavailable:
            await store.put("vault.json", b"data")
        assert f"git init --bare {path}" in unavailable.value.hint
    assert list((tmp_path / "mount").iterdir()) == []


async def test_an_archived_folder_is_a_name_like_any_other(options: GitOptions, tmp_path: Path) -> None:
    store = GitStore(replace(options, url=str(tmp_path / "archived, read-only, quota exceeded the limit")))
    with pytest.raises(StoreUnavailable, match="no such repository"):
        await store.get("vault.json")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a repository to another user")
async def test_a_repository_of_another_user_has_to_be_trusted(
    options: GitOptions, repository: Path, configured: Callable[[str], None]
) -> None:
    configured("")
    for path in [repository, *repository.rglob("*")]:
        os.chown(path, 65534, 65534)
    store = GitStore(options)
    with pytest.raises(StoreRefused, match="another user") as refused:
        await store.put(LOG, b"12345")
    assert "safe.directory" in refused.value.hint
    configured(f"[safe]\n\tdirectory = {repository}\n")
    await store.put(LOG, b"12345")


async def test_there_may_be_no_git(options: GitOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    store = GitStore(options)
    with pytest.raises(StoreRefused, match="git can't be run") as refused:
        await store.put(LOG, b"12345")
    assert "install git" in refused.value.hint


async def test_git_may_be_too_old(options: GitOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\necho git version 2.25.1\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(StoreRefused, match=r"git 2\.25 is too old"):
        await GitStore(options).get("vault.json")
