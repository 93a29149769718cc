from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from claude_syncd.core.model import Identity
from claude_syncd.errors import Changed, LocalError, SyncError
from claude_syncd.local.apply import Applier, Commit
from claude_syncd.local.scan import look
from claude_syncd.local.trash import Slot, Trash

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.local.conftest import InNamespace

WHEN = 1_700_000_000_123_456_789


@pytest.fixture
def trash(tmp_path: Path) -> Trash:
    return Trash(tmp_path / "trash")


@pytest.fixture
def applier(tree: Path, trash: Trash) -> Applier:
    return Applier(tree, trash)


def identity(tree: Path, path: str) -> Identity:
    found = look(tree, path)
    assert found is not None
    return found.identity


def put(
    applier: Applier, path: str, data: bytes, expected: Identity | None = None, mode: int = 0o600
) -> Identity | SyncError:
    staged = applier.stage(path)
    staged.write_at(0, data)
    [result] = applier.commit([Commit(staged, WHEN, mode, expected)])
    return result


def put_or_raise(applier: Applier, path: str, data: bytes) -> None:
    result = put(applier, path, data)
    if isinstance(result, SyncError):
        raise result


def in_trash(trash: Trash) -> dict[str, bytes]:
    """Path -> content, without the day and the random part."""
    files = [file for file in trash.folder.rglob("*") if file.is_file()] if trash.folder.exists() else []
    return {file.relative_to(trash.folder).as_posix().split("/", 2)[2]: file.read_bytes() for file in files}


def leftovers(tree: Path) -> list[str]:
    return [file.name for file in tree.rglob(".csync-*")]


def test_a_new_file(applier: Applier, tree: Path, trash: Trash) -> None:
    result = put(applier, "projects/-a/s.jsonl", b"one\n", mode=0o640)
    assert result == identity(tree, "projects/-a/s.jsonl")
    file = tree / "projects/-a/s.jsonl"
    status = file.stat()
    assert file.read_bytes() == b"one\n"
    assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode), status.st_nlink) == (WHEN, 0o640, 1)
    assert stat.S_IMODE((tree / "projects/-a").stat().st_mode) == 0o700
    assert in_trash(trash) == {}
    assert leftovers(tree) == []


def test_what_is_replaced_is_in_the_trash(applier: Applier, tree: Path, trash: Trash) -> None:
    first = put(applier, "CLAUDE.md", b"old")
    assert isinstance(first, Identity)
    assert put(applier, "CLAUDE.md", b"new", first) == identity(tree, "CLAUDE.md")
    assert (tree / "CLAUDE.md").read_bytes() == b"new"
    assert in_trash(trash) == {"CLAUDE.md": b"old"}
    assert leftovers(tree) == []


@pytest.mark.parametrize(
    ("asked", "given"), [(0o4777, 0o777), (0o7000, 0o600), (0o444, 0o644), (0, 0o600), (0o100755, 0o755)]
)
def test_modes_are_tamed(applier: Applier, tree: Path, asked: int, given: int) -> None:
    put(applier, "f", b"", mode=asked)
    assert stat.S_IMODE((tree / "f").stat().st_mode) == given


@pytest.mark.parametrize("when", [-(10**30), 10**30, 0])
def test_times_from_elsewhere_cannot_break_it(applier: Applier, tree: Path, when: int) -> None:
    staged = applier.stage("f")
    [result] = applier.commit([Commit(staged, when, 0o600, None)])
    assert isinstance(result, Identity)
    assert (tree / "f").exists()


def test_a_target_that_is_not_as_expected_is_left_alone(applier: Applier, tree: Path) -> None:
    first = put(applier, "f", b"first")
    assert isinstance(first, Identity)
    with (tree / "f").open("ab") as out:
        out.write(b" and more")
    now = identity(tree, "f")
    for expected in (first, None):
        assert isinstance(put(applier, "f", b"second", expected), Changed)
    gone = Identity(now.device, now.inode + 1, now.size, now.mtime_ns, now.ctime_ns)
    assert isinstance(put(applier, "other", b"second", gone), Changed)
    assert not (tree / "other").exists()
    assert (tree / "f").read_bytes() == b"first and more"
    assert leftovers(tree) == []


def test_each_item_of_a_batch_stands_for_itself(applier: Applier, tree: Path, trash: Trash) -> None:
    old = [put(applier, f"d{i % 3}/f{i}", b"old %d" % i) for i in range(40)]
    (tree / "d1/f1").write_bytes(b"somebody else's")
    items = []
    for i, expected in enumerate(old):
        assert isinstance(expected, Identity)
        staged = applier.stage(f"d{i % 3}/f{i}")
        staged.write_at(0, b"new %d" % i)
        items.append(Commit(staged, WHEN, 0o600, expected))
    results = applier.commit(items)
    assert isinstance(results.pop(1), Changed)
    assert all(isinstance(result, Identity) for result in results)
    assert (tree / "d1/f1").read_bytes() == b"somebody else's"
    assert {i: (tree / f"d{i % 3}/f{i}").read_bytes() for i in range(40) if i != 1} == {
        i: b"new %d" % i for i in range(40) if i != 1
    }
    assert {path: data for path, data in in_trash(trash).items() if path != "d1/f1"} == {
        f"d{i % 3}/f{i}": b"old %d" % i for i in range(40) if i != 1
    }
    assert leftovers(tree) == []


def test_written_in_any_order(applier: Applier, tree: Path) -> None:
    staged = applier.stage("f")
    staged.write_at(3, b"def")
    staged.write_at(0, b"abc")
    assert staged.sha256() == hashlib.sha256(b"abcdef").hexdigest()
    with pytest.raises(Changed):
        staged.write_at(6, b"too late")
    applier.commit([Commit(staged, WHEN, 0o600, None)])
    assert (tree / "f").read_bytes() == b"abcdef"
    in_order = applier.stage("g")
    in_order.write_at(0, b"abc")
    in_order.write_at(3, b"def")
    assert in_order.sha256() == staged.sha256()
    in_order.discard()
    in_order.discard()
    assert leftovers(tree) == []


def test_rewriting_what_was_hashed_is_noticed(applier: Applier) -> None:
    staged = applier.stage("f")
    staged.write_at(0, b"abc")
    staged.write_at(1, b"x")
    staged.write_at(3, b"d")
    assert staged.sha256() == hashlib.sha256(b"axcd").hexdigest()
    staged.discard()


def test_pieces_that_come_early_are_hashed_without_being_read_again(
    applier: Applier, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [os.urandom(1000) for _ in range(9)]
    staged = applier.stage("f")
    for number in (1, 2, 5, 0, 4, 3, 8, 6, 7):
        staged.write_at(1000 * number, pieces[number])
    monkeypatch.setattr("claude_syncd.local.stage.read_chunks", None)
    assert staged.sha256() == hashlib.sha256(b"".join(pieces)).hexdigest()
    staged.discard()


@pytest.mark.parametrize("order", [[*range(1, 20), 0], [2, 0, 2, 1], [0, 2, 1, 1], [3, 1, 0]])
def test_what_comes_too_early_or_twice_or_never_is_read_for_its_hash(
    applier: Applier, tree: Path, order: list[int]
) -> None:
    staged = applier.stage("f")
    for number in order:
        staged.write_at(1000 * number, b"%d" % (number % 10) * 1000)
    found = staged.sha256()
    applier.commit([Commit(staged, WHEN, 0o600, None)])
    assert found == hashlib.sha256((tree / "f").read_bytes()).hexdigest()


def test_beginning_with_a_prefix_of_another_file(applier: Applier, tree: Path, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tree / "old").write_bytes(data)
    staged = applier.stage("d/new")
    staged.copy_prefix("old", 2_500_000)
    staged.write_at(2_500_000, b"tail")
    assert staged.sha256() == hashlib.sha256(data[:2_500_000] + b"tail").hexdigest()
    assert isinstance(applier.commit([Commit(staged, WHEN, 0o600, None)])[0], Identity)
    assert (tree / "d/new").read_bytes() == data[:2_500_000] + b"tail"

    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(b"12345")
    staged = applier.stage("e")
    staged.copy_prefix("kept", 3, root=other)
    assert staged.sha256() == hashlib.sha256(b"123").hexdigest()
    staged.discard()
    staged = applier.stage("e")
    with pytest.raises(Changed):
        staged.copy_prefix("old", 3_000_001)
    with pytest.raises(Changed):
        staged.copy_prefix("gone", 1)
    staged.discard()
    assert leftovers(tree) == []


def test_removing_keeps_it_and_prunes_empty_folders(applier: Applier, tree: Path, trash: Trash) -> None:
    for path in ("projects/-a/s/sub/1", "projects/-a/s/2", "skills/x/3"):
        put(applier, path, path.encode())
    applier.remove("projects/-a/s/sub/1", identity(tree, "projects/-a/s/sub/1"))
    assert sorted(os.listdir(tree / "projects/-a/s")) == ["2"]
    applier.remove("projects/-a/s/2", identity(tree, "projects/-a/s/2"))
    assert os.listdir(tree / "projects") == []
    applier.remove("skills/x/3", identity(tree, "skills/x/3"))
    assert sorted(os.listdir(tree)) == ["projects", "skills"]
    assert in_trash(trash) == {path: path.encode() for path in ("projects/-a/s/sub/1", "projects/-a/s/2", "skills/x/3")}


def test_removing_what_changed_is_refused(applier: Applier, tree: Path) -> None:
    first = put(applier, "d/f", b"1")
    assert isinstance(first, Identity)
    (tree / "d/f").write_bytes(b"22")
    with pytest.raises(Changed):
        applier.remove("d/f", first)
    assert (tree / "d/f").read_bytes() == b"22"
    with pytest.raises(Changed):
        applier.remove("d/gone", first)
    with pytest.raises(Changed):
        applier.remove("gone/gone", first)


def test_removing_what_changes_at_the_last_moment_is_undone(tree: Path, tmp_path: Path) -> None:
    """Between the look at the file and its removal somebody puts another one there; it gets its name back."""

    class Interfering(Trash):
        def slot(self) -> Slot:
            (tree / "new").write_bytes(b"precious")
            (tree / "new").rename(tree / "d/f")
            return super().slot()

    (tree / "d").mkdir()
    (tree / "d/f").write_bytes(b"old")
    trash = Interfering(tmp_path / "trash")
    with pytest.raises(Changed):
        Applier(tree, trash).remove("d/f", identity(tree, "d/f"))
    assert (tree / "d/f").read_bytes() == b"precious"
    assert (tree / "d/f").stat().st_nlink == 1
    assert in_trash(trash) == {}


def test_the_same_path_twice_in_one_batch_and_day(applier: Applier, tree: Path, trash: Trash) -> None:
    now = put(applier, "f", b"0")
    for data in (b"1", b"2", b"3"):
        assert isinstance(now, Identity)
        now = put(applier, "f", data, now)
    applier.remove("f", identity(tree, "f"))
    kept = [file.read_bytes() for file in trash.folder.rglob("f")]
    assert sorted(kept) == [b"0", b"1", b"2", b"3"]


def test_set_meta(applier: Applier, tree: Path) -> None:
    now = put(applier, "f", b"0")
    assert isinstance(now, Identity)
    after = applier.set_meta("f", now, WHEN + 5, 0o755)
    assert after == identity(tree, "f")
    assert after.mtime_ns == WHEN + 5
    assert stat.S_IMODE((tree / "f").stat().st_mode) == 0o755
    with pytest.raises(Changed):
        applier.set_meta("f", now, WHEN, 0o600)
    with pytest.raises(Changed):
        applier.set_meta("gone", now, WHEN, 0o600)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [("Readme.md", "README.md"), ("e\u0301.md", "\u00e9.md"), ("stra\u00dfe", "STRASSE"), ("Skills/x", "skills/y")],
)
def test_names_that_some_disks_take_for_one_are_refused(applier: Applier, tree: Path, there: str, wanted: str) -> None:
    assert isinstance(put(applier, there, b"1"), Identity)
    with pytest.raises(LocalError, match="collides"):
        put_or_raise(applier, wanted, b"2")
    assert isinstance(put(applier, there, b"3", identity(tree, there)), Identity)
    assert leftovers(tree) == []


def test_two_new_names_of_one_batch_collide_too(applier: Applier, tree: Path) -> None:
    items = [Commit(applier.stage(name), WHEN, 0o600, None) for name in ("a.md", "A.md")]
    first, second = applier.commit(items)
    assert isinstance(first, Identity)
    assert isinstance(second, LocalError)
    assert os.listdir(tree) == ["a.md"]


def test_leftovers_of_a_crash_are_cleared_but_never_lost(applier: Applier, tree: Path, trash: Trash) -> None:
    applier.stage("d/f").write_at(0, b"perhaps the only copy")
    applier.stage("d/empty")
    put(applier, "d/g", b"kept")
    os.link(tree / "d/g", tree / "d/.csync-0000.tmp")
    applier.stage("unwanted/f")
    assert applier.clean_leftovers(lambda path: path != "unwanted") == 3
    assert os.listdir(tree / "d") == ["g"]
    assert list(in_trash(trash).values()) == [b"perhaps the only copy"]
    assert len(leftovers(tree)) == 1


def test_a_trash_on_another_disk(tree: Path, in_namespace: InNamespace, tmp_path: Path) -> None:
    (tree / "keep").write_bytes(b"old")
    (tree / "gone").write_bytes(b"removed")
    code = """
import sys
from pathlib import Path
from claude_syncd.local.apply import Applier, Commit
from claude_syncd.local.scan import look
from claude_syncd.local.trash import Slot, Trash
tree, trash = map(Path, sys.argv[1:])
applier = Applier(tree, Trash(trash / "t"))
staged = applier.stage("keep")
staged.write_at(0, b"new")
print(applier.commit([Commit(staged, 1, 0o600, look(tree, "keep").identity)]))
applier.remove("gone", look(tree, "gone").identity)
applier.stage("late").write_at(0, b"late")
print(applier.clean_leftovers(lambda _: True))
print(sorted((f.name.partition("-")[0], f.read_bytes(), f.stat().st_nlink) for f in trash.rglob("*") if f.is_file()))
"""
    mount = tmp_path / "mount"
    mount.mkdir()
    out = in_namespace(f"mount -t tmpfs none '{mount}'", code, str(tree), str(mount))
    assert "Identity(" in out
    assert "[('.csync', b'late', 1), ('gone', b'removed', 1), ('keep', b'old', 1)]" in out
    assert {file.name: file.read_bytes() for file in tree.iterdir()} == {"keep": b"new"}


FILL = """
import sys
from pathlib import Path
from claude_syncd.errors import LocalError
from claude_syncd.local.apply import Applier, Commit
from claude_syncd.local.scan import look
from claude_syncd.local.trash import Slot, Trash
mount = Path(sys.argv[1])
(mount / "tree").mkdir()
(mount / "tree/f").write_bytes(b"old")
applier = Applier(mount / "tree", Trash(mount / "trash"))
staged = applier.stage("f")
try:
    staged.write_at(0, bytes(4_000_000))
except LocalError as error:
    print(type(error).__name__, error, error.hint, error.retry)
staged.discard()
print((mount / "tree/f").read_bytes(), list((mount / "tree").iterdir()) == [mount / "tree/f"])
staged = applier.stage("f")
staged.write_at(0, b"new")
print(applier.commit([Commit(staged, 1, 0o600, look(mount / "tree", "f").identity)]))
"""


def test_a_full_disk_is_told_and_harms_nothing(in_namespace: InNamespace, tmp_path: Path) -> None:
    out = in_namespace(f"mount -t tmpfs -o size=2m none '{tmp_path}'", FILL, str(tmp_path))
    told, intact, again = out.splitlines()
    assert told.startswith(f"LocalError cannot write {tmp_path}/tree/f: the disk is full free some space")
    assert told.endswith("True")
    assert intact == "b'old' True"
    assert "Identity(" in again


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from claude_syncd.errors import LocalError
from claude_syncd.local.apply import Applier, Commit
from claude_syncd.local.scan import look
from claude_syncd.local.trash import Slot, Trash
mount = Path(sys.argv[1])
(mount / "f").write_bytes(b"old")
applier = Applier(mount, Trash(Path(sys.argv[2])))
staged = applier.stage("f")
staged.sha256()
now = look(mount, "f").identity
# Over itself: a mount with a file open for writing, like the staged one, can't be made read-only.
subprocess.run(["mount", "--bind", str(mount), str(mount)], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", str(mount)], check=True)
def told(call):
    try:
        call()
    except LocalError as error:
        print(error)
told(lambda: applier.stage("g"))
told(lambda: applier.remove("f", now))
told(lambda: applier.set_meta("f", now, 1, 0o600))
print(applier.commit([Commit(staged, 1, 0o600, now)])[0])
"""


def test_a_read_only_disk_is_told(in_namespace: InNamespace, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    out = in_namespace(f"mount -t tmpfs none '{mount}'", READ_ONLY, str(mount), str(tmp_path / "trash"))
    lines = out.splitlines()
    assert len(lines) == 4
    assert all("read-only" in line and str(mount) in line for line in lines)


def test_a_folder_without_permission_is_told(powerless: Path) -> None:
    (powerless / "tree/shut").mkdir(parents=True)
    (powerless / "tree/shut/f").write_bytes(b"1")
    applier = Applier(powerless / "tree", Trash(powerless / "trash"))
    now = identity(powerless / "tree", "shut/f")
    (powerless / "tree/shut").chmod(0o500)
    with pytest.raises(LocalError, match="shut/f: permission denied") as caught:
        applier.stage("shut/f")
    assert "chmod" in caught.value.hint
    with pytest.raises(LocalError, match="permission denied"):
        applier.remove("shut/f", now)
    (powerless / "tree/shut").chmod(0o700)
    assert (powerless / "tree/shut/f").read_bytes() == b"1"


@pytest.mark.skipif(sys.platform != "linux", reason="takes the system call away that only Linux has")
def test_without_an_atomic_exchange(
    applier: Applier, tree: Path, trash: Trash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on file systems that refuse it: the C library's answer is replaced by theirs."""
    from claude_syncd.local import syscalls

    class Refusing:
        @staticmethod
        def renameat2(*_: object) -> int:
            import ctypes

            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(syscalls, "_LIBC", Refusing)
    first = put(applier, "f", b"old")
    assert first == identity(tree, "f")
    assert isinstance(first, Identity)
    assert isinstance(put(applier, "f", b"no", None), Changed)
    assert put(applier, "f", b"new", first) == identity(tree, "f")
    assert isinstance(put(applier, "f", b"newer", first), Changed)
    items = [Commit(applier.stage(f"d/{i}"), WHEN, 0o600, None) for i in range(20)]
    assert all(isinstance(result, Identity) for result in applier.commit(items))
    assert (tree / "f").read_bytes() == b"new"
    assert in_trash(trash) == {"f": b"old"}
    assert leftovers(tree) == []
