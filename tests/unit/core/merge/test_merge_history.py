import json

import pytest

from claude_syncd.core.merge.history import Homes, merge, pastes, union
from claude_syncd.core.merge.sides import Merged, Side


def prompt(timestamp: float, display: str = "hi", session: str | None = "s1", **more: object) -> bytes:
    row = {"display": display, "pastedContents": {}, "timestamp": timestamp, "project": "/home/ann/app", **more}
    if session is not None:
        row["sessionId"] = session
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def test_each_prompt_once_oldest_first() -> None:
    ours, theirs = prompt(1) + prompt(5), prompt(1) + prompt(3)
    assert union(ours, theirs) == prompt(1) + prompt(3) + prompt(5)
    assert union(theirs, ours) == union(ours, theirs)


def test_one_content_for_all_sides() -> None:
    a, b = Side(content=prompt(2), mtime_ns=7, sha256="a"), Side(content=prompt(1), mtime_ns=9, sha256="b")
    assert merge(a, b) == Merged(content=prompt(1) + prompt(2), mtime_ns=9)


@pytest.mark.parametrize(
    "other",
    [
        prompt(2),
        prompt(1.5),
        prompt(1, display="other"),
        prompt(1, session="s2"),
        prompt(1, session=None),
        prompt(1, display="\ud83d"),
    ],
)
def test_what_makes_a_prompt_another_one(other: bytes) -> None:
    assert sorted(union(prompt(1), other).splitlines(keepends=True)) == sorted([prompt(1), other])


def test_two_halves_of_a_character_are_two_prompts() -> None:
    assert union(prompt(1, display="\ud83d"), prompt(1, display="\ud83e")).count(b"\n") == 2


def test_of_two_spellings_of_one_prompt_the_longer_stays() -> None:
    short, long = prompt(1), prompt(1, pastedContents={"1": {"id": 1, "type": "text", "content": "x"}})
    assert union(short, long) == union(long, short) == long


def test_of_two_spellings_as_long_as_each_other_the_same_one_stays_everywhere() -> None:
    ours, theirs = prompt(1), prompt(1).replace(b"/app", b"/web")
    assert union(ours, theirs) == union(theirs, ours) == theirs


def test_lines_that_cannot_be_read_come_first_and_once() -> None:
    broken = [b'{"display":"x"}\n', b'{"display":"x","timestamp":"1"}\n', b'{"torn', b"\0\0\n", b"\xff\n", b"[]\n"]
    content = union(prompt(1), *broken, b"".join(broken[:3]), b"\n \r\n")
    assert content == b"".join(sorted(b.removesuffix(b"\n") + b"\n" for b in broken)) + prompt(1)
    assert union(content, content) == content


def test_a_time_beyond_all_times_does_not_order() -> None:
    line = prompt(1).replace(b'"timestamp":1', b'"timestamp":1e300')
    assert union(prompt(5), line) == line + prompt(5)


def test_nothing_is_lost_when_a_side_was_emptied() -> None:
    assert union(b"", prompt(1)) == prompt(1)
    assert union() == b""


def test_a_last_line_without_its_end_gets_one() -> None:
    assert union(prompt(2)[:-1], prompt(1)) == prompt(1) + prompt(2)


ANN, BOB = Homes("/home/ann"), Homes("/Users/bob")


def of(project: str, end: str = "\n") -> bytes:
    """A line whose project is spelled so."""
    return f'{{"display":"in /home/ann/app and ${{HOME}} and ~/x","project" : "{project}","timestamp":1}}{end}'.encode()


@pytest.mark.parametrize(
    ("local", "portable"),
    [
        ("/home/ann/app", "~/app"),
        ("/home/ann", "~"),
        ("/home/ann/", "~/"),
        ("/home/ann/caf\\u00e9", "~/caf\\u00e9"),
        ("/home/anna/app", "/home/anna/app"),
        ("/srv/home/ann/app", "/srv/home/ann/app"),
        ("${HOME}/app", "${HOME}/app"),
        ("~/app", "~~/app"),
        ("~", "~~"),
        ("~~x", "~~~x"),
        ("\\/home\\/ann/app", "\\/home\\/ann/app"),
        ("", ""),
    ],
)
def test_a_project_below_the_home_is_named_by_a_tilde_and_no_other_byte_changes(local: str, portable: str) -> None:
    for end in ("\n", ""):
        assert ANN.outward(of(local, end)) == of(portable, end)
        assert ANN.inward(of(portable, end)) == of(local, end)


def test_each_device_names_the_project_as_it_is_there() -> None:
    assert BOB.inward(ANN.outward(of("/home/ann/app"))) == of("/Users/bob/app")


def test_without_a_home_nothing_is_named_anew() -> None:
    for home in ("", "/", "relative", "/home/\udcff"):
        for project in ("/home/ann/app", "~/app", "/"):
            assert Homes(home).outward(of(project)) == of(project)
            assert Homes(home).inward(of(project)) == of(project)


def test_a_home_with_quotes_in_it_is_found_as_it_is_spelled() -> None:
    assert Homes('/home/"ann"\\x').outward(of('/home/\\"ann\\"\\\\x/y')) == of("~/y")


@pytest.mark.parametrize(
    "line",
    [
        b'{"project":"/srv/x","display":"a \\u00e9"}',
        b'{"project":5}\n',
        b'{"pastedContents":{"1":{"project":"/home/ann/app"}}}\n',
        b'{"pastedContents":{"1":{"project":"~/app"}}}\n',
        b'{"project":"/home/ann/app"\n',
        b'{"project":"~/app"\n',
        b"\0\n",
    ],
)
def test_lines_of_no_such_project_stay(line: bytes) -> None:
    assert ANN.outward(line) == line
    assert ANN.inward(line) == line


def test_only_the_prompts_own_project_is_renamed() -> None:
    inner = '"pastedContents":{"1":{"project":"/home/ann/app"}}'
    line = f'{{{inner},"project":"/home/ann/app","timestamp":1}}\n'
    assert ANN.outward(line.encode()) == f'{{{inner},"project":"~/app","timestamp":1}}\n'.encode()


def test_which_pastes_must_be_there() -> None:
    one, two = "0123456789abcdef", "fedcba9876543210"
    content = prompt(
        1,
        pastedContents={
            "1": {"id": 1, "type": "text", "contentHash": one},
            "2": {"id": 2, "type": "text", "content": "short"},
            "3": {"id": 3, "type": "text", "contentHash": two},
        },
    ) + prompt(2, pastedContents={"1": {"contentHash": one}})
    assert pastes(content) == {one, two}


@pytest.mark.parametrize("bad", ["../../.bashrc", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", 5, None])
def test_what_is_no_hash_names_no_file(bad: object) -> None:
    assert pastes(prompt(1, pastedContents={"1": {"contentHash": bad}})) == frozenset()
    assert pastes(b'{"pastedContents":{"1":{"contentHash":"0123456789abcdef"}}\n') == frozenset()
