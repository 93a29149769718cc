import hashlib
import json

import pytest

from claude_syncd.core.merge.classes import MergeClass, merge_class
from claude_syncd.core.merge.jsontext import MAX_DEPTH, MAX_SIZE, Document, Invalid, document, meaning, parse
from claude_syncd.core.merge.settings import merge
from claude_syncd.core.merge.sides import Conflict, Merged, Side

SID = "0b5e3c9e-8d4f-4a6f-9f65-3d1c6a1c2e01"
VALID = [
    b"{}",
    b" { } \r\n",
    b"[]",
    b"[ ]\n",
    b'{"a":1.0,"b":-0,"c":1e5,"d":[1 , 2 ],"e":{"f":null , "g":true}}',
    b'{\n  "a": "\\u00e9\\ud83d\\/ \xc3\xa9",\n\t"b" : [\n    false\n  ]\n}\n',
    b'"x"',
    b"0",
    b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1),
]


@pytest.mark.parametrize("content", VALID)
def test_a_text_comes_out_as_it_went_in(content: bytes) -> None:
    tree = parse(content)
    assert isinstance(tree, Document)
    assert document(tree) == content
    said = meaning(tree.root)
    assert said is not None
    assert json.loads(said) == json.loads(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not valid JSON at line 1"),
        (b'{"a": 1,\n}', "it is not valid JSON at line 2"),
        (b'{\n"a": 1\n// no\n}', "it is not valid JSON at line 3"),
        (b"{'a': 1}", "it is not valid JSON at line 1"),
        (b'{"a" 1}', "it is not valid JSON at line 1"),
        (b'{"a": 01}', "it is not valid JSON at line 1"),
        (b'{"a": NaN}', "it is not valid JSON at line 1"),
        (b'{"a": "\n"}', "it is not valid JSON at line 1"),
        (b'{"a": "\\x"}', "it is not valid JSON at line 1"),
        (b'{"a": "b', "it is not valid JSON at line 1"),
        (b"[1 2]", "it is not valid JSON at line 1"),
        (b"{} x", "it is not valid JSON at line 1"),
        ("{\u00a0}".encode(), "it is not valid JSON at line 1"),
        (b"\xef\xbb\xbf{}", "it is not valid JSON at line 1"),
        (b'{"a":1,"b":{"c":1,"\\u0063":2}}', "the key 'c' comes twice"),
        (b'{"a":"\xff"}', "it is not UTF-8"),
        (b"[" * (MAX_DEPTH + 1), "it is nested too deeply"),
        (b" " * (MAX_SIZE + 1), "it is too large"),
    ],
)
def test_what_is_not_taken_for_json(content: bytes, reason: str) -> None:
    assert parse(content) == Invalid(reason)


def test_a_string_without_end_takes_no_longer_than_its_length() -> None:
    assert isinstance(parse(b'"' + b"a\\n" * 300_000), Invalid)


def side(content: bytes, mtime_ns: int = 1) -> Side:
    return Side(content=content, mtime_ns=mtime_ns, sha256=hashlib.sha256(content).hexdigest())


def merged(base: str | None, older: str, newer: str) -> Merged | Conflict:
    old = None if base is None else base.encode()
    found = merge(old, side(older.encode()), side(newer.encode(), 2), settings=False)
    assert merge(old, side(newer.encode(), 2), side(older.encode()), settings=False) == found
    return found


BASE = '{\n  "a": 1.0,\n  "b": {"x": 1, "y": 2},\n  "c": [1, 2]\n}\n'
A15 = BASE.replace("1.0", "1.5")
Y3 = BASE.replace('"y": 2', '"y": 3')
NO_X = BASE.replace('"x": 1, ', "")
NO_C = BASE.replace(',\n  "c": [1, 2]', "")
WITH_D = BASE.replace("]\n}", '],\n  "d": { "e":\t1e2 }\n}')


@pytest.mark.parametrize(
    ("base", "older", "newer", "expected"),
    [
        # Only one side changed.
        (BASE, BASE, A15, A15),
        (BASE, A15, BASE, A15),
        (BASE, BASE, "{}", "{}"),
        (BASE, "{}", BASE, "{}\n"),
        # Each changed something else.
        (BASE, A15, Y3, A15.replace('"y": 2', '"y": 3')),
        (BASE, NO_X, A15, A15.replace('"x": 1, ', "")),
        (BASE, NO_C, A15, '{\n  "a": 1.5,\n  "b": {"x": 1, "y": 2}\n}\n'),
        # New members go to the end, with the white space that is usual there; their values stay as they are spelled.
        (BASE, WITH_D, A15, WITH_D.replace("1.0", "1.5")),
        ("{}", '{"a":1}', '{\n\t"b" : "\\u00e9"\n}', '{\n\t"b" : "\\u00e9",\n\t"a":1\n}'),
        ("{}", '{\n  "a": 1\n}', '{"b": 2}', '{"b": 2, "a": 1}'),
        ("{}", '{"a":1}', "{ }", '{"a":1}'),
        # Order and spelling are no changes.
        (BASE, '{"c":[1,2],"b":{"y":2,"x":1},"a":1.0}', BASE.replace("1.0", "7"), BASE.replace("1.0", "7")),
        ('{"a":"\\u00e9"}', '{"a":"é"}', '{"a":"\\u00e9","b":1}', '{"a":"\\u00e9","b":1}'),
        # Unknown base: everything of both.
        (None, '{"a":1,"o":{"x":1}}', '{"b":2,"o":{"y":1}}', '{"b":2,"o":{"y":1, "x":1},"a":1}'),
        # An edit beats a deletion.
        (BASE, "{}", A15, '{\n  "a": 1.5\n}\n'),
        (BASE, A15, "{}\n", '{\n  "a": 1.5\n}\n'),
        # An empty value is a value.
        ('{"a":1}', '{"a":1,"b":{},"c":[]}', '{"a":2}', '{"a":2, "b":{}, "c":[]}'),
        ('{"a":1,"b":{}}', '{"a":1}', '{"a":2,"b":{}}', '{"a":2}'),
        ('{"a":1,"b":{}}', '{"a":2,"b":{}}', '{"a":1}', '{"a":2}'),
    ],
)  # fmt: skip
def test_three_ways(base: str | None, older: str, newer: str, expected: str) -> None:
    found = merged(base, older, newer)
    assert isinstance(found, Merged)
    assert found.content.decode() == expected
    assert found.mtime_ns == 2
    assert found.clashes == ()


@pytest.mark.parametrize(
    ("base", "older", "newer", "expected", "clashes"),
    [
        ('{"a":1,"b":1}', '{"a":2,"b":2}', '{"a":3,"b":1}', '{"a":3,"b":2}', ("a",)),
        ('{"o":{"x":1}}', '{"o":{"x":2}}', '{"o":{"x":3}}', '{"o":{"x":3}}', ("o.x",)),
        ('{"o":{"x":1}}', '{"o":{"x":2}}', '{"o":[]}', '{"o":[]}', ("o",)),
        ('{"l":[1]}', '{"l":[1,2]}', '{"l":[1,3]}', '{"l":[1,3]}', ("l",)),
        (None, '{"a":1}', '{"a":1.0}', '{"a":1.0}', ("a",)),
        (None, '{"\\ud800":1}', '{"\\ud800":2}', '{"\\ud800":2}', ("?",)),
    ],
)
def test_where_both_want_something_else_the_newer_wins(
    base: str | None, older: str, newer: str, expected: str, clashes: tuple[str, ...]
) -> None:
    found = merged(base, older, newer)
    assert isinstance(found, Merged)
    assert (found.content.decode(), found.clashes) == (expected, clashes)


@pytest.mark.parametrize("broken", ['{"a":1,"a":2}', '{"a":1,}', "[]", ""])
def test_what_is_no_json_object_never_wins_and_is_kept(broken: str) -> None:
    for older, newer in ((broken, '{"a":3}'), ('{"a":3}', broken)):
        found = merged('{"a":1}', older, newer)
        assert isinstance(found, Conflict)
        assert (found.winner.content, found.kept.content) == (b'{"a":3}', broken.encode())
    both = merged(None, broken, "[0]")
    assert isinstance(both, Conflict)
    assert both.winner.content == b"[0]"


def test_a_base_that_is_no_json_is_none() -> None:
    assert merged("{", '{"a":1}', '{"b":1}') == merged(None, '{"a":1}', '{"b":1}')


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"tree/projects/~-app/{SID}.jsonl", MergeClass.TRANSCRIPT),
        (f"tree/projects/~-app/{SID}/subagents/agent-1.jsonl", MergeClass.TRANSCRIPT),
        (f"tree/projects/~-app/{SID}/subagents/agent-1.meta.json", MergeClass.SIDE),
        (f"tree/projects/~-app/{SID}/tool-results/a.txt", MergeClass.SIDE),
        ("tree/projects/~-app/memory/MEMORY.md", MergeClass.MEMORY_INDEX),
        ("tree/projects/~-app/memory/topic.md", MergeClass.TEXT),
        ("tree/agent-memory/reviewer/MEMORY.md", MergeClass.MEMORY_INDEX),
        ("tree/rules/MEMORY.md", MergeClass.TEXT),
        ("tree/history.jsonl", MergeClass.HISTORY),
        ("tree/settings.json", MergeClass.SETTINGS),
        ("tree/settings.local.json", MergeClass.SETTINGS),
        ("tree/keybindings.json", MergeClass.JSON),
        ("tree/themes/night.json", MergeClass.JSON),
        ("tree/CLAUDE.md", MergeClass.TEXT),
        ("tree/skills/chart/SKILL.md", MergeClass.TEXT),
        ("tree/skills/chart/logo.png", MergeClass.OTHER),
        ("tree/paste-cache/0123456789abcdef.txt", MergeClass.SIDE),
        ("conflicts/0123/tree/settings.json", MergeClass.OTHER),
    ],
)
def test_which_merge_a_path_gets(path: str, expected: MergeClass) -> None:
    assert merge_class(path) is expected
