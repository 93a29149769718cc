import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.names import MAX_DEPTH, MAX_PATH_BYTES, check_portable, fold
from claude_syncd.errors import FormatError


@pytest.mark.parametrize(
    "path",
    [
        "tree/CLAUDE.md",
        "conflicts/0123456789abcdef/tree/CLAUDE.md",
        "tree/skills/..a/...",
        "tree/skills/.hidden/~x/a b",
        "tree/skills/caf\u00e9/東京/🎉.md",
        "tree/commands/ns:sub.md",
        "tree/a/" + "x" * 255,
        "tree/a/" + "é" * 127,
        "/".join(["tree", *["d"] * (MAX_DEPTH - 1)]),
        "tree/projects/~=dev%2Fapp/memory/x.md",
    ],
)
def test_ordinary_paths_pass(path: str) -> None:
    check_portable(path)


@pytest.mark.parametrize(
    "path",
    ["", "tree", "conflicts", "tree/", "/tree/x", "Tree/x", "state/x", "x", "tree/a/", "tree//a", "tree/a//b",
     "tree/a/" + "x" * 256, "tree/a/" + "é" * 128, "tree/" + "a/" * MAX_PATH_BYTES,
     "/".join(["tree", *["d"] * MAX_DEPTH])],
)  # fmt: skip
def test_malformed_paths_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        check_portable(path)


@given(st.text(max_size=40).map(lambda text: "tree/" + text))
def test_what_passes_stays_within_its_root(path: str) -> None:
    try:
        check_portable(path)
    except FormatError:
        return
    assert unicodedata.normalize("NFC", path) == path
    assert all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in path.split("/"))
    assert not any(unicodedata.category(c) in ("Cc", "Cs") or c == "\\" for c in path)


def test_errors_show_the_path_without_its_control_characters() -> None:
    with pytest.raises(FormatError) as caught:
        check_portable("tree/\x1b[2J\u202egnp.exe" + "x" * 5000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("IDE", "ide"),
        ("ide.", "ide"),
        ("ide ", "ide"),
        ("\uff49de", "ide"),
        ("id\u0065\u034f", "ide"),
        (".credential\u017f.json", ".credentials.json"),
        (".cre\u00addentials.json\ufe0f", ".credentials.json"),
        ("\u212aey", "key"),
        ("straße", "strasse"),
        ("CAFE\u0301", "café"),
    ],
)
def test_names_that_a_file_system_may_take_for_each_other_fold_alike(name: str, folded: str) -> None:
    assert fold(name) == folded


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(name: str) -> None:
    assert fold(fold(name)) == fold(name)
