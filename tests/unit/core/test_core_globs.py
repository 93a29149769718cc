"""Patterns by themselves; what they select is tested with the rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.globs import Globs


def test_without_a_pattern_nothing_matches() -> None:
    for patterns in ([], [""], ["/"], ["//", ""]):
        globs = Globs(patterns)
        assert not globs
        assert not globs.match("a")
        assert not globs.below("")
        assert not globs.names("a", "a")
    assert Globs(["", "a"])


def test_any_of_several_patterns_matches() -> None:
    globs = Globs(["*.md", "/x/", "a|b", "(c"])
    assert [rel for rel in ("a.md", "d/a.md", "x/y", "a|b", "(c") if not globs.match(rel)] == []
    assert [rel for rel in ("x", "d/x/y", "a", "b", "c", "a.mdx") if globs.match(rel)] == []


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("a", ["a", "x/a", "a/x"], ["ab", "ba", "x/ab"]),
        ("a/", ["a/x", "x/a/y"], ["a", "x/a"]),
        ("a/b", ["a/b", "a/b/c"], ["x/a/b", "a/bc", "a"]),
        ("/a", ["a", "a/b"], ["x/a"]),
        ("a*", ["a", "ab", "x/ab/c"], ["ba"]),
        ("a**", ["a", "ab", "ab/c"], ["x/b"]),  # within a part, two stars are one
        ("a/*/b", ["a/x/b"], ["a/b", "a/x/y/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["b", "ab"]),
        ("**/a", ["a", "x/y/a"], ["xa"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "x/a/b"]),
        ("?", ["a", "é", "x/y"], ["ab"]),
        ("?/?", ["a/b"], ["a", "ab/c"]),
        ("[a-c]", ["[a-c]"], ["a", "b"]),
        ("!a", ["!a"], ["a", "b"]),
        ("#a", ["#a"], ["a"]),
        ("a\\*", ["a\\x"], ["a*"]),
        ("a b", ["a b"], ["a"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, matched: list[str], unmatched: list[str]) -> None:
    globs = Globs([pattern])
    assert [rel for rel in matched if not globs.match(rel)] == []
    assert [rel for rel in unmatched if globs.match(rel)] == []


@pytest.mark.parametrize(
    ("pattern", "rel", "part", "named"),
    [
        ("node_modules/", "skills/x/node_modules/y.js", "node_modules", True),
        ("node_*/", "skills/x/node_modules/y.js", "node_modules", True),
        ("*/", "skills/x/node_modules/y.js", "node_modules", False),
        ("**", "skills/x/node_modules/y.js", "node_modules", False),
        ("skills/**", "skills/x/node_modules/y.js", "node_modules", False),
        ("skills/**", "skills/x/node_modules/y.js", "skills", True),
        ("skills/?/node_modules/", "skills/x/node_modules/y.js", "x", False),
        ("other/node_modules/", "skills/x/node_modules/y.js", "node_modules", False),
        ("*.log", "run.log", "run.log", True),
    ],
)
def test_who_names_a_part_means_it(pattern: str, rel: str, part: str, named: bool) -> None:
    assert Globs([pattern]).names(rel, part) is named


@pytest.mark.parametrize(
    ("pattern", "folder", "expected"),
    [
        ("*.md", "any/folder", True),
        ("/notes/*.md", "", True),
        ("/notes/*.md", "notes", True),
        ("/notes/*.md", "other", False),
        ("notes/*/x", "notes/a", True),
        ("notes/*/x", "notes/a/x", True),  # what matches a folder matches all below it
        ("notes/**/x", "notes/a/b/c", True),
        ("notes/a/x", "notes/b", False),
        ("n?tes/x", "nutes", True),
    ],
)
def test_where_a_match_may_lie_below(pattern: str, folder: str, expected: bool) -> None:
    assert Globs([pattern]).below(folder) is expected


def test_below_wants_each_part_named() -> None:
    globs = Globs(["node_modules/", "*.log"])
    assert globs.below("skills", ("node_modules",))
    assert globs.below("skills", ("node_modules", "run.log"))
    assert not globs.below("skills", ("dist",))
    assert not globs.below("skills", ("node_modules", "dist"))


names = st.text("ab.*?", min_size=1, max_size=3)
pattern_parts = st.one_of(names, st.just("**"))
patterns = st.builds(
    lambda start, body, end: start + "/".join(body) + end,
    st.sampled_from(["", "/"]),
    st.lists(pattern_parts, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)
paths = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=5)


@given(st.lists(patterns, max_size=3), paths)
def test_no_match_lies_where_below_says_none_does(given_patterns: list[str], parts: list[str]) -> None:
    globs = Globs(given_patterns)
    rel = "/".join(parts)
    if globs.match(rel):
        folders = ["/".join(parts[:depth]) for depth in range(len(parts))]
        assert [folder for folder in folders if not globs.below(folder)] == []
        assert globs.match(f"{rel}/below"), "what matches a folder matches everything below it"
    one_by_one = any(Globs([pattern]).match(rel) for pattern in given_patterns)
    assert globs.match(rel) == one_by_one
