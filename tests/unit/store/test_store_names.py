"""Names, prefixes and spans: decided on strings and numbers alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.errors import StoreRefused
from claude_syncd.store.base import MAX_OBJECT, Span
from claude_syncd.store.names import check_size, name_parts, prefix_parts, span_bounds

PARTS = st.text("abyzABYZ0189._-", min_size=1, max_size=12).filter(lambda part: part not in {".", ".."})


@given(st.lists(PARTS, min_size=1, max_size=8).filter(lambda parts: parts[0] != "tmp"))
def test_a_name_is_its_parts(parts: list[str]) -> None:
    assert name_parts("/".join(parts)) == parts


@given(st.text())
def test_whatever_is_accepted_stays_below_the_root(name: str) -> None:
    try:
        parts = name_parts(name)
    except StoreRefused:
        return
    assert name.isascii()
    assert not {"", ".", ".."}.intersection(parts)
    assert not any(set(part) & {"/", "\\", "\0", ":"} for part in parts)


@given(st.lists(PARTS, max_size=6), st.text("ab.-", max_size=4))
def test_a_prefix_is_folders_and_a_beginning(parts: list[str], beginning: str) -> None:
    prefix = "".join(f"{part}/" for part in parts) + beginning
    assert prefix_parts(prefix) == (parts, beginning)


@pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "a//", "a b", "a/*", "é", "a/" * 300])
def test_other_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(StoreRefused):
        prefix_parts(prefix)


@given(st.binary(max_size=50), st.integers(-60, 60), st.integers(0, 60))
def test_a_span_means_what_a_slice_means(data: bytes, start: int, length: int) -> None:
    if start < 0:
        length = -start
    first, count = span_bounds(Span(start, length), len(data))
    end = start + length if start >= 0 else None
    assert data[first : first + count] == data[start:end]
    assert 0 <= first <= first + count <= len(data)


def test_sizes_have_a_bound() -> None:
    check_size("packs/x", MAX_OBJECT)
    with pytest.raises(StoreRefused, match="packs/x"):
        check_size("packs/x", MAX_OBJECT + 1)
