"""The store in a git repository: what a call costs, who sees what, and what shares a request."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest
from git_place import git, new_repository

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreRefused
from claude_syncd.store import git as git_store
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo, Span
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.git import GitStore
from claude_syncd.store.git_branch import WINDOW
from claude_syncd.store.open import open_store
from claude_syncd.store.options import GitOptions

if TYPE_CHECKING:
    from pathlib import Path

LOG = "devices/ab/log/000000000001"
NEXT = ("devices/ab/log/000000000002", "devices/cd/log/000000000001", "roster/000003")


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "vault.git")


@pytest.fixture
def options(repository: Path, tmp_path: Path) -> GitOptions:
    return GitOptions(url=str(repository), mirror=tmp_path / "mirror")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(options: GitOptions, clock: Clock) -> Counting:
    return Counting(GitStore(options, now=clock))


@pytest.fixture
def other(options: GitOptions, tmp_path: Path) -> GitStore:
    """Another device's; to it every question seems long ago."""
    return GitStore(replace(options, mirror=tmp_path / "other"), now=count().__next__)


def commits(repository: Path) -> int:
    return int(git("rev-list", "--count", "claude-sync", repository=repository))


async def test_a_put_is_one_push_and_one_commit(store: Counting, repository: Path) -> None:
    await store.put(LOG, b"12345")
    before = store.snapshot()
    await store.put(NEXT[0], b"678")
    assert store.snapshot() - before == Traffic(put=1, bytes_up=3)
    assert commits(repository) == 2
    assert git("show", f"claude-sync:{NEXT[0]}", repository=repository) == "678"


async def test_a_poll_of_names_that_are_missing_asks_once_and_fetches_nothing(store: Counting, clock: Clock) -> None:
    await store.put(LOG, b"12345")
    clock.time += 60
    before = store.snapshot()

    async def poll(name: str) -> None:
        with pytest.raises(ObjectMissing):
            await store.get(name)

    await asyncio.gather(*map(poll, NEXT))
    for name in NEXT:
        await poll(name)
    assert store.snapshot() - before == Traffic(head=1)
    clock.time += WINDOW + 0.01
    await poll(NEXT[0])
    assert store.snapshot() - before == Traffic(head=2)


async def test_a_question_under_way_answers_a_poll_that_comes_later(store: Counting, clock: Clock) -> None:
    await store.put(LOG, b"12345")
    clock.time += 60
    before = store.snapshot()
    first = asyncio.create_task(store.get(NEXT[0]))
    for _ in range(5):  # until git has been called
        await asyncio.sleep(0)
    second = asyncio.create_task(store.get(NEXT[1]))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [ObjectMissing, ObjectMissing]
    assert store.snapshot() - before == Traffic(head=1)


async def test_news_is_fetched_once_and_read_without_asking(store: Counting, other: GitStore, clock: Clock) -> None:
    await store.put(LOG, b"12345")
    for name in NEXT:
        await other.put(name, b"news")
    clock.time += 60
    before = store.snapshot()
    assert await asyncio.gather(*map(store.get, NEXT)) == [b"news"] * 3
    assert store.snapshot() - before == Traffic(head=1, get=1, bytes_down=12)
    clock.time += 60
    assert await asyncio.gather(*map(store.get, NEXT)) == [b"news"] * 3
    assert store.snapshot() - before == Traffic(head=1, get=1, bytes_down=12)


@pytest.mark.parametrize("name", ["vault.json", "keys/passphrase.age"])
async def test_what_may_change_is_asked_for_at_every_read(
    store: Counting, other: GitStore, clock: Clock, name: str
) -> None:
    await store.put(name, b"first")
    await store.get(name)
    await other.put(name, b"second")
    assert await store.get(name) == b"second"
    await other.delete(name)
    with pytest.raises(ObjectMissing):
        await store.get(name)


async def test_reads_of_what_may_change_share_a_question_that_begins_after_them(store: Counting) -> None:
    await store.put("vault.json", b"first")
    before = store.snapshot()
    assert await asyncio.gather(*(store.get("vault.json") for _ in range(8))) == [b"first"] * 8
    assert store.snapshot() - before == Traffic(head=1)


async def test_a_listing_shows_what_others_put_just_now(store: Counting, other: GitStore) -> None:
    assert list(await store.list("")) == []
    await other.put(LOG, b"12345")
    assert list(await store.list("devices/")) == [ObjectInfo(LOG, 5)]


async def test_puts_that_wait_together_share_a_push(store: Counting, repository: Path) -> None:
    await store.put(LOG, b"12345")
    before = store.snapshot()
    objects = {f"devices/ab/packs/{n:064x}": secrets.token_bytes(100) for n in range(40)}
    await asyncio.gather(*(store.put(name, data) for name, data in objects.items()))
    assert store.snapshot() - before == Traffic(put=1, bytes_up=4000)
    assert commits(repository) == 2
    assert await asyncio.gather(*map(store.get, objects)) == list(objects.values())


async def test_deletes_that_wait_together_share_a_push(store: Counting, repository: Path) -> None:
    names = [f"devices/ab/packs/{n:064x}" for n in range(40)]
    await asyncio.gather(*(store.put(name, b"x") for name in names))
    before = store.snapshot()
    await asyncio.gather(*map(store.delete, names[:39]))
    assert store.snapshot() - before == Traffic(put=1)
    assert [info.name for info in await store.list("")] == names[39:]
    assert git("ls-tree", "-r", "--name-only", "claude-sync", repository=repository) == names[39]


async def test_changes_of_one_name_that_wait_together_are_made_in_their_order(store: Counting) -> None:
    await store.put("keys/a.age", b"old")
    results = await asyncio.gather(
        store.put("keys/a.age", b"lost", if_absent=True),
        store.delete("keys/a.age"),
        store.put("keys/a.age", b"new", if_absent=True),
        store.put("keys/a.age", b"lost", if_absent=True),
        store.put("keys/b.age", b"gone"),
        store.delete("keys/b.age"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [AlreadyExists, *[type(None)] * 2, AlreadyExists, *[type(None)] * 2]
    assert await store.get("keys/a.age") == b"new"
    assert [info.name for info in await store.list("")] == ["keys/a.age"]


async def test_a_push_takes_only_so_much(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_store, "BATCH", 1500)
    await asyncio.gather(*(store.put(f"devices/ab/packs/{n}", bytes(1000)) for n in range(5)))
    traffic = store.snapshot()
    assert (traffic.put, traffic.bytes_up) == (3, 5000)
    monkeypatch.setattr(git_store, "MANY", 2)
    await asyncio.gather(*(store.delete(f"devices/ab/packs/{n}") for n in range(5)))
    assert store.snapshot().put == 6


async def test_large_objects_come_back_whole_and_in_part(store: Counting, other: GitStore) -> None:
    data = secrets.token_bytes(MAX_OBJECT)
    await store.put("devices/ab/packs/a", data)
    assert await other.get("devices/ab/packs/a") == data
    assert await other.get("devices/ab/packs/a", Span(-40, 40)) == data[-40:]
    assert await other.get("devices/ab/packs/a", Span(9_000_000, 5000)) == data[9_000_000:9_005_000]


async def test_a_condition_is_held_against_what_others_put_meanwhile(
    store: Counting, other: GitStore, repository: Path
) -> None:
    await store.put("roster/000001", b"mine")
    await other.put("roster/000002", b"theirs")
    results = await asyncio.gather(
        store.put("roster/000002", b"mine", if_absent=True),
        store.put(LOG, b"mine", if_absent=True),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [AlreadyExists, type(None)]
    assert await store.get("roster/000002") == b"theirs"
    assert commits(repository) == 3


async def test_a_condition_is_not_held_against_what_others_deleted(store: Counting, other: GitStore) -> None:
    await store.put("roster/000001", b"first")
    await other.delete("roster/000001")
    await store.put("roster/000001", b"second", if_absent=True)
    assert await other.get("roster/000001") == b"second"


async def test_what_others_put_can_be_deleted(store: Counting, other: GitStore) -> None:
    await store.put(LOG, b"12345")
    await other.put(NEXT[0], b"678")
    await store.delete(NEXT[0])
    assert [info.name for info in await other.list("")] == [LOG]


async def test_deleting_what_nobody_has_pushes_nothing(store: Counting, repository: Path) -> None:
    await store.put(LOG, b"12345")
    await store.delete(NEXT[0])
    await asyncio.gather(*map(store.delete, NEXT))
    assert commits(repository) == 1
    assert store.snapshot().put == 1


async def test_an_object_is_never_put_over_others(store: Counting) -> None:
    await store.put("roster/a", b"first")
    for name in ("roster", "roster/a/b"):
        with pytest.raises(StoreRefused, match="roster/a"):
            await store.put(name, b"second")
    assert await store.get("roster/a") == b"first"


async def test_stores_share_a_repository_by_prefix_and_by_branch(options: GitOptions, tmp_path: Path) -> None:
    stores = [
        GitStore(options),
        GitStore(replace(options, prefix="a/b", mirror=tmp_path / "1")),
        GitStore(replace(options, prefix="/a/bc/", mirror=tmp_path / "2")),
        GitStore(replace(options, branch="more/vaults", mirror=tmp_path / "3")),
    ]
    for number, store in enumerate(stores):
        await store.put("vault.json", bytes([number]))
    for number, store in enumerate(stores[1:], 1):
        assert list(await store.list("")) == [ObjectInfo("vault.json", 1)]
        assert await store.get("vault.json") == bytes([number])
    assert [store.address.removeprefix(f"file://{options.url}") for store in stores] == [
        "#claude-sync",
        "#claude-sync/a/b",
        "#claude-sync/a/bc",
        "#more/vaults",
    ]


@pytest.mark.parametrize(("words", "hashes"), [((), 40), (("--object-format=sha256",), 64)])
@pytest.mark.parametrize("default", ["main", "claude-sync", "claude/x"])
async def test_a_repository_may_be_empty_of_any_hash_and_with_any_default(
    tmp_path: Path, words: tuple[str, ...], hashes: int, default: str
) -> None:
    repository = new_repository(tmp_path / "r.git", f"--initial-branch={default}", *words)
    first, second = (
        GitStore(GitOptions(url=str(repository), mirror=tmp_path / name), now=count().__next__) for name in "ab"
    )
    with pytest.raises(ObjectMissing):
        await second.get(LOG)
    await first.put(LOG, b"12345")
    assert len(git("rev-parse", "claude-sync", repository=repository)) == hashes
    assert list(await second.list("")) == [ObjectInfo(LOG, 5)]
    await second.put(NEXT[0], b"678")
    assert await first.get(NEXT[0]) == b"678"


async def test_a_device_that_comes_later_fetches_no_history(
    store: Counting, options: GitOptions, tmp_path: Path
) -> None:
    for number in range(5):
        await store.put("vault.json", secrets.token_bytes(50_000))
        await store.put(f"devices/ab/log/{number:012}", b"x")
    later = Counting(GitStore(replace(options, mirror=tmp_path / "later")))
    assert len(list(await later.list(""))) == 6
    assert later.snapshot() == Traffic(head=1, get=1, bytes_down=50_005)
    assert git("rev-list", "--all", "--count", repository=tmp_path / "later") == "1"
    assert sum(path.stat().st_size for path in (tmp_path / "later").rglob("*") if path.is_file()) < 100_000


async def test_a_mirror_serves_the_next_run_without_fetching(store: Counting, options: GitOptions) -> None:
    await store.put(LOG, b"12345")
    again = Counting(GitStore(options))
    assert await again.get(LOG) == b"12345"
    assert again.snapshot() == Traffic(head=1)


async def test_a_branch_that_is_gone_is_empty(store: Counting, repository: Path, clock: Clock) -> None:
    await store.put(LOG, b"12345")
    git("update-ref", "-d", "refs/heads/claude-sync", repository=repository)
    assert list(await store.list("")) == []
    with pytest.raises(ObjectMissing):
        await store.get(LOG)
    await store.put(NEXT[0], b"678")
    assert [info.name for info in await store.list("")] == [NEXT[0]]


async def test_a_put_goes_on_when_the_branch_vanished(store: Counting, repository: Path) -> None:
    await store.put(LOG, b"12345")
    git("update-ref", "-d", "refs/heads/claude-sync", repository=repository)
    await store.put(NEXT[0], b"678")
    assert [info.name for info in await store.list("")] == [NEXT[0]]


async def test_a_writer_that_gives_up_leaves_the_others_to_go_on(store: Counting) -> None:
    await store.put(LOG, b"12345")
    tasks = [asyncio.create_task(store.put(name, b"678")) for name in NEXT]
    for _ in range(5):
        await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, type(None), type(None)]
    assert {*NEXT[1:], LOG} <= {info.name for info in await store.list("")}


async def test_a_reader_that_gives_up_leaves_the_others_to_go_on(store: Counting, other: GitStore) -> None:
    await other.put(NEXT[1], b"678")
    tasks = [asyncio.create_task(store.get(name)) for name in NEXT[:2]]
    for _ in range(20):
        await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] == b"678"


async def test_an_opened_store_is_wrapped_like_any_other(options: GitOptions) -> None:
    opened = open_store(options)
    await opened.store.put(LOG, b"12345")
    assert await opened.store.get(LOG) == b"12345"
    assert opened.counter.snapshot() == Traffic(put=1, head=1, bytes_up=5)
    await opened.store.close()
