"""Merging: whoever merges what in whatever order, all end with the same files, and no line is lost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from claude_syncd.core.merge.fork import fork_lines
from claude_syncd.core.merge.history import Homes, pastes, union
from claude_syncd.core.merge.jsontext import Document, document, parse
from claude_syncd.core.merge.rows import RowKind, lines_of, read_row
from claude_syncd.core.merge.settings import Incoming, Outgoing, incoming, outgoing
from claude_syncd.core.merge.settings import merge as merge_json
from claude_syncd.core.merge.sides import Conflict, Merged, Side
from claude_syncd.core.merge.text import merge as merge_text
from claude_syncd.core.merge.transcript import Branch, Fork, Heads, How, Mark, merge_heads

if TYPE_CHECKING:
    import random
    from collections.abc import Set as AbstractSet

SID = "0b5e3c9e-8d4f-4a6f-9f65-3d1c6a1c2e01"
SECRET = "sk-ant-oat01-never-leaves-this-machine"
NAMES = ("laptop", "desktop", "server", "tablet")
relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""No example is judged by the clock of a busy machine."""
STEPS = 60
"""More than any merge of four sides of seven lines needs."""


def row(uuid: str, sid: str = SID, second: int = 0) -> bytes:
    value = {
        "parentUuid": None,
        "sessionId": sid,
        "type": "user",
        "message": {"role": "user", "content": uuid},
        "uuid": uuid,
        "timestamp": f"2026-11-01T10:00:{second:02d}.000Z",
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def title(text: str, sid: str = SID) -> bytes:
    return json.dumps({"type": "custom-title", "customTitle": text, "sessionId": sid}).encode() + b"\n"


LINES = st.sampled_from(
    [
        *(row(f"u{n}", second=n % 2) for n in range(4)),
        title("a"),
        title("b (from there)"),
        b'{"type":"mode","mode":"plan","sessionId":"%s"}\n' % SID.encode(),
        b'{"type":"last-prompt","leafUuid":"u1"}\n',
        b'{"uuid":"u0"}{"uuid":"u1"}\n',
        b"\0\0\0\0\n",
        b'{"uuid":"u1","sessi\n',
        b"\n",
    ]
)
ENDS = st.sampled_from([b"", b"", b"", b'{"uuid":"u9","ses', b'{"uuid":"u8"}', b"\0\0"])
CONTENTS = st.builds(lambda lines, end: b"".join(lines) + end, st.lists(LINES, max_size=6), ENDS)
SIDES = st.lists(CONTENTS, min_size=2, max_size=4)
BYTES = st.lists(st.one_of(st.binary(max_size=40), CONTENTS), min_size=2, max_size=3)


@dataclass(frozen=True)
class Content:
    data: bytes
    device: str

    def branch(self) -> Branch:
        return Branch(lines=partial(lines_of, self.data), mtime_ns=len(self.data), device_name=self.device)


def merged(sid: str, contents: list[Content], base: Mark | None = None) -> tuple[Content, dict[str, Content], Heads]:
    """The winner, the forks by id, and all of the verdict."""
    branches = [c.branch() for c in contents]
    heads = merge_heads(sid, branches, base)
    of = {id(b): c for b, c in zip(branches, contents, strict=True)}

    def fork(made: Fork) -> Content:
        side = of[id(made.branch)]
        lines = fork_lines(made.branch.lines(), sid, made.session_id, made.line, made.branch.device_name)
        return Content(b"".join(lines), side.device)

    return of[id(heads.winner)], {f.session_id: fork(f) for f in heads.forks}, heads


def settle(contents: list[Content], choose: random.Random) -> dict[str, bytes]:
    """Merge two at a time, in any order, forks too, until each session has one content."""
    sessions = {SID: list(contents)}
    for _ in range(STEPS):
        open_ones = [sid for sid, heads in sessions.items() if len(heads) > 1]
        if not open_ones:
            return {sid: heads[0].data for sid, heads in sessions.items()}
        sid = choose.choice(sorted(open_ones))
        pair = [sessions[sid].pop(choose.randrange(len(sessions[sid]))) for _ in range(2)]
        winner, forks, _ = merged(sid, pair)
        sessions[sid].append(winner)
        for new, content in forks.items():
            sessions.setdefault(new, []).append(content)
    pytest.fail("it does not come to an end")


def as_sides(contents: list[bytes]) -> list[Content]:
    return [Content(data, NAMES[n]) for n, data in enumerate(contents)]


def all_at_once(contents: list[Content]) -> dict[str, bytes]:
    winner, forks, _ = merged(SID, contents)
    return {SID: winner.data, **as_data(forks)}


def as_data(forks: dict[str, Content]) -> dict[str, bytes]:
    return {sid: fork.data for sid, fork in forks.items()}


def told(sessions: dict[str, bytes]) -> dict[str, list[bytes]]:
    """Every session without the title that names a device: two that had the same conversation may both be named."""
    return {
        sid: [
            line.removesuffix(b"\n")
            for line in lines_of(data)
            if not (found := read_row(line, sid)).torn and found.kind is not RowKind.MARK
        ]
        for sid, data in sessions.items()
    }


@relaxed
@given(SIDES, st.randoms(use_true_random=False))
def test_the_order_of_merging_transcripts_does_not_matter(contents: list[bytes], choose: random.Random) -> None:
    sides = as_sides(contents)
    expected = told(all_at_once(sides))
    assert told(settle(sides, choose)) == expected
    assert told(settle(sides[::-1], choose)) == expected


@relaxed
@given(SIDES, CONTENTS)
def test_the_sides_come_in_any_order(contents: list[bytes], base: bytes) -> None:
    sides = as_sides(contents)
    mark = Mark(len(base), hashlib.sha256(base).hexdigest())
    for known in (None, mark):
        winner, forks, heads = merged(SID, sides, known)
        winner_2, forks_2, heads_2 = merged(SID, sides[::-1], known)
        assert winner.data == winner_2.data
        assert told(as_data(forks)) == told(as_data(forks_2))
        assert heads.mtime_ns == heads_2.mtime_ns == max(map(len, contents))


@relaxed
@given(SIDES)
def test_what_was_merged_is_at_rest(contents: list[bytes]) -> None:
    """Merging the winner again with any side, and each fork with itself made anew, changes nothing."""
    sides = as_sides(contents)
    winner, forks, _ = merged(SID, sides)
    again, forks_again, _ = merged(SID, [winner, *sides])
    assert again.data == winner.data
    assert forks_again == forks
    for sid, fork in forks.items():
        kept, more, _ = merged(sid, [fork, forks_again[sid]])
        assert kept.data == fork.data
        assert more == {}


@relaxed
@given(SIDES, CONTENTS)
def test_no_line_is_lost(contents: list[bytes], base: bytes) -> None:
    """Every complete line is in the winner or in a fork, but metadata of a session of which a newer tail is there."""
    sides = as_sides(contents)
    for known in (None, Mark(len(base), hashlib.sha256(base).hexdigest())):
        winner, forks, heads = merged(SID, sides, known)
        there = {(r.kind, r.digest) for line in lines_of(winner.data) for r in [read_row(line, SID)]}
        there |= {
            (r.kind, r.digest) for sid, f in forks.items() for line in lines_of(f.data) for r in [read_row(line, sid)]
        }
        superseded = {id(s.branch) for s in heads.superseded}
        branches = [heads.winner, *(f.branch for f in heads.forks), *(s.branch for s in heads.superseded)]
        assert sorted(b"".join(b.lines()) for b in branches) == sorted(contents)
        for branch in branches:
            for line in branch.lines():
                found = read_row(line, SID)
                if found.kind is RowKind.CONTENT:
                    rewritten = any(s.branch is branch and s.how is How.REWRITTEN for s in heads.superseded)
                    assert (found.kind, found.digest) in there or (rewritten and line in base)
                elif line.endswith(b"\n") and id(branch) not in superseded:
                    assert (found.kind, found.digest) in there


@relaxed
@given(SIDES, st.lists(st.tuples(st.integers(0, 3), LINES), max_size=4))
def test_a_side_that_grows_makes_no_further_sessions(contents: list[bytes], more: list[tuple[int, bytes]]) -> None:
    """Sides that have parted and go on are merged again and again: into the sessions that there are already."""
    sides = [c.data.rpartition(b"\n")[0] + b"\n" for c in as_sides(contents) if b"\n" in c.data]
    if len(sides) < 2:
        return
    before = all_at_once(as_sides(sides))
    for at, line in more:
        if at < len(sides) and read_row(line, SID).kind is RowKind.METADATA:
            sides[at] += line
    grown = [data + row(f"new{n}", second=9) for n, data in enumerate(sides)]
    first = all_at_once(as_sides(grown))
    then = all_at_once(as_sides([data + row(f"more{n}", second=59 - n) for n, data in enumerate(grown)]))
    assert then.keys() == first.keys()
    assert before.keys() <= first.keys()
    for sid, data in then.items():
        kept, forks, _ = merged(sid, [Content(first[sid], "x"), Content(data, "x")])
        assert (kept.data, forks) == (data, {})


@relaxed
@given(BYTES)
def test_any_bytes_are_a_transcript(contents: list[bytes]) -> None:
    sides = as_sides(contents)
    winner, forks, heads = merged(SID, sides)
    assert winner.data in contents
    assert len(forks) + len(heads.superseded) + 1 == len(contents)


def side(content: bytes, mtime_ns: int) -> Side:
    return Side(content=content, mtime_ns=mtime_ns, sha256=hashlib.sha256(content).hexdigest())


PROMPTS = st.sampled_from(
    [
        *(b'{"display":"%d","timestamp":%d,"project":"/a"}\n' % (n % 2, n // 2) for n in range(6)),
        b'{"display":"0","timestamp":0,"project":"/a","pastedContents":{}}\n',
        b'{"torn\n',
        b"\xff\n",
    ]
)
HISTORIES = st.builds(b"".join, st.lists(PROMPTS, max_size=6))


@relaxed
@given(HISTORIES, HISTORIES, HISTORIES)
def test_histories_merge_in_any_order(a: bytes, b: bytes, c: bytes) -> None:
    whole = union(a, b, c)
    assert union(union(c, a), b) == union(a, union(c, b)) == union(whole, a) == whole
    got, had = set(whole.splitlines()), {line for content in (a, b, c) for line in content.splitlines()}
    assert got <= had
    longer = b'{"display":"0","timestamp":0,"project":"/a","pastedContents":{}}'
    assert had - got <= {b'{"display":"0","timestamp":0,"project":"/a"}'} if longer in had else had == got


@relaxed
@given(st.lists(st.binary(max_size=60), max_size=3))
def test_any_bytes_are_a_history(contents: list[bytes]) -> None:
    whole = union(*contents)
    assert union(whole) == whole
    assert pastes(whole) == frozenset()
    assert Homes("/b").outward(whole) == whole


TEXTS = st.builds(
    b"".join, st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\r\n", b"\n", b"\xff", b"\0e\n"]), max_size=8)
)


@relaxed
@given(TEXTS | st.none(), TEXTS, TEXTS, st.booleans())
def test_texts_merge_alike_whoever_merges_and_lose_no_line(base: bytes | None, a: bytes, b: bytes, union: bool) -> None:
    ours, theirs = side(a, 1), side(b, 2)
    found = merge_text(base, ours, theirs, union=union)
    assert merge_text(base, theirs, ours, union=union) == found
    if isinstance(found, Conflict):
        assert {found.winner.content, found.kept.content} == {a, b}
        assert found.winner is theirs
        assert not union
        return
    assert found.mtime_ns == 2
    had, got = set(base.split(b"\n")) if base is not None else set(), set(found.content.split(b"\n"))
    assert {line.rstrip(b"\r") for content in (a, b) for line in set(content.split(b"\n")) - had} - {b""} <= {
        line.rstrip(b"\r") for line in got
    }
    if base is not None and not union:
        assert merge_text(base, ours, side(base, 2)) == Merged(content=a, mtime_ns=2)
        assert merge_text(a, side(found.content, 3), ours) == Merged(content=found.content, mtime_ns=3)


VALUES = st.recursive(
    st.sampled_from([None, 1, 1.5, "x", "/srv/y", SECRET]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "token"]), inner, max_size=2),
    max_leaves=4,
)
RULES = st.lists(st.sampled_from(["A", "B", "Read(/srv/**)", f"Bash({SECRET})"]), max_size=3)
PERMISSIONS = st.fixed_dictionaries({}, optional={"allow": RULES | VALUES, "deny": RULES, "defaultMode": VALUES})
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "model": VALUES,
        "unknown": VALUES,
        "env": st.dictionaries(st.sampled_from(["A", "API_KEY"]), VALUES, max_size=2) | VALUES,
        "permissions": PERMISSIONS,
        "hooks": st.fixed_dictionaries({}, optional={"Stop": RULES}),
        "sandbox": VALUES,
        "statusLine": VALUES,
    },
)  # fmt: skip
SPELLED = st.builds(
    lambda value, indent, end: json.dumps(value, indent=indent).encode() + end,
    SETTINGS,
    st.sampled_from([None, 2, "\t"]),
    st.sampled_from([b"", b"\n"]),
)


@relaxed
@given(SPELLED | st.none(), SPELLED, SPELLED, st.booleans())
def test_settings_merge_alike_whoever_merges(base: bytes | None, a: bytes, b: bytes, is_settings: bool) -> None:
    found = merge_json(base, side(a, 1), side(b, 2), settings=is_settings)
    assert merge_json(base, side(b, 2), side(a, 1), settings=is_settings) == found
    assert isinstance(found, Merged)
    value = json.loads(found.content)
    if not is_settings:
        other = merge_json(base, side(a, 2), side(b, 1), settings=False)
        assert isinstance(other, Merged)
        assert sorted(other.clashes) == sorted(found.clashes)
        assert found.clashes != () or value == json.loads(other.content)
        only = merge_json(a, side(a, 1), side(b, 2), settings=False)
        assert only == Merged(content=b, mtime_ns=2)


def one_round(
    local: bytes, base: bytes | None, vault: Side | None, approved: AbstractSet[str] = frozenset()
) -> Incoming:
    """A device publishes, and takes over what was published. The vault's version is `published` of what it took."""
    out = outgoing(side(local, 5), base, vault)
    assert isinstance(out, Outgoing)
    assert SECRET.encode() not in out.content
    assert b"sandbox" not in out.content
    got = incoming(side(local, 5), base, side(out.content, 9), approved)
    assert isinstance(got, Incoming)
    assert json.loads(got.content).get("sandbox") == json.loads(local).get("sandbox")
    return got


def published(local: bytes, base: bytes | None, vault: Side | None) -> Side:
    out = outgoing(side(local, 5), base, vault)
    assert isinstance(out, Outgoing)
    return side(out.content, 9)


@relaxed
@given(SPELLED, SPELLED | st.none(), SPELLED | st.none(), st.booleans())
@example(b'{"unknown": {"a": "/srv/y"}}', None, b'{"unknown": null}', True)
def test_nothing_leaves_that_stays_and_nothing_waits_that_was_approved(
    local: bytes, base: bytes | None, vault: bytes | None, newer: bool
) -> None:
    there = None if vault is None else side(vault, 3 + 4 * newer)
    got = one_round(local, base, there)
    there = published(local, base, there)
    # What an older release published costs a second round; then all is at rest.
    second = one_round(got.content, got.base, there)
    there = published(got.content, got.base, there)
    assert one_round(second.content, second.base, there) == second
    assert published(second.content, second.base, there) == there
    # Nor is there anything left to do once all is approved.
    done = one_round(second.content, second.base, there, {p.digest for p in second.pending})
    assert done.pending == ()
    assert one_round(done.content, done.base, there) == done
    assert published(done.content, done.base, there) == there


@relaxed
@given(st.binary(max_size=30))
def test_any_bytes_are_json_or_refused(content: bytes) -> None:
    tree = parse(content)
    if isinstance(tree, Document):
        assert document(tree) == content
        json.loads(content)
