from claude_syncd.core.model import Slice
from claude_syncd.engine.feed import BLOB, FOLD_AT, fold_point


def slices(*lengths: int) -> list[Slice]:
    return [Slice("o", n, 0, length) for n, length in enumerate(lengths)]


def test_a_few_appended_slices_are_kept() -> None:
    assert fold_point(slices(BLOB, BLOB, 10, 20), 5) == (4, 2 * BLOB + 30)


def test_many_appended_slices_are_folded_behind_the_last_whole_blob() -> None:
    assert fold_point(slices(BLOB, *[10] * FOLD_AT), 5) == (1, BLOB)


def test_appended_slices_are_folded_when_they_fill_a_blob() -> None:
    assert fold_point(slices(BLOB, BLOB // 2), BLOB // 2) == (1, BLOB)
    assert fold_point(slices(BLOB, BLOB // 2), BLOB // 2 - 1) == (2, BLOB + BLOB // 2)


def test_whole_blobs_only_are_never_uploaded_again() -> None:
    assert fold_point(slices(BLOB, BLOB), 3 * BLOB) == (2, 2 * BLOB)


def test_nothing_yet() -> None:
    assert fold_point([], 5) == (0, 0)
