"""Several devices at one repository at the same moment: everything lands, once, and nothing is lost."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest
from git_place import git, new_repository

from claude_syncd.errors import AlreadyExists, StoreRefused, StoreUnavailable
from claude_syncd.store import git as git_store
from claude_syncd.store import git_branch, git_mirror
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.git import GitStore
from claude_syncd.store.git_branch import Branch, Tip
from claude_syncd.store.options import GitOptions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "vault.git")


@pytest.fixture
def stores(repository: Path, tmp_path: Path) -> list[GitStore]:
    """Those of four devices; to each every question seems long ago."""
    options = [GitOptions(url=str(repository), mirror=tmp_path / name) for name in "abcd"]
    return [GitStore(each, now=count().__next__) for each in options]


def files(repository: Path) -> list[str]:
    return git("ls-tree", "-r", "--name-only", "claude-sync", repository=repository).split()


def commits(repository: Path) -> int:
    return int(git("rev-list", "--count", "claude-sync", repository=repository))


async def push_on(store: GitStore, device: str, pushes: int) -> list[str]:
    names = [f"devices/{device}/log/{number:012}" for number in range(pushes)]
    for name in names:
        await store.put(name, name.encode(), if_absent=True)
    return names


@pytest.mark.parametrize("pushes", [10, 50])
async def test_two_devices_push_at_the_same_moment(stores: list[GitStore], repository: Path, pushes: int) -> None:
    written = await asyncio.gather(
        *(push_on(store, name, pushes) for store, name in zip(stores[:2], "ab", strict=True))
    )
    assert files(repository) == sorted([*written[0], *written[1]])
    assert commits(repository) == 2 * pushes
    for store in stores:
        assert [info.name for info in await store.list("")] == files(repository)
        assert await store.get(written[1][3]) == written[1][3].encode()


async def test_one_of_several_devices_wins_a_name(stores: list[GitStore], repository: Path) -> None:
    async def join(store: GitStore, data: bytes) -> bool:
        try:
            await store.put("roster/000001", data, if_absent=True)
        except AlreadyExists:
            return False
        return True

    results = await asyncio.gather(*(join(store, bytes([n]) * 10) for n, store in enumerate(stores)))
    assert sum(results) == 1
    winner = bytes([results.index(True)]) * 10
    assert [await store.get("roster/000001") for store in stores] == [winner] * 4
    assert commits(repository) == 1


async def test_equal_bytes_of_several_devices_have_one_winner(stores: list[GitStore]) -> None:
    results = await asyncio.gather(
        *(store.put("roster/000001", b"same", if_absent=True) for store in stores), return_exceptions=True
    )
    assert sorted(str(type(result).__name__) for result in results) == [*["AlreadyExists"] * 3, "NoneType"]


async def test_a_squash_beside_devices_that_push(stores: list[GitStore], repository: Path) -> None:
    await push_on(stores[2], "c", 5)

    async def squash() -> list[str]:
        for _ in range(3):
            await stores[2].squash()
        return []

    written = await asyncio.gather(squash(), push_on(stores[0], "a", 6), push_on(stores[1], "b", 6))
    await push_on(stores[2], "d", 1)
    assert len(files(repository)) == 5 + 12 + 1
    assert {*written[1], *written[2]} < set(files(repository))
    await stores[3].squash()
    assert commits(repository) == 1
    assert len(files(repository)) == 5 + 12 + 1


async def test_a_squash_forgets_what_is_deleted(stores: list[GitStore], repository: Path, tmp_path: Path) -> None:
    counting = Counting(stores[0])
    for number in range(4):
        await stores[0].put("vault.json", bytes([number]) * 100_000)
    before = counting.snapshot()
    await stores[0].squash()
    assert counting.snapshot() - before == Traffic(head=1, put=1)
    git("gc", "--quiet", "--prune=now", repository=repository)
    sizes = [
        sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        for place in (repository, tmp_path / "a")
    ]
    assert max(sizes) < 200_000
    await stores[0].put("roster/000001", b"next")
    assert await stores[0].get("vault.json") == bytes([3]) * 100_000
    assert commits(repository) == 2


async def test_history_that_the_host_has_forgotten_is_not_missed(stores: list[GitStore], repository: Path) -> None:
    for number, store in enumerate(stores):
        await push_on(store, str(number), 2)
    await stores[0].squash()
    git("gc", "--quiet", "--prune=now", repository=repository)
    await stores[0].delete("devices/1/log/000000000000")
    await stores[0].squash()
    git("gc", "--quiet", "--prune=now", repository=repository)
    for number, store in enumerate(stores[1:], 1):
        await store.put(f"devices/{number}/log/000000000002", b"after")
        assert await store.get("devices/0/log/000000000001") == b"devices/0/log/000000000001"
    assert len(files(repository)) == 8 - 1 + 3


async def test_squashing_nothing_does_nothing(stores: list[GitStore], repository: Path) -> None:
    await stores[0].squash()
    assert git("for-each-ref", repository=repository) == ""


async def test_a_repository_that_takes_no_forced_push_is_not_squashed(stores: list[GitStore], repository: Path) -> None:
    git("config", "receive.denyNonFastForwards", "true", repository=repository)
    await push_on(stores[0], "a", 2)
    with pytest.raises(StoreRefused, match="does not take") as refused:
        await stores[0].squash()
    assert "forced" in refused.value.hint
    await push_on(stores[0], "b", 2)
    await push_on(stores[1], "c", 2)
    assert commits(repository) == 6


async def test_devices_whose_mirrors_are_tidied_all_the_time(
    stores: list[GitStore], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_branch, "TIDY_AFTER", 1)
    monkeypatch.setattr(git_mirror, "MANY_PACKS", -1)
    written = await asyncio.gather(*(push_on(store, name, 5) for store, name in zip(stores[:2], "ab", strict=True)))
    for store in stores[:3]:
        names = [info.name for info in await store.list("")]
        assert names == sorted([*written[0], *written[1]])
        assert await asyncio.gather(*map(store.get, names)) == [name.encode() for name in names]
    assert commits(repository) == 10


async def test_a_mirror_is_tidied_once_in_a_while(
    stores: list[GitStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_branch, "TIDY_AFTER", 3)
    await stores[0].put("roster/000001", b"first")  # it is looked at the first push, too
    loose = tmp_path / "a" / "objects" / "17"
    loose.mkdir(exist_ok=True)
    for number in range(git_mirror.MANY_LOOSE + 1):
        (loose / f"{number:038x}").touch()
    for number in range(3):
        await stores[0].put("vault.json", bytes([number]) * 200_000)
    assert sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file()) < 300_000
    assert git("rev-list", "--all", "--count", repository=tmp_path / "a") == "1"
    await stores[0].put("vault.json", b"next")
    assert await stores[0].get("vault.json") == b"next"


async def test_a_branch_that_never_stands_still_is_given_up(
    stores: list[GitStore], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_store, "ATTEMPTS", 2)
    monkeypatch.setattr(git_store, "PAUSE", 0.0)
    await stores[0].put("roster/000001", b"first")
    pushed = Branch.push

    async def late(branch: Branch, new: Tip, size: int) -> bool:
        tree, commit = (git("rev-parse", f"claude-sync{part}", repository=repository) for part in ("^{tree}", ""))
        made = git("commit-tree", "-p", commit, "-m", "meanwhile", tree, repository=repository)
        git("update-ref", "refs/heads/claude-sync", made, repository=repository)
        return await pushed(branch, new, size)

    with monkeypatch.context() as patch:
        patch.setattr(Branch, "push", late)
        with pytest.raises(StoreUnavailable, match="2 pushes"):
            await stores[0].put("roster/000002", b"second")
        with pytest.raises(StoreUnavailable, match="2 pushes"):
            await stores[0].squash()
    await stores[0].put("roster/000002", b"second")
    assert files(repository) == ["roster/000001", "roster/000002"]
