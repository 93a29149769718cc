"""The store in a folder: disks that are absent, full or strange, and what a crash leaves."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreRefused, StoreUnavailable
from claude_syncd.store.base import MAX_OBJECT, Span
from claude_syncd.store.count import Counting, Traffic
from claude_syncd.store.folder import DAY, FolderStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "vault"


@pytest.fixture
async def store(root: Path) -> FolderStore:
    made = FolderStore(root)
    await made.create()
    return made


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


async def all_unavailable(store: FolderStore) -> None:
    with pytest.raises(StoreUnavailable):
        await store.put("vault.json", b"data")
    with pytest.raises(StoreUnavailable):
        await store.put("vault.json", b"data", if_absent=True)
    with pytest.raises(StoreUnavailable):
        await store.get("vault.json")
    with pytest.raises(StoreUnavailable):
        await store.list("")
    with pytest.raises(StoreUnavailable):
        await store.delete("vault.json")


def test_the_address_is_a_url() -> None:
    assert FolderStore(Path("/media/my disk")).address == "file:///media/my%20disk"


async def test_only_create_makes_the_root(root: Path) -> None:
    store = FolderStore(root)
    await all_unavailable(store)
    assert not root.exists()
    await store.create()
    await store.put("vault.json", b"data")
    assert files(root) == {"vault.json"}


async def test_a_disk_that_is_gone_is_unavailable_and_comes_back(store: FolderStore, root: Path) -> None:
    await store.put("vault.json", b"data")
    root.rename(root.with_name("elsewhere"))
    await all_unavailable(store)
    root.mkdir()  # the mount point of the disk
    await all_unavailable(store)
    assert list(root.iterdir()) == []
    root.rmdir()
    root.with_name("elsewhere").rename(root)
    assert await store.get("vault.json") == b"data"


async def test_a_root_that_is_a_file_is_unavailable(root: Path) -> None:
    root.parent.mkdir()
    root.write_text("a file")
    await all_unavailable(FolderStore(root))


async def test_create_accepts_what_is_empty_or_a_store(root: Path) -> None:
    (root / "lost+found").mkdir(parents=True)
    (root / ".DS_Store").touch()
    store = FolderStore(root)
    await store.create()
    await store.put("vault.json", b"data")
    await FolderStore(root).create()
    assert await store.get("vault.json") == b"data"


async def test_create_refuses_a_folder_with_other_things(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "thesis.odt").touch()
    with pytest.raises(StoreRefused, match=r"thesis\.odt"):
        await FolderStore(root).create()
    assert files(root) == {"thesis.odt"}


async def test_a_copy_without_empty_folders_is_a_store(store: FolderStore, root: Path) -> None:
    await store.put("vault.json", b"data")
    (root / "tmp").rmdir()
    assert [info.name for info in await store.list("")] == ["vault.json"]
    await store.put("roster/000001", b"one", if_absent=True)
    assert await store.get("roster/000001") == b"one"


async def test_files_are_private(store: FolderStore, root: Path) -> None:
    before = os.umask(0)
    try:
        await store.put("devices/ab/log/1", b"data")
        await store.put("devices/ab/log/2", b"data", if_absent=True)
    finally:
        os.umask(before)
    for name in ("devices/ab/log/1", "devices/ab/log/2"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600
    for folder in ("", "tmp", "devices", "devices/ab/log"):
        assert stat.S_IMODE((root / folder).stat().st_mode) == 0o700


async def test_a_link_inside_is_never_followed(store: FolderStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "log").mkdir(parents=True)
    (outside / "log" / "1").write_bytes(b"not ours")
    (root / "devices").symlink_to(outside)
    for name in ("devices/log/1", "devices/new", "devices/log/new"):
        with pytest.raises(StoreRefused):
            await store.put(name, b"data")
        with pytest.raises(StoreRefused):
            await store.get(name)
        with pytest.raises(StoreRefused):
            await store.delete(name)
    for prefix in ("", "devices/", "devices/log/", "dev"):
        with pytest.raises(StoreRefused):
            await store.list(prefix)
    assert list(await store.list("roster/")) == []
    assert files(outside) == {"log/1"}


async def test_a_link_in_the_place_of_an_object_is_never_followed(
    store: FolderStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    (root / "vault.json").symlink_to(outside)
    with pytest.raises(StoreRefused):
        await store.get("vault.json")
    with pytest.raises(StoreRefused):
        await store.list("")
    with pytest.raises(AlreadyExists):
        await store.put("vault.json", b"data", if_absent=True)
    await store.put("vault.json", b"data")
    assert await store.get("vault.json") == b"data"
    assert outside.read_bytes() == b"not ours"


async def test_the_root_may_be_a_link(store: FolderStore, root: Path, tmp_path: Path) -> None:
    await store.put("vault.json", b"data")
    link = tmp_path / "link"
    link.symlink_to(root)
    assert await FolderStore(link).get("vault.json") == b"data"


async def test_what_is_no_file_is_refused_without_waiting(store: FolderStore, root: Path) -> None:
    os.mkfifo(root / "vault.json")
    with pytest.raises(StoreRefused, match="plain file"):
        await store.get("vault.json")
    assert list(await store.list("")) == []


async def test_things_in_the_way_are_refused(store: FolderStore) -> None:
    await store.put("a/b", b"data")
    with pytest.raises(StoreRefused, match="a file is where a folder"):
        await store.put("a/b/c", b"data")
    with pytest.raises(StoreRefused, match="a folder is where an object"):
        await store.put("a", b"data")
    assert await store.get("a/b") == b"data"


async def test_files_that_are_no_objects_are_not_listed(store: FolderStore, root: Path) -> None:
    await store.put("roster/000001", b"one")
    (root / "roster" / "000001 (conflicted copy)").write_bytes(b"from another tool")
    (root / "a b").mkdir()
    (root / "a b" / "c").touch()
    assert [info.name for info in await store.list("")] == ["roster/000001"]


async def test_a_file_larger_than_an_object_is_not_read(store: FolderStore, root: Path) -> None:
    await store.put("packs/x", b"data")
    os.truncate(root / "packs" / "x", MAX_OBJECT + 1)
    with pytest.raises(StoreRefused):
        await store.get("packs/x")
    assert await store.get("packs/x", Span(0, 4)) == b"data"


async def test_leftovers_of_a_crash_go_when_a_day_old(root: Path) -> None:
    now = 1_700_000_000.0
    store = FolderStore(root, now=lambda: now)
    await store.create()
    for name, age in (("old", DAY + 1), ("young", DAY - 1)):
        (root / "tmp" / name).write_bytes(b"half of an object")
        os.utime(root / "tmp" / name, (now - age, now - age))
    assert list(await store.list("")) == []
    assert list(await store.list("tmp/")) == []
    await store.put("vault.json", b"data")
    assert files(root) == {"tmp/young", "vault.json"}
    now += DAY
    await store.put("vault.json", b"data")
    assert files(root) == {"vault.json"}


async def test_a_put_that_fails_leaves_nothing(store: FolderStore, root: Path) -> None:
    await store.put("packs/x", b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(StoreRefused, match="file of that size"):
            await store.put("packs/x", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(root) == {"packs/x"}
    assert await store.get("packs/x") == b"before"


async def test_emptied_folders_go_while_others_fill_them(store: FolderStore, root: Path) -> None:
    async def live(n: int) -> None:
        for _ in range(15):
            await store.put(f"devices/ab/log/{n}", b"data", if_absent=True)
            await store.delete(f"devices/ab/log/{n}")

    async with asyncio.TaskGroup() as group:
        for n in range(8):
            group.create_task(live(n))
    assert [path.name for path in root.iterdir()] == ["tmp"]


async def test_requests_are_reported_also_when_they_fail(store: FolderStore) -> None:
    counting = Counting(store)
    await counting.put("vault.json", b"12345678")
    with pytest.raises(AlreadyExists):
        await counting.put("vault.json", b"1234", if_absent=True)
    await counting.get("vault.json", Span(0, 3))
    with pytest.raises(ObjectMissing):
        await counting.get("missing")
    await counting.list("")
    await counting.delete("vault.json")
    assert counting.snapshot() == Traffic(put=2, get=2, list=1, delete=1, bytes_up=12, bytes_down=3)


ON_A_SMALL_DISK = """
import asyncio, json, subprocess, sys
from pathlib import Path
from claude_syncd.errors import StoreError
from claude_syncd.store.folder import FolderStore

async def attempt(call):
    try:
        await call
    except StoreError as error:
        return [type(error).__name__, str(error)]
    return ["done", ""]

async def main(disk):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
    store = FolderStore(Path(disk, "vault"))
    await store.create()
    found = {"small": await attempt(store.put("packs/small", bytes(1000)))}
    found["full"] = await attempt(store.put("packs/large", bytes(2_000_000)))
    found["after"] = await attempt(store.put("packs/after", bytes(1000)))
    found["names"] = [info.name for info in await store.list("")]
    found["left"] = [path.name for path in Path(disk, "vault", "tmp").iterdir()]
    subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
    found["read-only"] = await attempt(store.put("packs/ro", bytes(10)))
    found["readable"] = await attempt(store.get("packs/small"))
    print(json.dumps(found))

asyncio.run(main(sys.argv[1]))
"""


def test_a_disk_that_is_full_or_read_only(tmp_path: Path) -> None:
    as_root = ["unshare", "--user", "--map-root-user", "--mount"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*as_root, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs user namespaces, to mount a small disk")
    command = [*as_root, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert found["small"] == ["done", ""]
    assert found["full"][0] == "StoreUnavailable"
    assert "the disk is full" in found["full"][1]
    assert found["after"] == ["done", ""]
    assert found["names"] == ["packs/after", "packs/small"]
    assert found["left"] == []
    assert found["read-only"][0] == "StoreRefused"
    assert "read-only" in found["read-only"][1]
    assert found["readable"] == ["done", ""]
