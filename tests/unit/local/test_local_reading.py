from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from claude_syncd.errors import Changed, LocalError
from claude_syncd.local.reading import (
    BytesRead,
    Opener,
    common_prefix,
    complete_size,
    is_prefix,
    open_for_read,
    read_chunks,
)

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("short", "long", "same"),
    [
        (b"", b"", 0),
        (b"", b"a", 0),
        (b"ab", b"abc", 2),
        (b"abc", b"abd", 2),
        (b"x" * MIB + b"y", b"x" * MIB + b"z", MIB),
        (b"x" * MIB + b"yy", b"x" * MIB + b"yz", MIB + 1),
        (b"x" * 2 * MIB, b"x" * 2 * MIB, 2 * MIB),
    ],
)
def test_prefixes(tree: Path, short: bytes, long: bytes, same: int) -> None:
    (tree / "short").write_bytes(short)
    (tree / "long").write_bytes(long)
    with open_for_read(tree, "short") as one, open_for_read(tree, "long") as other:
        assert common_prefix(one, len(short), other, len(long)) == same
        assert is_prefix(one, len(short), other, len(long)) == (same == len(short))
        assert is_prefix(one, same, other, len(long))
        assert not is_prefix(other, len(long) + 1, one, len(short))


def test_reading_backwards_costs_what_the_last_line_costs(tree: Path) -> None:
    (tree / "f").write_bytes(b"x" * 10 * MIB + b"\n" + b"y" * 1000)
    counter = BytesRead()
    with open_for_read(tree, "f") as file:
        assert complete_size(file, 10 * MIB + 1001, counter) == 10 * MIB + 1
        assert counter.count <= 64 * 1024
        assert complete_size(file, 10 * MIB) == 0


def test_many_files_are_opened_one_after_another(tree: Path, tmp_path: Path) -> None:
    for path in ("a/b/one", "a/b/two", "a/three", "four"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)
    (tree / "inner").symlink_to("a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (tree / "out").symlink_to(tmp_path / "outside")

    def read(path: str) -> str:
        with opener.opened(path) as file:
            return b"".join(read_chunks(file, 0, len(path))).decode()

    with Opener(tree) as opener:
        assert [read(path) for path in ("a/b/one", "a/b/two", "a/three", "four")] == [
            *("a/b/one", "a/b/two", "a/three", "four")
        ]
        with opener.opened("inner/three") as file:
            assert b"".join(read_chunks(file, 0, 7)) == b"a/three"
        for path, error in (("out/secret", LocalError), ("a/b", LocalError), ("a/none", Changed), ("none/x", Changed)):
            with pytest.raises(error), opener.opened(path):
                pass
    assert opened_below(tree) == []


def opened_below(folder: Path) -> list[str]:
    """What this process holds open there."""
    held = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            held.append(str(fd.readlink()))
    return [path for path in held if path.startswith(str(folder))]


def test_a_file_that_ends_too_early_changed(tree: Path) -> None:
    (tree / "f").write_bytes(b"12345")
    with open_for_read(tree, "f") as file:
        assert b"".join(read_chunks(file, 1, 4)) == b"234"
        with pytest.raises(Changed):
            list(read_chunks(file, 0, 6))
