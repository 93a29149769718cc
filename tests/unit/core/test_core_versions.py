from itertools import permutations

from claude_syncd.core.elapsed import DAY
from claude_syncd.core.model import Kind, Record, Slice, Vector
from claude_syncd.core.versions import Past, Version, as_of, common_ancestor, surplus, timeline

ANN, BOB = "a" * 32, "b" * 32


def version(device: str, seq: int, time: int, content: str, *, seen: Vector | None = None, **fields: Kind) -> Version:
    kind = fields.get("kind", Kind.FILE)
    record = Record(
        path="tree/x",
        kind=kind,
        device=device,
        seq=seq,
        vector={**(seen or {}), device: seq},
        sha256=content if kind is Kind.FILE else "",
    )
    return Version(record=record, time_ns=time)


def contents(versions: list[Version]) -> list[str]:
    return [v.record.sha256 or str(v.record.kind) for v in versions]


def test_versions_come_in_the_order_in_which_they_came_about_whatever_the_clocks_said() -> None:
    first = version(ANN, 1, 1000, "one")
    second = version(BOB, 1, 500, "two", seen={ANN: 1})  # bob's clock is behind
    third = version(ANN, 2, 1200, "three", seen={BOB: 1})
    for order in permutations([first, second, third]):
        assert contents(timeline(order)) == ["one", "two", "three"]
    assert [v.time_ns for v in timeline([first, second, third])] == [1000, 1000, 1200]


def test_what_says_the_same_as_before_is_one_version_and_withdrawals_are_none() -> None:
    found = [
        version(ANN, 1, 1, "one"),
        version(BOB, 1, 2, "one", seen={ANN: 1}),
        version(ANN, 2, 3, "", seen={BOB: 1}, kind=Kind.WITHDRAWN),
        version(BOB, 2, 4, "two", seen={ANN: 2}),
        version(BOB, 3, 5, "one", seen={ANN: 2}),
    ]
    assert contents(timeline(found)) == ["one", "two", "one"]
    assert timeline(found)[0].record.device == ANN


def test_as_of_a_time_is_what_was_the_newest_then() -> None:
    found = timeline(
        [version(ANN, 1, 10, "one"), version(ANN, 2, 20, "", kind=Kind.TOMBSTONE), version(ANN, 3, 30, "two")]
    )
    assert as_of(found, 9) is None
    for time, content in ((10, "one"), (19, "one"), (20, "tombstone"), (30, "two"), (99, "two")):
        then = as_of(found, time)
        assert then is not None
        assert contents([then]) == [content]


def test_the_common_ancestor_is_the_newest_that_both_come_from() -> None:
    first = version(ANN, 1, 1, "one").record
    second = version(BOB, 1, 2, "two", seen={ANN: 1}).record
    ours = version(ANN, 2, 3, "ours", seen={BOB: 1}).record
    theirs = version(BOB, 2, 4, "theirs", seen={ANN: 1}).record
    for known in permutations([first, second, ours, theirs]):
        assert common_ancestor(known, ours.vector, theirs.vector) == second
        assert common_ancestor(known, theirs.vector, ours.vector) == second
    assert common_ancestor([first, ours, theirs], ours.vector, theirs.vector) == first
    assert common_ancestor([ours, theirs], ours.vector, theirs.vector) is None
    assert common_ancestor([first, ours], first.vector, ours.vector) == first


def test_where_two_versions_are_common_and_neither_comes_from_the_other_there_is_none() -> None:
    one, two = version(ANN, 1, 1, "one").record, version(BOB, 1, 1, "two").record
    both: Vector = {ANN: 1, BOB: 1}
    assert common_ancestor([one, two], {**both, ANN: 2}, {**both, BOB: 2}) is None
    same = version(BOB, 1, 1, "one").record
    assert common_ancestor([one, same], {**both, ANN: 2}, {**both, BOB: 2}) == same


def test_what_was_deleted_or_withdrawn_is_no_ancestor() -> None:
    first = version(ANN, 1, 1, "one").record
    for kind in (Kind.TOMBSTONE, Kind.WITHDRAWN):
        gone = version(BOB, 1, 2, "", seen={ANN: 1}, kind=kind).record
        assert common_ancestor([first, gone], {ANN: 2, BOB: 1}, {ANN: 1, BOB: 2}) is None


def grown(pieces: int, *, every: int, age: int, first: int = 0) -> list[Past]:
    """A file that grew by 10 bytes every so many seconds, by so many pieces; each version superseded `age` ago."""
    return [
        Past((first + n * every) * 1_000_000_000, age, (Slice("devices/x/packs/1", 0, 0, 10 + 10 * n),))
        for n in range(pieces)
    ]


def kept(versions: list[Past]) -> list[int]:
    gone = surplus(versions)
    return [n for n in range(len(versions)) if n not in gone]


def test_of_a_file_that_grew_fewer_versions_stay_the_older_they_are() -> None:
    for age, apart in ((0, 1), (DAY - 1, 1), (DAY, 6), (7 * DAY, 36)):
        assert kept(grown(100, every=600, age=age)) == [
            *range(0, 99, apart),
            *([99] if 99 % apart or apart == 1 else []),
        ]


def test_a_version_stays_unless_the_next_one_begins_with_it() -> None:
    old = 30 * DAY
    whole = Slice("devices/x/packs/1", 0, 0, 1 << 20)

    def last_two(one: tuple[Slice, ...], other: tuple[Slice, ...]) -> list[int]:
        return kept([Past(0, old, (whole,)), Past(1, old, one), Past(2, old, other), Past(3, old, ())])

    tail = Slice("devices/x/packs/1", 1, 5, 10)
    assert last_two((whole, tail), (whole, Slice("devices/x/packs/1", 1, 5, 11))) == [0, 2, 3]
    assert last_two((whole, tail), (whole, tail, tail)) == [0, 2, 3]
    for other in (
        (whole, Slice("devices/x/packs/1", 1, 5, 9)),  # shorter
        (whole, Slice("devices/x/packs/1", 1, 4, 11)),
        (whole, Slice("devices/x/packs/1", 2, 5, 10)),
        (whole, Slice("devices/x/packs/2", 1, 5, 10)),
        (tail, whole),
        (whole,),
        (),  # a deletion
    ):
        assert last_two((whole, tail), other) == [0, 1, 2, 3]
    assert last_two((), (whole,)) == [0, 1, 2, 3]  # nothing, or a deletion: it says something of its own


def test_leaving_out_what_is_surplus_makes_nothing_else_surplus() -> None:
    for age in (0, 2 * DAY, 8 * DAY):
        versions = grown(200, every=431, age=age)
        left = [versions[n] for n in kept(versions)]
        assert surplus(left) == []
