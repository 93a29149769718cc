"""What is kept, what is forgotten, and what moves."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.compaction import (
    BLOB,
    CHECKPOINT_SHARE,
    DEAD_FLOOR,
    ENTRIES,
    ENTRIES_AT_REST,
    FENCED,
    MOST_ENTRIES,
    REST,
    SMALL_PACK,
    Held,
    Live,
    Terms,
    Use,
    due,
    fitting,
    forgotten,
    moving_runs,
    repointed,
    vacated,
    waited_for,
)
from claude_syncd.core.model import Kind, Record, Slice, Vector

ME, ANN, BOB = "1" * 32, "a" * 32, "b" * 32
MIB = 1024 * 1024


def held(kind: Kind, device: str, seq: int, at: int = 0, **seen: int) -> Held:
    known: Vector = {{"me": ME, "ann": ANN, "bob": BOB}[name]: value for name, value in seen.items()}
    return Held(Record(path="tree/x", kind=kind, device=device, seq=seq, vector={**known, device: seq}), at)


def is_forgotten(own: Held, *others: Held, now: int = 100, seen_by_all: int = 99, **oldest: int) -> bool:
    logs = {{"ann": ANN, "bob": BOB}[name]: seq for name, seq in oldest.items()}
    return forgotten(own, others, Terms(now=now, retention=30, seen_by_all=seen_by_all, oldest=logs))


def test_a_file_stays_as_long_as_nothing_covers_it() -> None:
    assert not is_forgotten(held(Kind.FILE, ME, 1))
    assert not is_forgotten(held(Kind.FILE, ME, 1), held(Kind.FILE, ANN, 5))
    assert not is_forgotten(held(Kind.FILE, ME, 2), held(Kind.TOMBSTONE, ANN, 5, me=1))


def test_what_another_device_has_superseded_goes_after_the_retention_time() -> None:
    own = held(Kind.FILE, ME, 1)
    assert is_forgotten(own, held(Kind.FILE, ANN, 5, at=70, me=1))
    assert not is_forgotten(own, held(Kind.FILE, ANN, 5, at=71, me=1))


def test_a_tombstone_goes_when_it_is_old_all_have_seen_it_and_nothing_is_left_that_it_covers() -> None:
    own = held(Kind.TOMBSTONE, ME, 7, at=70, ann=3)
    assert is_forgotten(own)
    assert is_forgotten(own, held(Kind.TOMBSTONE, ANN, 9), held(Kind.WITHDRAWN, BOB, 2))
    assert not is_forgotten(own, now=99)
    assert not is_forgotten(own, seen_by_all=6)
    assert not is_forgotten(own, held(Kind.FILE, ANN, 3))
    assert not is_forgotten(own, held(Kind.FILE, BOB, 8))


def test_a_tombstone_stays_as_long_as_a_log_entry_may_have_a_file_that_it_covers() -> None:
    own = held(Kind.TOMBSTONE, ME, 7, at=70, ann=3)
    assert not is_forgotten(own, ann=3)
    assert is_forgotten(own, ann=4)
    assert is_forgotten(own, bob=1)


def test_a_device_that_was_silent_for_half_a_year_is_not_waited_for() -> None:
    assert waited_for({ANN: 10, BOB: 11}, 10 + FENCED) == {BOB}


def test_versions_that_fit_are_counted_from_the_newest_by_the_bytes_that_nothing_newer_has() -> None:
    def at(start: int, length: int) -> Slice:
        return Slice("x", 0, start, length)

    def kept(limit: int) -> int:
        live = Live()
        live.add([at(0, 10)])
        return fitting(limit, live, [[at(0, 10)], [at(5, 10)], [], [at(5, 10), at(0, 10)], [at(15, 1)], [at(0, 1)]])

    assert kept(4) == 1
    assert kept(5) == 4
    assert kept(6) == 6


def test_what_fits_is_by_bytes_however_they_overlap() -> None:
    chosen = random.Random(7)
    for _ in range(300):
        spans = [(start, chosen.randint(1, 9)) for start in chosen.choices(range(30), k=9)]
        live = Live()
        live.add([Slice("x", 0, *span) for span in spans[:3]])
        in_use = {byte for start, length in spans[:3] for byte in range(start, start + length)}
        total, costs = len(in_use), []
        for start, length in spans[3:]:
            in_use |= set(range(start, start + length))
            costs.append(len(in_use) - total)
        limit = chosen.randint(0, 20)
        versions = [[Slice("x", 0, *span)] for span in spans[3:]]
        assert fitting(limit, live, versions) == sum(cost <= limit for cost in costs)


def test_when_to_compact() -> None:
    nothing = {"entries": 0, "resting": 0, "size": 0, "live": 0, "dead": 0}
    cases = (
        ({"entries": ENTRIES - 1}, False),
        ({"entries": ENTRIES}, True),
        ({"entries": ENTRIES, "size": (ENTRIES + 1) * CHECKPOINT_SHARE}, False),
        ({"entries": ENTRIES + 1, "size": (ENTRIES + 1) * CHECKPOINT_SHARE}, True),
        ({"entries": MOST_ENTRIES - 1, "size": 2**40}, False),
        ({"entries": MOST_ENTRIES, "size": 2**40}, True),
        ({"entries": ENTRIES_AT_REST, "resting": REST, "size": 2**40}, True),
        ({"entries": ENTRIES_AT_REST, "resting": REST - 1}, False),
        ({"entries": ENTRIES_AT_REST - 1, "resting": REST}, False),
        ({"live": DEAD_FLOOR - 1, "dead": DEAD_FLOOR}, True),
        ({"live": DEAD_FLOOR, "dead": DEAD_FLOOR}, False),
        ({"dead": DEAD_FLOOR - 1}, False),
    )
    for case, expected in cases:
        assert due(**{**nothing, **case}) is expected, case


spans = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 30), st.integers(1, 30)))


@given(spans)
def test_live_bytes_count_once(found: list[tuple[str, int, int, int]]) -> None:
    live = Live()
    live.add(Slice(*one) for one in found)
    covered = {(o, b, byte) for o, b, start, length in found for byte in range(start, start + length)}
    assert live.objects() == {o for o, *_ in found}
    for name in "abc":
        assert live.bytes_of(name) == sum(o == name for o, _, _ in covered)


def use(sealed: int, *, live: float = 1.0, log: bool = False) -> Use:
    return Use(log=log, sealed=sealed, plain=4 * sealed, live=int(4 * sealed * live))


def test_log_entries_and_mostly_dead_packs_move() -> None:
    uses = {
        "log": use(3000, log=True),
        "empty": use(3000, live=0, log=True),
        "half": use(32 * MIB, live=0.51),
        "dead": use(32 * MIB, live=0.49),
        "gone": use(32 * MIB, live=0),
    }
    assert vacated(uses) == {"log", "dead"}


def test_without_a_reason_nothing_moves() -> None:
    assert vacated({"a": use(1000), "b": use(2000)}) == set()


def test_small_packs_join_in_while_they_are_small_against_what_moves() -> None:
    uses = {"log": use(MIB, log=True), "a": use(MIB), "b": use(3 * MIB), "c": use(12 * MIB), "d": use(SMALL_PACK)}
    assert vacated(uses) == {"log", "a", "b"}


@given(st.lists(st.integers(1, 4 * MIB), min_size=1, max_size=300))
def test_many_small_pushes_leave_few_packs_and_move_each_byte_few_times(sizes: list[int]) -> None:
    packs: dict[str, Use] = {}
    written = 0
    for number, size in enumerate(sizes):
        moving = vacated({**packs, "log": use(size, log=True)})
        total = size + sum(packs.pop(name).sealed for name in moving - {"log"})
        written += total
        packs[f"{number}"] = use(total)
        small = sum(pack.sealed < SMALL_PACK for pack in packs.values())
        assert small <= 10
    assert written <= 12 * sum(sizes) + 12 * len(sizes) * 64 * 1024


def test_what_a_device_writes_now_and_then_is_not_written_anew_each_time() -> None:
    packs: dict[str, Use] = {}
    written = 0
    for number in range(500):
        moving = vacated({**packs, "log": use(20 * 1024, log=True)})
        total = 20 * 1024 + sum(packs.pop(name).sealed for name in moving - {"log"})
        written += total
        packs[f"{number}"] = use(total)
        assert len(packs) <= 8
    assert written < 8 * 500 * 20 * 1024


def pieces(*lengths: int, at: str) -> tuple[Slice, ...]:
    return tuple(Slice(at, number, 0, length) for number, length in enumerate(lengths))


def test_only_what_lies_in_leaving_objects_moves() -> None:
    whole = pieces(BLOB, BLOB, at="keep")
    tail = pieces(10, 20, at="leave")
    assert moving_runs((*whole, *tail), {"leave"}, fold=True) == [tail]
    assert moving_runs((*tail, *whole), {"leave"}, fold=True) == [tail]
    assert moving_runs(whole, {"leave"}, fold=True) == []
    assert moving_runs((*tail[:1], *whole, *tail[1:]), {"leave"}, fold=False) == [tail[:1], tail[1:]]


def test_a_growing_tail_moves_as_a_whole() -> None:
    content = (*pieces(BLOB, 500, at="keep"), *pieces(10, 20, at="leave"))
    assert moving_runs(content, {"leave"}, fold=True) == [content[1:]]
    assert moving_runs(content, {"leave"}, fold=False) == [content[2:]]
    assert moving_runs(content[:2], {"leave"}, fold=True) == []


@given(st.data())
def test_a_repointed_content_is_the_same_content(data: st.DataObject) -> None:
    """Each old slice is cut at random and put side by side with others; every content reads as before."""
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=8))
    old = [Slice("old", number, 0, length) for number, length in enumerate(lengths)]
    blobs = {("old", number): bytes([number * 20 + n for n in range(length)]) for number, length in enumerate(lengths)}
    moved: dict[Slice, tuple[Slice, ...]] = {}
    new = b""
    for one in data.draw(st.lists(st.sampled_from(old), unique=True)):
        cut = data.draw(st.integers(0, one.length))
        places = [(one.start, cut), (one.start + cut, one.length - cut)]
        targets = []
        for start, length in places:
            if length:
                targets.append(Slice("new", 0, len(new), length))
                new += blobs["old", one.blob][start : start + length]
        moved[one] = tuple(targets)
    blobs["new", 0] = new

    def read(slices: tuple[Slice, ...]) -> bytes:
        return b"".join(blobs[s.object, s.blob][s.start : s.start + s.length] for s in slices)

    content = tuple(data.draw(st.lists(st.sampled_from(old), max_size=12)))
    after = repointed(content, moved)
    assert read(after) == read(content)
    assert not any(s in moved for s in after)
    assert not any(a.object == b.object == "new" and a.start + a.length == b.start for a, b in pairwise(after))


def test_neighbours_become_one_slice() -> None:
    a, b = Slice("old", 0, 0, 5), Slice("old", 1, 0, 7)
    moved = {a: (Slice("new", 3, 100, 5),), b: (Slice("new", 3, 105, 7),)}
    assert repointed((a, b), moved) == (Slice("new", 3, 100, 12),)
    assert repointed((b, a), moved) == (Slice("new", 3, 105, 7), Slice("new", 3, 100, 5))
