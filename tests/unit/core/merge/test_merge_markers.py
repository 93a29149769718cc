from itertools import product

import pytest

from claude_syncd.core.merge.markers import has_markers, marked


def merged(ours: str, theirs: str) -> str:
    return marked(ours, theirs, our_name="in the tree", their_name="kept, by bob")


def side(text: str, *, ours: bool) -> str:
    """What is left of a marked text when one side is chosen everywhere."""
    taken, keep = [], True
    for line in text.splitlines(keepends=True):
        if line.startswith("<<<<<<< "):
            keep = ours
        elif line == "=======\n":
            keep = not ours
        elif line.startswith(">>>>>>> "):
            keep = True
        elif keep:
            taken.append(line)
    return "".join(taken)


def test_what_differs_stands_between_markers_and_the_rest_once() -> None:
    assert merged("a\nb\nc\n", "a\nx\nc\nd\n") == (
        "a\n<<<<<<< in the tree\nb\n=======\nx\n>>>>>>> kept, by bob\nc\n"
        "<<<<<<< in the tree\n=======\nd\n>>>>>>> kept, by bob\n"
    )


@pytest.mark.parametrize(
    ("ours", "theirs"), list(product(["", "a\n", "a\nb\n", "b\u2028c\r\n\n", "x\ny\nz\n"], repeat=2))
)
def test_either_side_can_be_had_back(ours: str, theirs: str) -> None:
    text = merged(ours, theirs)
    keep = {"ours": side_by_newlines(text, ours=True), "theirs": side_by_newlines(text, ours=False)}
    assert keep == {"ours": ours, "theirs": theirs}
    assert has_markers(text) is (ours != theirs)


def side_by_newlines(text: str, *, ours: bool) -> str:
    """As `side`; what Python takes for other ends of lines stands in for itself."""
    hidden = text.replace("\u2028", "\ue000").replace("\r", "\ue001")
    return side(hidden, ours=ours).replace("\ue000", "\u2028").replace("\ue001", "\r")


def test_a_text_without_a_last_newline_keeps_markers_on_lines_of_their_own() -> None:
    assert merged("a", "b") == "<<<<<<< in the tree\na\n=======\nb\n>>>>>>> kept, by bob\n"
    assert merged("a", "a") == "a"
    assert not has_markers("a < b\n=======\nis a heading\n")
