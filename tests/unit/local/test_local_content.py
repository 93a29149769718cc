from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from claude_syncd.core.model import Base, Kind
from claude_syncd.errors import Changed, LocalError
from claude_syncd.local.beneath import identity_of
from claude_syncd.local.content import Contents, Mark, is_racy
from claude_syncd.local.reading import BytesRead
from claude_syncd.local.scan import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from claude_syncd.local.content import Observation

LINE = b'{"type":"user","text":"' + b"x" * 900 + b'"}\n'


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def observe(contents: Contents, *, base: Mark | None = None, settled: bool = False) -> Observation:
    return contents.observe("s.jsonl", now_ns=time.time_ns(), lines=True, base=base, settled=settled)


def mark(one: Observation) -> Mark:
    return Mark(one.local.size, one.local.sha256)


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (b"", 0),
        (b"no newline", 0),
        (b"one\n", 4),
        (b"one\ntorn", 4),
        (b"\n", 1),
        (b"a\x00b\n\x00", 4),
        ("line separator \u2028 is none\ntorn\u2028".encode(), 27),
        (b"\xff\xfe\n\xff", 3),
        (b"a\n" + b"y" * 200_000, 2),
        (b"y" * 200_000 + b"\n" + b"z" * 65_535, 200_001),
    ],
)
def test_only_complete_lines_count(tree: Path, data: bytes, complete: int) -> None:
    (tree / "s.jsonl").write_bytes(data)
    one = observe(Contents(tree))
    assert (one.local.size, one.local.sha256) == (complete, sha(data[:complete]))
    assert one.identity.size == len(data)
    whole = observe(Contents(tree), settled=True)
    assert (whole.local.size, whole.local.sha256) == (len(data), sha(data))


def test_other_files_count_whole(tree: Path) -> None:
    (tree / "CLAUDE.md").write_bytes(b"a\nb")
    (tree / "CLAUDE.md").chmod(0o755)
    one = Contents(tree).observe("CLAUDE.md", now_ns=time.time_ns())
    status = (tree / "CLAUDE.md").stat()
    assert (one.local.size, one.local.sha256) == (3, sha(b"a\nb"))
    assert (one.local.mtime_ns, one.local.mode) == (status.st_mtime_ns, 0o755)
    found = look(tree, "CLAUDE.md")
    assert found is not None
    assert one.identity == found.identity


def test_a_line_of_100_mb(tree: Path) -> None:
    with (tree / "s.jsonl").open("wb") as file:
        file.write(b"first\n")
        file.truncate(100 * 1024 * 1024)
    one = observe(Contents(tree))
    assert (one.local.size, one.local.sha256) == (6, sha(b"first\n"))


def test_an_append_to_200_mb_costs_less_than_1_mb_of_reading(tree: Path) -> None:
    file = tree / "s.jsonl"
    with file.open("wb") as out:
        out.truncate(200 * 1024 * 1024)
        out.seek(0, os.SEEK_END)
        out.write(b"\n")
    contents = Contents(tree)
    first = observe(contents)
    assert first.append_from is None
    with file.open("ab") as out:
        out.write(b"y" * 2047 + b"\n")
    before = contents.bytes_read.count
    second = observe(contents, base=mark(first))
    assert contents.bytes_read.count - before < 1_000_000
    assert second.append_from == first.local.size
    assert second.local.size == first.local.size + 2048
    assert second.rest_sha256 == sha(b"y" * 2047 + b"\n")
    assert second.local.sha256 == observe(Contents(tree)).local.sha256


def test_what_was_observed_but_not_pushed_belongs_to_the_rest(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 1000)
    contents = Contents(tree)
    base = mark(observe(contents))
    for number in range(10):
        with file.open("ab") as out:
            out.write(b"%d\n" % number)
        before = contents.bytes_read.count
        one = observe(contents, base=base)
        assert contents.bytes_read.count - before < 900_000
        added = b"".join(b"%d\n" % i for i in range(number + 1))
        assert one.append_from == base.size
        assert one.rest_sha256 == sha(added)
        assert one.local.sha256 == sha(LINE * 1000 + added)


def test_a_fresh_start_compares_the_prefix_with_the_base(tree: Path) -> None:
    (tree / "s.jsonl").write_bytes(LINE * 10 + b"new\n")
    assert observe(Contents(tree), base=Mark(len(LINE) * 10, sha(LINE * 10))).append_from == len(LINE) * 10
    other = observe(Contents(tree), base=Mark(len(LINE) * 10, sha(b"other")))
    assert other.append_from is None
    assert other.rest_sha256 == other.local.sha256 == sha(LINE * 10 + b"new\n")
    assert observe(Contents(tree), base=Mark(10**9, sha(b""))).append_from is None
    assert observe(Contents(tree), base=Mark(0, sha(b""))).append_from == 0


def test_a_base_without_content_is_no_mark() -> None:
    assert Mark.of(None) is None
    assert Mark.of(Base(kind=Kind.TOMBSTONE, vector={})) is None
    assert Mark.of(Base(kind=Kind.FILE, vector={}, size=3, sha256="ab")) == Mark(3, "ab")


@pytest.mark.parametrize("where", [0, 5_000, 150_000, 399_000])
def test_a_rewrite_that_also_grew_is_no_append(tree: Path, where: int) -> None:
    """In place, same inode: near the start, near the end, and by leaving out a line in the middle."""
    file = tree / "s.jsonl"
    lines = [b"%06d " % i + b"x" * 992 + b"\n" for i in range(400)]
    file.write_bytes(b"".join(lines))
    contents = Contents(tree)
    base = mark(observe(contents))
    del lines[where // 1000]
    changed = b"".join(lines) + b"new\n" * 1000
    with file.open("r+b") as out:
        out.write(changed)
    one = observe(contents, base=base)
    assert one.append_from is None
    assert (one.local.sha256, one.rest_sha256) == (sha(changed), sha(changed))


def test_truncated_in_place_and_grown_again_is_no_append(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 500)
    contents = Contents(tree)
    base = mark(observe(contents))
    with file.open("r+b") as out:
        out.truncate(len(LINE) * 470)
        out.seek(0, os.SEEK_END)
        out.write(b"other\n" * 20_000)
    one = observe(contents, base=base)
    assert one.append_from is None
    assert one.local.sha256 == sha(file.read_bytes())


def test_truncated_in_place_is_a_new_version(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 500)
    contents = Contents(tree)
    base = mark(observe(contents))
    os.truncate(file, len(LINE) * 300)
    one = observe(contents, base=base)
    assert one.append_from is None
    assert (one.local.size, one.local.sha256) == (len(LINE) * 300, sha(LINE * 300))


def test_another_file_of_that_name_is_read_whole(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 500)
    contents = Contents(tree)
    base = mark(observe(contents))
    (tree / "new").write_bytes(LINE * 100 + b"changed\n" + LINE * 420)
    (tree / "new").rename(file)
    one = observe(contents, base=base)
    assert one.append_from is None
    assert one.local.sha256 == sha(file.read_bytes())


def test_a_same_size_rewrite_is_seen(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(b"a\n" * 300_000)
    contents = Contents(tree)
    base = mark(observe(contents))
    with file.open("r+b") as out:
        out.seek(300_000)
        out.write(b"b")
    os.utime(file, ns=(1, 1))
    one = observe(contents, base=base)
    assert one.append_from is None
    assert one.local.sha256 == sha(file.read_bytes())


def test_a_torn_line_that_is_finished_later(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(b"one\ntw")
    contents = Contents(tree)
    first = observe(contents)
    with file.open("ab") as out:
        out.write(b"o\n")
    second = observe(contents, base=mark(first))
    assert second.append_from == 4
    assert second.local.sha256 == sha(b"one\ntwo\n")
    assert second.rest_sha256 == sha(b"two\n")


def test_only_so_many_are_remembered(tree: Path) -> None:
    contents = Contents(tree, remembered=2)
    for name in "abc":
        (tree / name).write_bytes(LINE * 1000)
        contents.observe(name, now_ns=0, lines=True)
    base = Mark(len(LINE) * 1000, sha(LINE * 1000))
    costs = []
    for name in "cba":
        with (tree / name).open("ab") as out:
            out.write(b"more\n")
        before = contents.bytes_read.count
        assert contents.observe(name, now_ns=0, lines=True, base=base).append_from == base.size
        costs.append(contents.bytes_read.count - before > len(LINE) * 1000)
    assert costs == [False, False, True]
    contents.forget("a")


def test_growing_while_it_is_read_is_fine_for_lines(tree: Path) -> None:
    """A session that writes all the time is read all the same, and what is told is true of a prefix."""
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 20_000)
    stop = threading.Event()

    def write() -> None:
        with file.open("ab", buffering=0) as out:
            while not stop.is_set():
                out.write(b"grown\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        one = observe(Contents(tree))
    finally:
        stop.set()
        writer.join()
    assert one.local.sha256 == sha(file.read_bytes()[: one.local.size])
    found = look(tree, "s.jsonl")
    assert found is not None
    # Whoever finds the file as it was noted finds nothing that was not told.
    assert found.identity != one.identity or found.identity.size == one.local.size


class Meanwhile(BytesRead):
    """Does something to the file once the first piece of its content was read. With `lines` the end of the last line
    and both edges are read before.
    """

    def __init__(self, do: Callable[[], None], *, lines: bool) -> None:
        super().__init__()
        self._do = do
        self._until = 4 if lines else 1

    def read_at(self, file_fd: int, size: int, offset: int) -> bytes:
        data = super().read_at(file_fd, size, offset)
        self._until -= 1
        if self._until == 0:
            # The times of a file move in steps of some milliseconds: until it shows, it is done again.
            before = identity_of(os.fstat(file_fd))
            while identity_of(os.fstat(file_fd)) == before:
                self._do()
        return data


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as out:
        out.seek(at)
        out.write(data)


def append(file: Path, data: bytes) -> None:
    with file.open("ab") as out:
        out.write(data)


def replace_by_name(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"another file\n")
    other.rename(file)


def append_and_overwrite(file: Path) -> None:
    append(file, b"grown\n")
    overwrite(file, 3, b"!")


CHANGES = {
    "written over": lambda file: overwrite(file, 1_500_000, b"!"),
    "cut": lambda file: os.truncate(file, 2_000_000),
    "emptied": lambda file: os.truncate(file, 0),
    "another by name": replace_by_name,
    "unlinked": lambda file: file.unlink(missing_ok=True),
    "another mode": lambda file: file.chmod(0o640),
    "grown and written over": append_and_overwrite,
}


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_not_taken(tree: Path, change: str, lines: bool) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 3000)
    contents = Contents(tree)
    contents.bytes_read = Meanwhile(lambda: CHANGES[change](file), lines=lines)
    with pytest.raises(Changed):
        contents.observe("s.jsonl", now_ns=time.time_ns(), lines=lines)
    file.write_bytes(LINE * 3000)
    stream = contents.stream("s.jsonl", now_ns=time.time_ns(), lines=lines)
    contents.bytes_read = Meanwhile(lambda: CHANGES[change](file), lines=lines)
    with pytest.raises(Changed):
        list(stream)
    with pytest.raises(IndexError):
        _ = stream.observation
    # And nothing of it is remembered: the next look reads it as it is.
    contents.bytes_read = BytesRead()
    file.write_bytes(LINE * 2)
    assert contents.observe("s.jsonl", now_ns=time.time_ns(), lines=lines).local.sha256 == sha(LINE * 2)


@pytest.mark.parametrize("settled", [False, True])
def test_only_lines_may_grow_while_they_are_read(tree: Path, settled: bool) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 3000)
    contents = Contents(tree)
    contents.bytes_read = Meanwhile(lambda: append(file, LINE), lines=True)
    one = observe(contents, settled=settled)
    assert (one.local.size, one.local.sha256) == (len(LINE) * 3000, sha(LINE * 3000))
    contents.bytes_read = Meanwhile(lambda: append(file, LINE), lines=False)
    with pytest.raises(Changed, match=r"s\.jsonl changed while it was read"):
        contents.observe("s.jsonl", now_ns=time.time_ns())


def test_reading_again_is_checked_against_the_hash(tree: Path) -> None:
    file = tree / "s.jsonl"
    file.write_bytes(LINE * 3000)
    contents = Contents(tree)
    base = Mark(len(LINE), sha(LINE))
    one = observe(contents, base=base)
    assert one.append_from == len(LINE)
    pieces = list(contents.read("s.jsonl", one.append_from, one.local.size, one.rest_sha256))
    assert b"".join(pieces) == LINE * 2999
    assert max(map(len, pieces)) <= 1024 * 1024
    with file.open("r+b") as out:
        out.seek(1_500_000)
        out.write(b"!")
    with pytest.raises(Changed):
        list(contents.read("s.jsonl", one.append_from, one.local.size, one.rest_sha256))
    os.truncate(file, 2_000_000)
    with pytest.raises(Changed):
        list(contents.read("s.jsonl", one.append_from, one.local.size, one.rest_sha256))


def test_what_is_gone_or_cannot_be_read(tree: Path) -> None:
    contents = Contents(tree)
    with pytest.raises(Changed):
        observe(contents)
    (tree / "s.jsonl").mkdir()
    with pytest.raises(LocalError):
        observe(contents)
    (tree / "s.jsonl").rmdir()
    os.mkfifo(tree / "s.jsonl")
    with pytest.raises(LocalError):
        observe(contents)


def test_links_are_read_through_only_where_a_scan_follows_them(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "s.jsonl").write_bytes(b"secret\n")
    (tree / "s.jsonl").symlink_to(outside / "s.jsonl")
    (tree / "d").symlink_to(outside)
    (tree / "in").symlink_to("real")
    (tree / "real").write_bytes(b"fine\n")
    for path in ("s.jsonl", "d/s.jsonl"):
        with pytest.raises(LocalError):
            Contents(tree).observe(path, now_ns=0)
        assert Contents(tree, (outside,)).observe(path, now_ns=0).local.sha256 == sha(b"secret\n")
    assert Contents(tree).observe("in", now_ns=0).local.sha256 == sha(b"fine\n")
    for path in ("../outside/s.jsonl", "/etc/hostname", "", "d/../real"):
        with pytest.raises(LocalError):
            Contents(tree).observe(path, now_ns=0)


def test_a_file_that_was_just_touched_is_racy(tree: Path) -> None:
    file = tree / "f"
    file.write_text("x")
    identity = Contents(tree).observe("f", now_ns=0).identity
    written = identity.ctime_ns
    assert is_racy(identity, written)
    assert is_racy(identity, written + 10_000_000)
    assert not is_racy(identity, written + 30_000_000)
    assert not is_racy(identity, written - 10**12)  # a clock that was set back must not make it racy for ever
    assert Contents(tree).observe("f", now_ns=written).racy
    assert not Contents(tree).observe("f", now_ns=written + 10**9).racy
