"""The three-way merge of JSON trees itself, with no value special; `settings.json` is in test_merge_settings.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.merge.jsontext import Document, Node, document, meaning, parse
from claude_syncd.core.merge.trees import Merge, Path, Policy

KEYS = st.sampled_from("abc")
OBJECTS = st.recursive(
    st.dictionaries(KEYS, st.integers(0, 2), max_size=3),
    lambda inner: st.dictionaries(KEYS, st.one_of(st.integers(0, 2), inner), max_size=3),
    max_leaves=6,
)


class Rules(Policy):
    """Every array is a set of rules; the items "mine" belong to their side."""

    def is_set(self, path: Path) -> bool:
        return bool(path)

    def item_stays(self, path: Path, value: Node) -> bool:
        return bool(path) and meaning(value) == '"mine"'


def tree(text: str | None) -> Node | None:
    if text is None:
        return None
    found = parse(text.encode())
    assert isinstance(found, Document)
    return found.root


def merged(
    base: str | None, host: str | None, guest: str | None, *, host_wins: bool = True, policy: Policy | None = None
) -> tuple[str | None, list[Path]]:
    """The text of what comes out, None for nothing, and what clashed."""
    work = Merge(policy or Policy(), host_wins=host_wins)
    root = work.node((), tree(base), tree(host), tree(guest))
    return None if root is None else document(Document("", root, "")).decode(), work.clashes


@pytest.mark.parametrize(
    ("base", "host", "guest", "expected"),
    [
        ('{"a": 1}', '{"a": 1, "b": 2}', '{"a": 3}', '{"a": 3, "b": 2}'),
        ('{"a": 1, "b": 1}', '{"a": 1}', '{"a": 1, "b": 1}', '{"a": 1}'),
        ('{"a": 1, "b": 1}', '{"a": 1, "b": 1}', '{"a": 1}', '{"a": 1}'),
        ('{"a": {"x": 1}}', '{"a": {"x": 1, "y": 2}}', '{"a": {"x": 1, "z": 3}}', '{"a": {"x": 1, "y": 2, "z": 3}}'),
        # an edit beats a deletion, on either side
        ('{"a": 1}', '{"a": 2}', "{}", '{"a": 2}'),
        ('{"a": 1}', "{}", '{"a": 2}', '{"a": 2}'),
        # without a base nothing was deleted
        (None, '{"a": 1}', '{"b": 2}', '{"a": 1, "b": 2}'),
        # the host's text stays as it is spelled
        ('{"a":1}', '{\n  "a" :1.0e0\n}', '{"a":1, "b":[1,  2]}', '{\n  "a" :1.0e0,\n  "b":[1,  2]\n}'),
        (None, None, None, None),
    ],
)
def test_both_sides_changes_are_in_the_hosts_text(
    base: str | None, host: str | None, guest: str | None, expected: str | None
) -> None:
    assert merged(base, host, guest) == (expected, [])


@pytest.mark.parametrize(("host_wins", "expected"), [(True, '{"a": {"x": 2}}'), (False, '{"a": {"x": 3}}')])
def test_a_clash_is_named_and_one_side_wins(expected: str, *, host_wins: bool) -> None:
    found = merged('{"a": {"x": 1}}', '{"a": {"x": 2}}', '{"a": {"x": 3}}', host_wins=host_wins)
    assert found == (expected, [("a", "x")])


def test_sets_take_in_and_leave_out_item_by_item() -> None:
    host, guest = '{"r": ["b", "mine", "c"]}', '{"r": ["a", "b", "d", "mine"]}'
    text, clashes = merged('{"r": ["a", "b", "c"]}', host, guest, policy=Rules())
    assert json.loads(str(text)) == {"r": ["b", "mine", "d"]}
    assert clashes == []


@given(OBJECTS, OBJECTS, OBJECTS)
def test_either_side_as_the_host_means_the_same(base: object, ours: object, theirs: object) -> None:
    old, a, b = (json.dumps(one) for one in (base, ours, theirs))
    one, clashes = merged(old, a, b, host_wins=True)
    other, same_clashes = merged(old, b, a, host_wins=False)
    assert meaning(tree(one)) == meaning(tree(other))
    assert sorted(clashes) == sorted(same_clashes)


@given(OBJECTS, OBJECTS)
def test_a_side_that_did_not_change_has_no_say(base: object, ours: object) -> None:
    old, new = json.dumps(base), json.dumps(ours)
    for host, guest in ((new, old), (old, new)):
        text, clashes = merged(old, host, guest)
        assert meaning(tree(text)) == meaning(tree(new))
        assert clashes == []
