import hashlib

import pytest

from claude_syncd.core.merge.diff import matches, three_way
from claude_syncd.core.merge.sides import Conflict, Merged, Side
from claude_syncd.core.merge.text import MAX_SIZE, merge

BASE = b"a\nb\nc\nd\ne\n"


def side(content: bytes, mtime_ns: int = 1) -> Side:
    return Side(content=content, mtime_ns=mtime_ns, sha256=hashlib.sha256(content).hexdigest())


def merged(base: bytes | None, ours: bytes, theirs: bytes, *, union: bool = False) -> bytes:
    """`ours` is the older side."""
    found = [
        merge(base, *sides, union=union) for sides in ([side(ours), side(theirs, 2)], [side(theirs, 2), side(ours)])
    ]
    assert found[0] == found[1]
    assert isinstance(found[0], Merged)
    assert found[0].mtime_ns == 2
    return found[0].content


def clash(base: bytes | None, ours: bytes, theirs: bytes) -> Conflict:
    """`ours` is the older side."""
    found = [merge(base, side(ours), side(theirs, 2)), merge(base, side(theirs, 2), side(ours))]
    assert found[0] == found[1]
    assert isinstance(found[0], Conflict)
    return found[0]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        (BASE, b"A\nb\nc\nd\ne\n", b"a\nb\nc\nd\nE\n", b"A\nb\nc\nd\nE\n"),
        (BASE, b"b\nc\nd\ne\n", b"a\nb\nc\nd\ne\nf\n", b"b\nc\nd\ne\nf\n"),
        (BASE, BASE, b"x\n", b"x\n"),
        (BASE, b"a\nb\nX\nd\ne\n", b"a\nb\nX\nd\ne\nf\n", b"a\nb\nX\nd\ne\nf\n"),
        (BASE, b"", BASE, b""),
        (None, b"x\r\n", b"x\r\n", b"x\r\n"),
        (b"a\r\nb\r\nc", b"A\r\nb\r\nc", b"a\r\nb\r\nC", b"A\r\nb\r\nC"),
        (b"a\nb\nc\n", b"a\nb\nc", b"X\nb\nc\n", b"X\nb\nc"),
        (b"\xff\xfe\nb\nc\n", b"\xff\xfe\nb\nC\n", b"\xff\n\nb\nc\n", b"\xff\n\nb\nC\n"),
        (b"a\x85b\nm\nz\n", b"a\x85B\nm\nz\n", b"a\x85b\nm\nZ\n", b"a\x85B\nm\nZ\n"),
    ],
)
def test_changes_in_different_places_are_both_kept(base: bytes, ours: bytes, theirs: bytes, expected: bytes) -> None:
    assert merged(base, ours, theirs) == expected
    assert merged(base, theirs, ours) == expected


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        (BASE, b"a\nb\nX\nd\ne\n", b"a\nb\nY\nd\ne\n"),
        (BASE, b"a\nX\nc\nd\ne\n", b"a\nb\nY\nd\ne\n"),  # next to each other
        (BASE, b"a\nb\nd\ne\n", b"a\nb\nY\nd\ne\n"),
        (BASE, BASE + b"x\n", BASE + b"y\n"),
        (BASE, b"", b"a\nb\nc\nd\nE\n"),
        (BASE, BASE.replace(b"\n", b"\r\n"), b"A\nb\nc\nd\ne\n"),
        (None, b"x\n", b"x\ny\n"),
        (None, b"", b"x\n"),
    ],
)
def test_what_both_changed_is_a_conflict_that_the_newer_wins(base: bytes | None, ours: bytes, theirs: bytes) -> None:
    found = clash(base, ours, theirs)
    assert (found.winner.content, found.kept.content) == (theirs, ours)
    found = clash(base, theirs, ours)
    assert (found.winner.content, found.kept.content) == (ours, theirs)


def test_of_sides_of_one_time_the_same_wins_everywhere() -> None:
    a, b = side(b"x\n"), side(b"y\n")
    assert merge(None, a, b) == merge(None, b, a)


def test_large_texts_are_not_merged() -> None:
    large = b"x\n" * (MAX_SIZE // 2 + 1)
    assert clash(large, b"a\n" + large, large + b"b\n").reason == "too large to merge"
    assert merged(None, large, large) == large


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        (None, b"- a\n- b\n", b"- a\n- c\n", b"- a\n- b\n- c\n"),
        (None, b"# x\n- a\n", b"# x\n- new\n- a\n- last", b"# x\n- new\n- a\n- last"),
        (None, b"- a\n- b", b"- a\n- b\r\n- c\n", b"- a\n- b\n- c\n"),
        (None, b"", b"- a\n", b"- a\n"),
        (None, b"- a\n- b\n- c\n", b"- c\n- a\n", b"- a\n- b\n- c\n"),
        (b"- a\n- b\n", b"- b\n", b"- a\n- b\n- c\n", b"- b\n- c\n"),
        (b"- a\n", b"- a\n- x\n", b"- a\n- y\n", b"- a\n- x\n- y\n"),
        (b"- a\n", b"- A\n", b"- a!\n", b"- A\n- a!\n"),
    ],
)
def test_an_index_of_memories_takes_the_lines_of_both(
    base: bytes | None, ours: bytes, theirs: bytes, expected: bytes
) -> None:
    assert merged(base, ours, theirs, union=True) == expected


def test_every_line_is_in_one_chunk() -> None:
    base, a, b = ([bytes([c]) for c in text] for text in (b"abcdefg", b"xbcdzefg", b"abcdefgyy"))
    chunks = list(three_way(base, a, b))
    assert [line for chunk in chunks for line in chunk.base] == base
    assert [line for chunk in chunks for line in chunk.a] == a
    assert [line for chunk in chunks for line in chunk.b] == b


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        (b"", b"abc", []),
        (b"abc", b"abc", [(0, 0), (1, 1), (2, 2)]),
        (b"axbyc", b"abc", [(0, 0), (2, 1), (4, 2)]),
        (b"xaxbx", b"yaybyy", [(1, 1), (3, 3)]),
        (b"abc", b"cab", [(0, 1), (1, 2)]),
        (b"1x2x3", b"01x2yx34", [(0, 1), (1, 2), (2, 3), (3, 5), (4, 6)]),
        (b"xabyz", b"qabab", []),  # nothing is unique: it counts as changed
    ],
)
def test_where_two_texts_agree(a: bytes, b: bytes, pairs: list[tuple[int, int]]) -> None:
    assert matches([bytes([c]) for c in a], [bytes([c]) for c in b]) == pairs


def test_any_text_takes_hardly_longer_than_its_length() -> None:
    """Equal lines by the hundred thousand, which cost other ways of comparing the square of that."""
    lines, blank = [b"x\n", b"\n"] * 50_000, [b"\n", b"y\n"] * 50_000
    assert matches(lines, blank) == []
    assert len(matches([b"\n"] * 100_000, [b"\n"] * 99_999)) == 99_999
