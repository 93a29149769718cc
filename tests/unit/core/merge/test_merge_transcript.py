import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Self

import pytest

from claude_syncd.core.merge.fork import fork_lines, fork_path
from claude_syncd.core.merge.rows import lines_of
from claude_syncd.core.merge.transcript import Branch, Heads, How, Mark, extends, merge_heads

SID = "0b5e3c9e-8d4f-4a6f-9f65-3d1c6a1c2e01"
OTHER = "7d444840-9dc0-41d1-b245-5ffdce74fad2"


def row(uuid: str, second: int, sid: str = SID) -> bytes:
    return (
        f'{{"parentUuid":null,"sessionId":"{sid}","type":"user","message":{{"role":"user","content":"say {uuid}"}},'
        f'"uuid":"{uuid}","timestamp":"2026-11-01T10:00:{second:02d}.000Z"}}\n'
    ).encode()


def mode(what: str) -> bytes:
    return f'{{"type":"mode","mode":"{what}","sessionId":"{SID}"}}\n'.encode()


def title(text: str) -> bytes:
    return f'{{"type":"custom-title","customTitle":"{text}","sessionId":"{SID}"}}\n'.encode()


START = row("p1", 1) + row("p2", 2)
A, B = START + row("a", 3), START + row("b", 3)


def side(content: bytes, device: str = "laptop", mtime_ns: int = 0) -> Branch:
    return Branch(lines=partial(lines_of, content), mtime_ns=mtime_ns, device_name=device)


def content(branch: Branch) -> bytes:
    return b"".join(branch.lines())


def forked(heads: Heads, sid: str = SID) -> dict[str, bytes]:
    return {
        f.session_id: b"".join(fork_lines(f.branch.lines(), sid, f.session_id, f.line, f.branch.device_name))
        for f in heads.forks
    }


def both_ways(a: bytes, b: bytes, base: Mark | None = None) -> tuple[bytes, How | None, list[bytes]]:
    """The winner, how the other one is superseded if it is, the forks; whichever side is named first."""
    found = []
    for first, second in ((a, b), (b, a)):
        heads = merge_heads(SID, [side(first), side(second)], base)
        how = heads.superseded[0].how if heads.superseded else None
        found.append((content(heads.winner), how, list(forked(heads).values())))
    assert found[0] == found[1]
    return found[0]


def mark(base: bytes) -> Mark:
    return Mark(len(base), hashlib.sha256(base).hexdigest())


@pytest.mark.parametrize(
    ("ours", "theirs", "wins", "how"),
    [
        (START, START, START, How.SAME),
        (START, A, A, How.FAST_FORWARD),
        (b"", START, START, How.FAST_FORWARD),
        (START, START + mode("plan"), START + mode("plan"), How.FAST_FORWARD),
        # One side looked at the session, the other one went on with it.
        (START + mode("plan"), A, A, How.NEWER_TAIL),
        (START + mode("plan") + title("x"), A + mode("x"), A + mode("x"), How.NEWER_TAIL),
        # Both looked at it.
        (START + mode("plan"), START + mode("plan2"), START + mode("plan2"), How.NEWER_TAIL),
        (START + mode("a"), START + title("named"), START + title("named"), How.NEWER_TAIL),
        # What a crash leaves holds nothing.
        (START + b'{"uuid":"a","mes', B, B, How.NEWER_TAIL),
        (START + b"\0\0\0\0\n", B, B, How.NEWER_TAIL),
        (A[:-1], A + mode("x"), A + mode("x"), How.NEWER_TAIL),
    ],
)
def test_one_side_takes_the_place_of_the_other(ours: bytes, theirs: bytes, wins: bytes, how: How) -> None:
    assert both_ways(ours, theirs) == (wins, how, [])


def test_sides_that_parted_become_two_sessions() -> None:
    """The conversation that went on last keeps the id; the other one has its own, with the title to know it by."""
    early, late = START + title("Fix it") + row("a", 3) + row("a2", 50), START + title("Fix it") + row("b", 4)
    heads = merge_heads(SID, [side(early, "laptop", 70), side(late, "desktop", 60)])
    assert content(heads.winner) == late
    assert heads.mtime_ns == 70
    assert heads.superseded == ()
    ((new, fork),) = forked(heads).items()
    expected = (early + title("Fix it (from laptop)")).replace(SID.encode(), new.encode())
    assert fork == expected
    assert heads.forks[0].mtime_ns == 70


def test_a_side_that_grows_stays_what_it_is() -> None:
    """Two machines that both go on: neither changes places, and the fork is the same at each push."""
    ours, theirs = START + row("a", 3), START + row("b", 4)
    before = merge_heads(SID, [side(ours), side(theirs)])
    grown = merge_heads(SID, [side(ours + row("a2", 9)), side(theirs)])
    assert content(grown.winner) == content(before.winner) == theirs
    old, new = forked(before), forked(grown)
    assert old.keys() == new.keys()
    ((sid, fork),) = new.items()
    again = merge_heads(sid, [side(old[sid]), side(fork)])
    assert content(again.winner) == fork
    assert again.forks == ()


def test_a_fork_that_is_there_already_is_nothing_new() -> None:
    ours, theirs = START + row("a", 3), START + row("b", 4)
    heads = merge_heads(SID, [side(ours), side(theirs)])
    assert merge_heads(SID, [side(content(heads.winner)), side(theirs)]).forks == ()
    assert forked(merge_heads(SID, [side(theirs), side(ours)])) == forked(heads)


def test_a_fork_that_goes_on_on_two_machines_forks_again() -> None:
    heads = merge_heads(SID, [side(START + row("a", 3)), side(START + row("b", 4))])
    ((sid, fork),) = forked(heads).items()
    ours, theirs = fork + row("c", 5, sid), fork + row("d", 6, sid)
    again = merge_heads(sid, [side(ours, "tower"), side(theirs, "tablet")])
    assert content(again.winner) == theirs
    ((second, text),) = forked(again, sid).items()
    assert second not in (sid, SID)
    assert text.startswith(ours.replace(sid.encode(), second.encode()))
    assert b"say p1 (from laptop)" in text
    assert text.endswith(f'"say p1 (from tower)","sessionId":"{second}"}}\n'.encode())


def test_what_a_fork_is_called_does_not_decide_which_one_stays() -> None:
    """Two sides that differ in nothing but a blank line: the same one stays whether they are forks by then or not."""
    plain, longer = START + row("a", 3), START + row("a", 3) + b"\n"
    assert both_ways(plain, longer)[0] == longer
    late = side(START + row("b", 4))
    ((sid, one),) = forked(merge_heads(SID, [side(plain, "a machine with a long name"), late])).items()
    ((same, other),) = forked(merge_heads(SID, [side(longer, "pc"), late])).items()
    assert sid == same
    assert content(merge_heads(sid, [side(one), side(other)]).winner) == other


def test_of_equal_sides_the_same_one_gives_its_name() -> None:
    one, two, late = side(A, "laptop"), side(A, "tower"), side(START + row("b", 4))
    assert forked(merge_heads(SID, [one, late, two])) == forked(merge_heads(SID, [two, one, late]))


def test_many_sides_at_once() -> None:
    contents = [START + row(u, n) for n, u in enumerate("abc", start=3)] + [START, START + row("a", 3) + row("a2", 9)]
    heads = merge_heads(SID, [side(c, f"device{n}", n) for n, c in enumerate(contents)])
    assert content(heads.winner) == contents[2]
    assert heads.mtime_ns == 4
    assert sorted(content(f.branch) for f in heads.forks) == sorted([contents[1], contents[4]])
    assert {content(s.branch): s.how for s in heads.superseded} == {
        contents[0]: How.FAST_FORWARD,
        contents[3]: How.FAST_FORWARD,
    }
    a = next(f for f in heads.forks if content(f.branch) == contents[4])
    assert a.mtime_ns == 4


def test_branches_of_one_branch_are_forks_of_their_own() -> None:
    common = START + row("a", 3)
    heads = merge_heads(SID, [side(common + row("x", 4)), side(common + row("y", 5)), side(START + row("b", 6))])
    assert content(heads.winner) == START + row("b", 6)
    assert sorted(content(f.branch) for f in heads.forks) == [common + row("x", 4), common + row("y", 5)]
    assert len({f.session_id for f in heads.forks}) == 2


def test_lines_that_cannot_be_read_are_never_dropped() -> None:
    glued = row("a", 3)[:-1] + row("a2", 3)
    _, how, forks = both_ways(START + glued, START + row("b", 4))
    assert how is None
    assert glued in forks[0]  # as it is: it has no session id that could be found
    heads = merge_heads(SID, [side(START + b'{"half\n'), side(START + b'{"other half\n')])
    assert len(heads.forks) == 1


def test_a_row_that_was_changed_in_place_is_another_row() -> None:
    changed = START.replace(b"say p2", b"say p3")
    winner, how, (fork,) = both_ways(START, changed)
    assert how is None
    assert {b"say p2" in winner, b"say p2" in fork} == {True, False}


class TestTakenBack:
    """A message was taken back on one machine, or the session compacted, while the other one went on."""

    base = START + row("p3", 3)

    def test_without_the_common_version_the_shorter_one_looks_old(self) -> None:
        assert both_ways(START, self.base + row("b", 4))[:2] == (self.base + row("b", 4), How.FAST_FORWARD)

    def test_the_row_does_not_come_back_and_what_was_said_since_is_a_fork(self) -> None:
        ours, theirs = START + row("a", 9), self.base + row("b", 4)
        for cut in (ours, START):
            winner, how, (fork,) = both_ways(cut, theirs, mark(self.base))
            assert winner == cut
            assert how is None
            assert row("p3", 3)[-40:] in fork
            assert b"say b" in fork

    def test_metadata_alone_is_no_reason_for_a_fork(self) -> None:
        theirs = self.base + mode("plan")
        assert both_ways(START, theirs, mark(self.base)) == (START, How.REWRITTEN, [])

    def test_what_lost_only_metadata_is_no_such_side(self) -> None:
        base = START + mode("x") + row("p3", 3)
        ours, theirs = START + row("p3", 3), base + row("b", 4)
        assert both_ways(ours, theirs, mark(base))[:2] == (theirs, How.NEWER_TAIL)

    def test_the_base_tells_nothing_when_both_were_rewritten(self) -> None:
        ours, theirs = START[: len(START) // 2], START
        assert both_ways(ours, theirs, mark(self.base))[:2] == (theirs, How.FAST_FORWARD)


def test_a_fork_that_somebody_rewrote_does_not_lose_its_id_to_it() -> None:
    """Else two forks could pass a conversation to and fro for ever."""
    heads = merge_heads(SID, [side(START + row("a", 3)), side(START + row("b", 4))])
    ((sid, fork),) = forked(heads).items()
    rewritten = row("z", 59, sid)
    again = merge_heads(sid, [side(rewritten), side(fork)])
    assert content(again.winner) == fork
    assert [content(f.branch) for f in again.forks] == [rewritten]


def test_extends() -> None:
    base = mark(START)
    assert extends(lines_of(START), base)
    assert extends(lines_of(START + b"x"), base)
    assert extends(lines_of(b"x"), mark(b""))
    assert not extends(lines_of(START[:-1]), base)
    assert not extends(lines_of(START.replace(b"p1", b"px")), base)


def test_no_more_than_a_line_is_held() -> None:
    """The sides are streams: what was read is not kept."""
    alive = 0

    class Line(bytes):
        __slots__ = ()

        def __new__(cls, data: bytes) -> Self:
            nonlocal alive
            alive += 1
            return super().__new__(cls, data)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    def lines(last: bytes) -> Iterator[bytes]:
        nonlocal most
        for number in range(300):
            most = max(most, alive)
            yield Line(row(f"p{number}", 1))
        yield Line(last)

    branches = [
        Branch(lines=partial(lines, row(u, n)), mtime_ns=0, device_name="x") for n, u in enumerate(("a", "b"), start=3)
    ]
    heads = merge_heads(SID, branches)
    assert len(heads.forks) == 1
    for _ in fork_lines(heads.forks[0].branch.lines(), SID, OTHER, heads.forks[0].line, "x"):
        pass
    assert most < 8


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"tree/projects/~-app/{SID}.jsonl", f"tree/projects/~-app/{OTHER}.jsonl"),
        (f"tree/projects/~-app/{SID}/tool-results/a.txt", f"tree/projects/~-app/{OTHER}/tool-results/a.txt"),
        (f"tree/projects/~-app/{SID}/subagents/w/a.jsonl", f"tree/projects/~-app/{OTHER}/subagents/w/a.jsonl"),
        (f"tree/projects/~-app/{SID}/custom-title.json", None),
        (f"tree/projects/~-app/{SID}/archived.json", None),
        (f"tree/projects/~-app/{OTHER}.jsonl", None),
        (f"tree/projects/~-app/{OTHER}/tool-results/a.txt", None),
        ("tree/projects/~-app/memory/MEMORY.md", None),
        ("tree/history.jsonl", None),
        (f"conflicts/0123/tree/projects/~-app/{SID}.jsonl", None),
    ],
)
def test_where_the_files_of_a_fork_lie(path: str, expected: str | None) -> None:
    assert fork_path(path, SID, OTHER) == expected
