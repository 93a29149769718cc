"""What others put on the branch of a git store: it is not read, not counted, and does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from git_place import git, new_repository

from claude_syncd.errors import ObjectMissing, StoreError, StoreRefused
from claude_syncd.store import git_mirror, names
from claude_syncd.store.base import ObjectInfo, Span
from claude_syncd.store.git import GitStore
from claude_syncd.store.options import GitOptions

if TYPE_CHECKING:
    from pathlib import Path

LOG = "devices/ab/log/000000000001"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "vault.git")


@pytest.fixture
def store(repository: Path, tmp_path: Path) -> GitStore:
    return GitStore(GitOptions(url=str(repository), mirror=tmp_path / "mirror"))


def tree(repository: Path, *entries: str) -> str:
    """A tree of entries as `git ls-tree` shows them, written without git's checks of names."""
    rows = []
    for entry in entries:
        facts, name = entry.split("\t")
        mode, _, oid = facts.split(" ")
        rows.append(f"{int(mode, 8):o} {name}".encode() + b"\0" + bytes.fromhex(oid))
    words = ("hash-object", "-t", "tree", "-w", "--literally", "--stdin")
    return git(*words, repository=repository, feed=b"".join(rows))


def blob(repository: Path, data: bytes) -> str:
    return git("hash-object", "-w", "--stdin", repository=repository, feed=data)


def commit_tree(repository: Path, root: str) -> None:
    made = git("commit-tree", "-m", "hostile", root, repository=repository)
    git("update-ref", "refs/heads/claude-sync", made, repository=repository)


async def test_what_is_not_ours_is_not_seen(store: GitStore, repository: Path) -> None:
    data = blob(repository, b"data")
    folder = tree(repository, f"100644 blob {data}\tx")
    odd = tree(
        repository,
        f"40000 tree {folder}\t..",
        f"40000 tree {folder}\t.git",
        f"100644 blob {data}\ta b",
        f"100755 blob {data}\texecutable",
        f"120000 blob {data}\tlink",
        f"100644 blob {data}\tordinary",
        f"160000 commit {'1' * 40}\tsubmodule",
        f"40000 tree {folder}\ttmp",
        f"100644 blob {data}\t~",
        f"100644 blob {data}\té",
    )
    commit_tree(repository, odd)
    assert [info.name for info in await store.list("")] == [".git/x", "ordinary"]
    for name in ("executable", "link", "submodule"):
        with pytest.raises(ObjectMissing):
            await store.get(name)
    await store.put(LOG, b"12345")
    assert await store.get("ordinary") == b"data"
    assert "submodule" in git("ls-tree", "--name-only", "claude-sync", repository=repository)


async def test_a_tree_that_holds_itself_over_and_over_is_refused(
    store: GitStore, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_mirror, "MANY_BYTES", 1024 * 1024)
    bomb = tree(repository, f"100644 blob {blob(repository, b'data')}\tx")
    for _ in range(8):
        bomb = tree(repository, *(f"40000 tree {bomb}\t{n:02}" for n in range(20)))
    commit_tree(repository, bomb)
    with pytest.raises(StoreRefused, match="too many files"):
        await store.list("")


async def test_an_object_larger_than_any_is_not_read(
    store: GitStore, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MAX_OBJECT", 10_000)
    data = blob(repository, bytes(10_001))
    commit_tree(repository, tree(repository, f"100644 blob {data}\tvault.json"))
    with pytest.raises(StoreRefused, match="larger"):
        await store.get("vault.json")
    assert await store.get("vault.json", Span(5, 5)) == bytes(5)
    assert list(await store.list("")) == [ObjectInfo("vault.json", 10_001)]


async def test_a_branch_that_is_no_tree_is_an_error(store: GitStore, repository: Path) -> None:
    branch = repository / "refs" / "heads" / "claude-sync"
    branch.write_text(f"{'1' * 40}\n")
    with pytest.raises(StoreError):
        await store.get("vault.json")
