"""What the state remembers of versions that newer ones have taken the place of."""

from itertools import pairwise
from pathlib import Path

from claude_syncd.core.elapsed import DAY
from claude_syncd.core.model import Extends, Kind, LogEntry, Published, Record, Slice
from claude_syncd.core.versions import apart_ns
from claude_syncd.local.state import State

ANN = "a" * 32
MINUTE = 60 * 1_000_000_000


class Log:
    """One device's log, entry by entry, into a state."""

    def __init__(self, state: State) -> None:
        self.state, self.seq, self.prev = state, 0, ""

    def push(self, time_ns: int, content: str, *, kind: Kind = Kind.FILE, grown: int = 0) -> None:
        """`grown`: it extends the version before by so many slices; 0: it is a new content of one slice."""
        self.seq += 1
        before = self.state.slices("tree/x", ANN) if grown else ()
        added = tuple(Slice(f"log/{self.seq}", n, 0, 5) for n in range(max(grown, int(kind is Kind.FILE))))
        record = Record(
            path="tree/x",
            kind=kind,
            device=ANN,
            seq=self.seq,
            vector={ANN: self.seq},
            size=5 * (len(before) + len(added)),
            sha256=content,
        )
        extends = Extends(path="tree/x", seq=self.seq - 1, keep=len(before)) if before else None
        published = Published(record=record, extends=extends, slices=added)
        entry = LogEntry(
            device=ANN, seq=self.seq, prev=self.prev, time_ns=time_ns, name="ann", seen={}, records=(published,)
        )
        self.state.integrate(entry, f"hash {self.seq}")
        self.prev = f"hash {self.seq}"

    def versions(self) -> list[tuple[int, str, int]]:
        return sorted((v.record.seq, v.record.sha256, v.time_ns) for v in self.state.versions("tree/x"))


def test_every_content_and_deletion_is_remembered_with_its_time_and_place(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        log = Log(state)
        log.push(10, "one")
        log.push(20, "two")
        log.push(30, "", kind=Kind.TOMBSTONE)
        log.push(40, "three")
        assert log.versions() == [(1, "one", 10), (2, "two", 20), (3, "", 30), (4, "three", 40)]
        first = next(v.record for v in state.versions("tree/x") if v.record.seq == 1)
        assert state.superseded_slices(first) == (Slice("log/1", 0, 0, 5),)


def test_of_a_growing_file_a_version_every_ten_minutes_is_remembered(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        log = Log(state)
        for minute in range(31):
            log.push(minute * MINUTE, f"{minute}", grown=1 if minute else 0)
        seqs = [seq for seq, _, _ in log.versions()]
        assert seqs[0] == 1
        assert seqs[-1] == 31
        assert len(seqs) == 4
        times = [time for _, _, time in log.versions()][:-1]
        assert all(later - earlier >= apart_ns(0) for earlier, later in pairwise(times))


def test_of_a_file_that_grew_long_ago_fewer_versions_are_remembered(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        log = Log(state)
        state.live(wall_ns=1, running=0)
        for number in range(13):
            log.push(number * 10 * MINUTE, f"{number}", grown=1 if number else 0)
        log.push(130 * MINUTE, "rewritten")
        log.push(140 * MINUTE, "rewritten and grown", grown=1)
        state.live(wall_ns=1, running=10)
        assert state.surplus_versions(state.lived) == []
        gone = state.surplus_versions(state.lived + DAY)
        assert [seq for _, _, seq in gone] == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 14]
        state.drop_versions(gone)
        assert [seq for seq, _, _ in log.versions()] == [1, 7, 13, 15]  # 13 is what was rewritten
        assert state.surplus_versions(state.lived + DAY) == []


def test_what_was_superseded_long_ago_is_dropped_and_the_newest_stays(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        log = Log(state)
        state.live(wall_ns=1, running=0)
        for time_ns, content, running in ((10, "one", 10), (20, "two", 70), (90, "three", 10)):
            log.push(time_ns, content)
            state.live(wall_ns=1, running=running)
        state.forget_versions(50)
        assert log.versions() == [(2, "two", 20), (3, "three", 90)]  # "two" was the newest until 80 seconds were lived
        state.forget_versions(1000)
        assert log.versions() == [(3, "three", 90)]


def test_what_clocks_say_drops_no_version(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        log = Log(state)
        state.live(wall_ns=10**18, running=0)
        log.push(10, "written by a clock that is wrong by decades")
        state.live(wall_ns=10**18, running=50)
        log.push(20, "so is this")
        state.forget_versions(50)
        assert [seq for seq, _, _ in log.versions()] == [1, 2]
