import sqlite3
from pathlib import Path

import pytest

from claude_syncd.core.model import (
    Base,
    Extends,
    Identity,
    Kind,
    LogEntry,
    Published,
    Record,
    RosterEntry,
    Seen,
    Slice,
)
from claude_syncd.errors import FormatError, IntegrityError, LocalError, StateBroken
from claude_syncd.local.database import copied
from claude_syncd.local.state import Staged, State, Tracked

ANN, BOB = "a" * 32, "b" * 32
SHA = "0" * 64


def record(path: str, seq: int, *, device: str = ANN, size: int = 10, sha256: str = SHA) -> Record:
    return Record(
        path=path, kind=Kind.FILE, device=device, seq=seq, vector={device: seq}, size=size, mode=0o600, sha256=sha256
    )


def entry(
    seq: int, *published: Published, prev: str = "", device: str = ANN, seen: dict[str, Seen] | None = None
) -> LogEntry:
    return LogEntry(device=device, seq=seq, prev=prev, time_ns=seq, name="ann", seen=seen or {}, records=published)


def slices(*lengths: int, at: str = "devices/x/packs/1") -> tuple[Slice, ...]:
    return tuple(Slice(at, n, 0, length) for n, length in enumerate(lengths))


def test_records_arrive_in_order_and_become_todo(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        assert state.integrate(entry(1, Published(record=record("tree/a", 1), slices=slices(10))), "h1") == ["tree/a"]
        assert state.todo() == ["tree/a"]
        assert state.slices("tree/a", ANN) == slices(10)
        assert state.positions()[ANN].seq == 1
        with pytest.raises(IntegrityError):
            state.integrate(entry(3, prev="h1"), "h3")
        with pytest.raises(IntegrityError):
            state.integrate(entry(2, prev="another history"), "h2")
        assert state.positions()[ANN].sha256 == "h1"


def test_an_extending_record_begins_with_what_it_keeps(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.integrate(entry(1, Published(record=record("tree/a", 1, size=30), slices=slices(10, 20))), "h1")
        longer = Published(
            record=record("tree/b", 2, size=15), extends=Extends(path="tree/a", seq=1, keep=1), slices=slices(5, at="o")
        )
        state.integrate(entry(2, longer, prev="h1"), "h2")
        assert state.slices("tree/b", ANN) == slices(10) + slices(5, at="o")


@pytest.mark.parametrize(
    "extends",
    [
        Extends(path="tree/a", seq=7, keep=1),
        Extends(path="tree/x", seq=1, keep=1),
        Extends(path="tree/a", seq=1, keep=9),
    ],
)
def test_an_entry_that_extends_what_is_not_there_changes_nothing(tmp_path: Path, extends: Extends) -> None:
    with State(tmp_path / "state.db") as state:
        state.integrate(entry(1, Published(record=record("tree/a", 1), slices=slices(10))), "h1")
        bad = entry(2, Published(record=record("tree/a", 2), extends=extends), prev="h1")
        with pytest.raises(FormatError):
            state.check(bad)  # so that it is never written
        with pytest.raises(FormatError):
            state.integrate(bad, "h2")
        assert state.newest("tree/a") == [record("tree/a", 1)]
        assert state.positions()[ANN].seq == 1


def test_slices_must_add_up_to_the_size(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state, pytest.raises(FormatError):
        state.integrate(entry(1, Published(record=record("tree/a", 1, size=11), slices=slices(10))), "h1")


def test_a_base_comes_back_as_it_was(tmp_path: Path) -> None:
    base = Base(kind=Kind.FILE, vector={ANN: 3}, size=5, mtime_ns=6, mode=0o644, sha256=SHA)
    tracked = Tracked(base=base, identity=Identity(1, 2, 5, 6, 7), local_mode=0o777, slices=slices(5))
    with State(tmp_path / "state.db") as state:
        state.add_todo(["tree/a", "tree/b"])
        state.track([("tree/a", tracked)])
        assert state.tracked("tree/a") == tracked
        assert state.todo() == ["tree/b"]
    with State(tmp_path / "state.db") as state:
        assert state.tracked("tree/a") == tracked
        assert state.identities("tree") == {"tree/a": tracked.identity}
        assert state.folders("tree") == ["tree"]
        assert state.count() == 1
        state.forget_bases()
        assert state.tracked("tree/a") is None


def test_claims_keep_the_furthest(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.integrate(entry(1, seen={BOB: Seen(5, "five")}), "h1")
        state.integrate(entry(2, prev="h1", seen={BOB: Seen(3, "three")}), "h2")
        assert state.claims() == {BOB: Seen(5, "five")}


def test_devices_of_the_roster_are_known_before_they_push(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.joined(RosterEntry(number=1, device=BOB, name="bob", time_ns=1))
        assert state.positions()[BOB].name == "bob"
        assert state.positions()[BOB].seq == 0


def test_content_that_is_in_the_area_is_found_by_its_hash(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.integrate(entry(1, Published(record=record("tree/a", 1), slices=slices(10))), "h1")
        found = state.same_content(ANN, SHA, 10)
        assert found == (record("tree/a", 1), slices(10))
        assert state.same_content(BOB, SHA, 10) is None
        assert state.sizes(ANN) == {10}


def test_what_other_devices_have_too(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        mine = [Published(record=record(f"tree/{n}", 1), slices=slices(10)) for n in range(1200)]
        state.integrate(entry(1, *mine), "h1")
        paths = [f"tree/{n}" for n in range(1200)]
        assert state.shared(paths, ANN) == []
        assert sorted(state.shared(paths, BOB)) == sorted(paths)


def test_staged_contents_are_kept_until_their_entry_is_up(tmp_path: Path) -> None:
    staged = Staged(path="tree/a", identity=Identity(1, 2, 3, 4, 5), size=3, sha256=SHA, slices=slices(3))
    with State(tmp_path / "state.db") as state:
        state.stage([staged])
        assert state.staged() == {"tree/a": staged}
        state.unstage()
        assert state.staged() == {}


def test_names_of_objects_go_when_nothing_is_in_them_and_all_else_stays(tmp_path: Path) -> None:
    def names(state: State) -> set[str]:
        return {str(name) for (name,) in state.rows("SELECT name FROM objects")}

    def at(name: str) -> tuple[Slice, ...]:
        return slices(10, at=f"devices/x/packs/{name}")

    base = Base(kind=Kind.FILE, vector={ANN: 1}, size=10, sha256=SHA)
    staged = Staged(path="tree/s", identity=Identity(1, 2, 3, 4, 5), size=10, sha256=SHA, slices=at("staged"))
    with State(tmp_path / "state.db") as state:
        state.track([("tree/b", Tracked(base=base, slices=at("base")))])
        state.stage([staged, Staged(path="tree/t", identity=staged.identity, size=10, sha256=SHA, slices=at("gone"))])
        state.integrate(entry(1, Published(record=record("tree/a", 1), slices=at("older"))), "h1")
        state.integrate(entry(2, Published(record=record("tree/a", 2), slices=at("newer")), prev="h1"), "h2")
        assert state.forget_objects() == 0
        state.unstage()
        state.stage([staged])
        before = names(state)
        assert state.forget_objects() == 1
        assert before - names(state) == {"devices/x/packs/gone"}
        state.integrate(entry(3, Published(record=record("tree/c", 3), slices=at("new")), prev="h2"), "h3")
        tracked = state.tracked("tree/b")
        assert tracked is not None
        assert tracked.slices == at("base")
        assert state.staged() == {"tree/s": staged}
        assert [state.slices_of(record("tree/a", seq)) for seq in (1, 2)] == [at("older"), at("newer")]
        assert state.slices("tree/c", ANN) == at("new")
        assert names(state) == {f"devices/x/packs/{name}" for name in ("base", "staged", "older", "newer", "new")}


def test_the_file_is_private(tmp_path: Path) -> None:
    with State(tmp_path / "state.db"):
        assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "data", [b"no database at all, but long enough to look like one" * 100, b"SQLite format 3\0junk" * 50]
)
def test_a_broken_file_is_said_to_be_broken(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "state.db").write_bytes(data)
    with pytest.raises(StateBroken):
        State(tmp_path / "state.db")


def test_an_empty_file_is_a_new_state(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"")
    with State(tmp_path / "state.db") as state:
        assert state.todo() == []


def test_a_database_of_another_version_is_not_touched(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.set_meta("schema", "99")
    with pytest.raises(StateBroken):
        State(tmp_path / "state.db")
    with sqlite3.connect(tmp_path / "state.db") as db:
        assert db.execute("SELECT value FROM meta WHERE key='schema'").fetchone() == ("99",)
    db.close()


def test_a_copy_has_all_that_is_written_and_writes_nothing(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.integrate(entry(1, Published(record=record("tree/a", 1), slices=slices(10))), "h1")
        with state.transaction() as db:
            db.execute("INSERT INTO todo VALUES('tree/not yet')")
            with State(tmp_path / "state.db", copied) as copy:  # while it is written
                assert copy.todo() == ["tree/a"]
                assert copy.slices("tree/a", ANN) == slices(10)
                copy.done(["tree/a"])
                copy.set_project("-x", "x")
                assert copy.todo() == []
        assert state.todo() == ["tree/a", "tree/not yet"]
        assert state.projects() == {}


def test_a_copy_has_what_a_killed_process_left_in_the_log(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.set_meta("word", "said")
        folder = tmp_path / "killed"
        folder.mkdir()
        for ending in ("", "-wal"):
            (folder / f"state.db{ending}").write_bytes((tmp_path / f"state.db{ending}").read_bytes())
    assert (folder / "state.db-wal").stat().st_size
    with State(folder / "state.db", copied) as copy:
        assert copy.meta("word") == "said"


@pytest.mark.long  # SQLite itself tries to open the file beside the database for ten seconds
def test_a_copy_is_made_where_no_file_can_be_made_beside_the_database(tmp_path: Path) -> None:
    with State(tmp_path / "state.db") as state:
        state.set_meta("word", "said")
    (tmp_path / "state.db-shm").mkdir()  # root may write in any folder
    with State(tmp_path / "state.db", copied) as copy:
        assert copy.meta("word") == "said"
    (tmp_path / "state.db-wal").write_bytes(b"the log of a process that was killed")
    with pytest.raises(LocalError):
        State(tmp_path / "state.db", copied)


def test_a_copy_of_no_database_is_empty_and_makes_none(tmp_path: Path) -> None:
    with State(tmp_path / "state.db", copied) as copy:
        assert copy.todo() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["not a database", "a page of it"])
def test_a_copy_tells_of_damage_and_leaves_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.db"
    with State(path) as state:
        state.add_todo(f"tree/{n}" for n in range(5000))
    content = bytearray(path.read_bytes())
    if damage == "not a database":
        content[:100] = b"x" * 100
    else:
        content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(StateBroken):
        State(path, copied)
    assert path.read_bytes() == content
