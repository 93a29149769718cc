"""The private copy of the repository: killed commands, lock files, damage, and a disk that is full."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from git_http import GitHttpServer
from git_place import git, git_options, new_repository

from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.store import git_branch, git_remote
from claude_syncd.store.base import ObjectInfo
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.git import GitStore
from claude_syncd.store.limit import Limited
from claude_syncd.store.options import GitOptions
from claude_syncd.store.retry import Retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOG = "devices/ab/log/000000000001"
NEXT = "devices/ab/log/000000000002"


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
def other(options: GitOptions, tmp_path: Path) -> GitStore:
    return GitStore(replace(options, mirror=tmp_path / "other"))


@pytest.fixture
def server() -> Iterator[GitHttpServer]:
    made = GitHttpServer()
    made.start()
    yield made
    made.stop()


LOCKS = [
    "index.lock",
    "HEAD.lock",
    "config.lock",
    "shallow.lock",
    "packed-refs.lock",
    "objects/info/commit-graphs.lock",
]
REFS = ["refs/claude-sync/fetched.lock", "refs/claude-sync/written.lock"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_lock_files_of_killed_commands_are_taken_away(
    options: GitOptions, other: GitStore, restarted: bool
) -> None:
    store = GitStore(options)
    await store.put(LOG, b"12345")
    await other.put(NEXT, b"678")
    for name in (*LOCKS, *REFS):
        (options.mirror / name).parent.mkdir(parents=True, exist_ok=True)
        (options.mirror / name).touch()
    (options.mirror / "fast_import_crash_1").touch()
    if restarted:
        store = GitStore(options)
    assert [info.name for info in await store.list("")] == [LOG, NEXT]
    await store.put("vault.json", b"more")
    await store.squash()
    if restarted:
        assert not list(options.mirror.rglob("*.lock"))
        assert not list(options.mirror.glob("fast_import_crash_*"))


def empty(mirror: Path) -> None:
    for path in mirror.rglob("*"):
        if path.is_file() and path.parent.parent.name == "objects":
            path.chmod(0o600)
            path.write_bytes(b"")


def cut_packs(mirror: Path) -> None:
    packs = list(mirror.rglob("*.pack"))
    assert packs
    for pack in packs:
        pack.chmod(0o600)
        os.truncate(pack, pack.stat().st_size // 2)


def lose_objects(mirror: Path) -> None:
    shutil.rmtree(mirror / "objects")


def lose_a_blob(mirror: Path) -> None:
    oid = git("hash-object", "--stdin", feed=b"12345")
    (mirror / "objects" / oid[:2] / oid[2:]).unlink()


def lose_head(mirror: Path) -> None:
    (mirror / "HEAD").unlink()


def garble_head(mirror: Path) -> None:
    (mirror / "HEAD").write_bytes(b"\0garbage")


def garble_config(mirror: Path) -> None:
    (mirror / "config").write_text("[broken\n")


def lose_all(mirror: Path) -> None:
    shutil.rmtree(mirror)


DAMAGE = [empty, cut_packs, lose_objects, lose_a_blob, lose_head, garble_head, garble_config, lose_all]


@pytest.mark.parametrize(
    ("damage", "restarted"),
    [
        *((damage, False) for damage in DAMAGE),
        (cut_packs, True),
        (lose_a_blob, True),
        (lose_head, True),
        (garble_config, True),
    ],
)
async def test_a_damaged_mirror_is_made_anew(
    options: GitOptions, other: GitStore, damage: Callable[[Path], None], restarted: bool
) -> None:
    # Enough objects for a pack.
    await asyncio.gather(*(other.put(f"devices/cd/packs/{n:03}", bytes([n]) * 500) for n in range(120)))
    store = GitStore(options)
    await store.put(LOG, b"12345")
    assert await store.get("devices/cd/packs/007") == bytes([7]) * 500
    damage(options.mirror)
    if restarted:
        store = GitStore(options)
    reads = await asyncio.gather(*(store.get(f"devices/cd/packs/{n:03}") for n in range(20)))
    assert reads == [bytes([n]) * 500 for n in range(20)]
    await store.put(NEXT, b"678")
    assert await store.get(LOG) == b"12345"
    assert len(list(await other.list(""))) == 122


@pytest.mark.parametrize("damage", [cut_packs, lose_objects, garble_head])
async def test_a_put_into_a_damaged_mirror_lands(
    options: GitOptions, other: GitStore, damage: Callable[[Path], None]
) -> None:
    await asyncio.gather(*(other.put(f"devices/cd/packs/{n:03}", bytes([n]) * 500) for n in range(120)))
    store = GitStore(options)
    await store.put(LOG, b"12345")
    await other.put("devices/cd/log/000000000001", b"meanwhile")
    damage(options.mirror)
    await asyncio.gather(store.put(NEXT, b"678"), store.put("vault.json", b"{}"))
    assert len(list(await other.list(""))) == 124
    assert await other.get(NEXT) == b"678"


async def test_a_squash_with_a_damaged_mirror(options: GitOptions, other: GitStore) -> None:
    store = GitStore(options)
    await store.put(LOG, b"12345")
    await store.put(NEXT, b"678")
    lose_objects(options.mirror)
    await store.squash()
    assert git("rev-list", "--count", "claude-sync", repository=Path(options.url)) == "1"
    assert [info.name for info in await other.list("")] == [LOG, NEXT]


async def test_dropped_history_is_gone_at_the_host(options: GitOptions, other: GitStore) -> None:
    store = GitStore(options)
    for name in (LOG, NEXT):
        await store.put(name, b"12345")
    await store.delete(LOG)
    await Retrying(Limited(store, 2)).drop_history()
    assert git("rev-list", "--count", "claude-sync", repository=Path(options.url)) == "1"
    assert [info.name for info in await other.list("")] == [NEXT]


async def test_a_mirror_that_breaks_again_is_not_made_anew_at_once(options: GitOptions) -> None:
    clock = 0.0
    store = GitStore(options, now=lambda: clock)
    await store.put(LOG, b"12345")
    lose_objects(options.mirror)
    assert await store.get(LOG) == b"12345"
    lose_objects(options.mirror)
    with pytest.raises(StoreRefused, match="although it was made anew"):
        await store.get(LOG)
    clock += git_branch.REMAKE_AGAIN
    assert await store.get(LOG) == b"12345"


async def test_many_readers_of_a_damaged_mirror_fetch_once(options: GitOptions) -> None:
    counting = Counting(GitStore(options))
    names = [f"devices/ab/packs/{n}" for n in range(10)]
    await asyncio.gather(*(counting.put(name, b"12345") for name in names))
    before = counting.snapshot()
    lose_objects(options.mirror)
    assert await asyncio.gather(*map(counting.get, names)) == [b"12345"] * 10
    assert counting.snapshot() - before == Traffic(head=1, get=1, bytes_down=50)


async def test_what_was_read_from_and_is_gone_is_no_damage(
    options: GitOptions, other: GitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GitStore(options, now=count().__next__)
    await store.put("vault.json", b"first")
    branch = await store._branch()
    old = branch.tip
    assert old is not None
    await other.put("vault.json", b"second, longer")
    assert await store.get("vault.json") == b"second, longer"
    await store.squash()
    # As if the first read had taken until now.
    assert await branch.read(old, "vault.json", None) == b"second, longer"
    assert (options.mirror / "FETCH_HEAD").exists()  # the mirror is the one that it was


def pushes() -> list[int]:
    """The processes of git that this one has started to push."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(os.getpid()) and b"\0push\0" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


async def test_git_killed_in_the_middle_of_a_push(server: GitHttpServer) -> None:
    options = git_options(server)
    store = GitStore(options)
    await store.put(LOG, b"12345")
    with server.held("POST .*receive-pack") as reached:
        task = asyncio.create_task(store.put(NEXT, b"678"))
        assert await asyncio.to_thread(reached.wait, 30)
        [process] = pushes()
        os.killpg(process, signal.SIGKILL)
        with pytest.raises(StoreUnavailable):
            await task
    assert await store.get(LOG) == b"12345"
    await store.put(NEXT, b"678")
    assert list(await store.list("")) == [ObjectInfo(LOG, 5), ObjectInfo(NEXT, 3)]


async def test_a_caller_that_gives_up_in_the_middle_of_a_push_leaves_no_process(server: GitHttpServer) -> None:
    options = git_options(server)
    store = GitStore(options)
    with server.held("POST .*receive-pack") as reached:
        task = asyncio.create_task(store.put(LOG, b"12345"))
        assert await asyncio.to_thread(reached.wait, 30)
        assert pushes()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not pushes()
    await store.put(NEXT, b"678")
    assert NEXT in {info.name for info in await store.list("")}


PUT = """
import asyncio, sys
from pathlib import Path
from claude_syncd.store.git import GitStore
from claude_syncd.store.options import GitOptions

async def main():
    store = GitStore(GitOptions(url=sys.argv[1], mirror=Path(sys.argv[2])))
    for number in range(int(sys.argv[3])):
        await store.put(f"devices/ab/log/{number:012}", bytes(20_000))
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 2])
async def test_a_process_killed_while_it_pushes(options: GitOptions, after: int) -> None:
    # The interpreter itself, so that it is what gets killed.
    words = [str(Path(sys.executable).resolve()), "-c", PUT, options.url, str(options.mirror), "1000"]
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    for _ in range(after):
        await asyncio.to_thread(process.stdout.readline)
    process.kill()
    process.wait()
    process.stdout.close()
    store = GitStore(options)
    assert len(list(await store.list(""))) >= after
    await store.put("vault.json", b"{}")
    git("fsck", "--strict", repository=Path(options.url))
    assert await store.get("devices/ab/log/000000000000") == bytes(20_000)


async def test_a_lock_that_a_killed_push_left_in_a_repository_on_a_disk(options: GitOptions, repository: Path) -> None:
    clock = 0.0
    store = GitStore(options, now=lambda: clock)
    await store.put(LOG, b"12345")
    lock = repository / "refs" / "heads" / "claude-sync.lock"
    lock.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("claude_syncd.store.git.ATTEMPTS", 2)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="lost the race") as unavailable:
                await store.put(NEXT, b"678")
            assert "lock" in unavailable.value.hint
            clock += git_remote.STALE_LOCK - 1
        lock.unlink()
        lock.touch()  # another one: that push is alive
        with pytest.raises(StoreUnavailable):
            await store.put(NEXT, b"678")
        clock += git_remote.STALE_LOCK
        await store.put(NEXT, b"678")
    assert not lock.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the permission to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_mirror_on_a_full_disk(options: GitOptions, other: GitStore, small_disk: Path) -> None:
    store = GitStore(replace(options, mirror=small_disk / "mirror"))
    await store.put(LOG, b"12345")
    with pytest.raises(StoreUnavailable, match="full") as full:
        await store.put("devices/ab/packs/a", os.urandom(2_000_000))
    assert "free" in full.value.hint
    await other.put("devices/cd/packs/a", os.urandom(2_000_000))
    with pytest.raises(StoreUnavailable, match="full"):
        await store.list("")
    await other.delete("devices/cd/packs/a")
    await store.put(NEXT, b"678")
    assert [info.name for info in await store.list("")] == [LOG, NEXT]


async def test_a_repository_on_a_full_disk(options: GitOptions, small_disk: Path) -> None:
    store = GitStore(replace(options, url=str(new_repository(small_disk / "vault.git"))))
    await store.put(LOG, b"12345")
    with pytest.raises(StoreUnavailable, match="full"):
        await store.put("devices/ab/packs/a", os.urandom(2_000_000))
    await store.put(NEXT, b"678")
    assert [info.name for info in await store.list("")] == [LOG, NEXT]


async def test_a_folder_that_cannot_be_made_is_said(options: GitOptions, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = GitStore(replace(options, mirror=tmp_path / "file" / "mirror"))
    with pytest.raises(StoreUnavailable, match="can't be used"):
        await store.get("vault.json")
