"""What the state makes of checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_syncd.core.compaction import Terms
from claude_syncd.core.elapsed import AWAY
from claude_syncd.core.model import Base, Checkpoint, Kind, LogEntry, Published, Record, RosterEntry, Seen, Slice, heads
from claude_syncd.errors import IntegrityError
from claude_syncd.local.outgoing import Placed
from claude_syncd.local.state import State, Tracked

ANN, BOB = "a" * 32, "b" * 32
SHA = "0" * 64
OLD, NEW = (Slice("devices/x/log/1", 0, 0, 10),), (Slice("devices/x/packs/1", 3, 5, 10),)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "state.db") as opened:
        yield opened


def published(
    path: str, seq: int, *, device: str = ANN, kind: Kind = Kind.FILE, slices: tuple[Slice, ...] = OLD, **seen: int
) -> Published:
    others = {{"ann": ANN, "bob": BOB}[name]: value for name, value in seen.items()}
    content = (10, SHA) if kind is Kind.FILE else (0, "")
    record = Record(
        path=path, kind=kind, device=device, seq=seq, vector={**others, device: seq}, size=content[0], sha256=content[1]
    )
    return Published(record=record, slices=slices if kind is Kind.FILE else ())


def integrate(state: State, seq: int, *records: Published, device: str = ANN, **seen: int) -> None:
    others = {{"ann": ANN, "bob": BOB}[name]: Seen(value, SHA) for name, value in seen.items()}
    prev = f"{seq - 1}" if seq > 1 else ""
    entry = LogEntry(device=device, seq=seq, prev=prev, time_ns=seq, name="x", seen=others, records=records)
    state.integrate(entry, f"{seq}")


def checkpoint(seq: int, *, device: str = ANN, sha256: str = "", **seen: int) -> Checkpoint:
    others = {{"ann": ANN, "bob": BOB}[name]: Seen(value, SHA) for name, value in seen.items()}
    return Checkpoint(device=device, seq=seq, sha256=sha256 or f"{seq}", time_ns=seq, name="x", seen=others)


def settled(state: State, path: str, seq: int) -> None:
    state.track([(path, Tracked(base=Base(kind=Kind.FILE, vector={ANN: seq}, size=10, sha256=SHA)))])


def test_a_checkpoint_stands_for_a_log_that_was_not_read(state: State) -> None:
    state.integrate_checkpoint(
        checkpoint(7), [(published("tree/a", 3),), (published("tree/b", 7), published("tree/b", 5))]
    )
    assert state.todo() == ["tree/a", "tree/b"]
    assert [r.seq for r in state.newest("tree/b")] == [7]
    assert state.slices_of(published("tree/b", 5).record) == OLD
    position = state.positions()[ANN]
    assert (position.seq, position.sha256, position.checkpoint, position.news) == (7, "7", 7, 7)
    integrate(state, 8, published("tree/c", 8))


def test_it_moves_what_was_read_from_the_log_and_leaves_what_came_after_it(state: State) -> None:
    integrate(state, 1, published("tree/a", 1), published("tree/b", 1))
    integrate(state, 2, published("tree/b", 2))
    state.done(state.todo())
    state.integrate_checkpoint(
        checkpoint(1), [(published("tree/a", 1, slices=NEW), published("tree/b", 1, slices=NEW))]
    )
    assert state.slices("tree/a", ANN) == NEW
    assert state.slices("tree/b", ANN) == OLD
    assert state.slices_of(published("tree/b", 1).record) == NEW
    assert state.todo() == []
    assert state.positions()[ANN].seq == 2


def test_an_older_checkpoint_changes_nothing(state: State) -> None:
    state.integrate_checkpoint(checkpoint(7), [(published("tree/a", 7, slices=NEW),)])
    state.integrate_checkpoint(checkpoint(6), [(published("tree/a", 6),)])
    assert state.slices("tree/a", ANN) == NEW
    assert state.positions()[ANN].checkpoint == 7


def test_one_of_another_log_is_refused_and_changes_nothing(state: State) -> None:
    integrate(state, 1, published("tree/a", 1))
    with pytest.raises(IntegrityError):
        state.integrate_checkpoint(checkpoint(1, sha256="other"), [(published("tree/b", 1),)])
    assert state.newest("tree/b") == []
    assert state.positions()[ANN].checkpoint == 0


def test_a_file_whose_tombstone_was_forgotten_is_known_to_be_deleted(state: State) -> None:
    integrate(state, 1, published("tree/a", 1), published("tree/never", 1))
    settled(state, "tree/a", 1)
    state.done(state.todo())
    state.integrate_checkpoint(checkpoint(9), [()])
    state.conclude()
    assert [(r.kind, r.seq, r.vector) for r in state.newest("tree/a")] == [(Kind.TOMBSTONE, 9, {ANN: 9})]
    assert state.newest("tree/never") == []
    assert state.todo() == ["tree/a", "tree/never"]
    state.integrate_checkpoint(checkpoint(12), [()])
    state.track([("tree/a", Tracked(base=Base(kind=Kind.TOMBSTONE, vector={ANN: 9})))])
    state.conclude()
    assert state.newest("tree/a") == []


def test_a_record_that_another_one_took_the_place_of_is_no_deletion(state: State) -> None:
    integrate(state, 1, published("tree/a", 1))
    settled(state, "tree/a", 1)
    state.joined(RosterEntry(number=2, device=BOB, name="bob", time_ns=1))
    state.integrate_checkpoint(checkpoint(9, bob=1), [()])
    state.conclude()
    assert [r.kind for r in state.newest("tree/a")] == [Kind.FILE]  # what bob wrote is not known yet
    integrate(state, 1, published("tree/a", 1, device=BOB, ann=1), device=BOB)
    state.conclude()
    assert [r.device for r in state.newest("tree/a")] == [BOB]


def test_what_this_device_leaves_out_of_its_own_checkpoint_is_forgotten_at_once(state: State) -> None:
    integrate(state, 1, published("tree/a", 1), published("tree/b", 1))
    integrate(state, 2, published("tree/a", 2, kind=Kind.TOMBSTONE))
    settled(state, "tree/b", 1)
    terms = Terms(now=100, retention=30, seen_by_all=2)
    assert state.begin_checkpoint(ANN, terms) == 2
    assert state.floor(ANN) == 2
    integrate(state, 3, published("tree/b", 3))
    (records,) = state.outgoing(ANN)
    assert [p.record.path for p in records] == ["tree/b"]
    state.repoint([Placed("tree/b", 1, newest=True, slices=NEW)])
    state.compacted(checkpoint(2))
    state.conclude()
    assert state.newest("tree/a") == []
    assert state.slices("tree/b", ANN) == OLD
    assert state.slices_of(published("tree/b", 1).record) == NEW
    assert set(state.in_use(ANN)) == {OLD, NEW}


def test_superseded_records_may_be_left_out(state: State) -> None:
    integrate(state, 1, published("tree/a", 1), published("tree/b", 1))
    integrate(state, 2, published("tree/a", 2, kind=Kind.TOMBSTONE))
    state.begin_checkpoint(ANN, Terms(now=0, retention=30, seen_by_all=0))
    assert [(p.record.path, p.record.seq) for portion in state.outgoing(ANN) for p in portion] == [
        ("tree/a", 2),
        ("tree/a", 1),
        ("tree/b", 1),
    ]
    assert state.leave_out_superseded()
    assert not state.leave_out_superseded()
    assert [(p.record.path, p.record.seq) for portion in state.outgoing(ANN) for p in portion] == [
        ("tree/a", 2),
        ("tree/b", 1),
    ]


def test_since_when_an_object_is_named_by_nothing_is_remembered(state: State) -> None:
    state.live(wall_ns=10**18, running=0)
    assert state.note_spare({"a", "b"}) == {"a": 0, "b": 0}
    state.live(wall_ns=10**18, running=100)
    assert state.note_spare({"b", "c"}) == {"b": 0, "c": 100}
    assert state.note_spare({"a"}) == {"a": 100}
    assert state.spare() == {"a": 100}


def test_a_removed_device_is_forgotten_and_does_not_come_back(state: State) -> None:
    state.joined(RosterEntry(number=1, device=BOB, name="bob", time_ns=1))
    integrate(state, 1, published("tree/a", 1), published("tree/b", 1))
    integrate(state, 1, published("tree/a", 1, device=BOB, ann=1), device=BOB, ann=1)
    state.done(state.todo())
    state.remove_device(BOB)
    state.joined(RosterEntry(number=3, device=BOB, name="bob", time_ns=1))
    assert BOB not in state.positions()
    assert [r.device for r in heads(state.newest("tree/a"))] == [ANN]
    assert state.todo() == ["tree/a"]
    assert state.claims() == {}


def test_time_is_counted_as_it_was_lived_through(tmp_path: Path) -> None:
    day = 86_400
    with State(tmp_path / "state.db") as state:
        assert state.live(wall_ns=10**18, running=0) == 0
        assert state.live(wall_ns=10**18 + 100 * 10**9, running=100) == 100
    with State(tmp_path / "state.db") as state:
        assert state.lived == 100
        assert state.live(wall_ns=10**18 + 10 * day * 10**9, running=0) == 100 + AWAY
