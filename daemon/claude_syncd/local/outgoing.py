"""The part of the state that a device's own checkpoint is written from.

outgoing  the records that the next checkpoint has, as they were when it was begun
spare     objects of the own area that nothing names any more, and since when (lived)
packs     how many bytes of plaintext own packs hold
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from claude_syncd.core.compaction import Held, Terms, forgotten
from claude_syncd.core.model import Published
from claude_syncd.local.devices import Devices
from claude_syncd.local.versions import RECORD, record_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from claude_syncd.core.model import Checkpoint, Record, Slice

PORTION = 1024

_ROWS = "path, seq, kind, vector, size, mtime_ns, mode, sha256, slices"
_BEGIN = (
    "DELETE FROM outgoing",
    f"INSERT INTO outgoing SELECT {_ROWS} FROM records WHERE device=:device",  # noqa: S608 - constants, and below
    f"""
    INSERT OR IGNORE INTO outgoing SELECT {_ROWS} FROM superseded
    WHERE device=:device AND EXISTS (SELECT 1 FROM outgoing o WHERE o.path=superseded.path)""",  # noqa: S608
)
_OLD = """
SELECT r.path FROM records r WHERE r.device=:device AND (
  (r.kind<>'file' AND r.at <= :old)
  OR EXISTS (SELECT 1 FROM records o WHERE o.path=r.path AND o.device<>:device AND o.at <= :old))"""
_HELD = f"SELECT {RECORD}, at FROM records WHERE path=?"  # noqa: S608
_NEXT, _NEXT_PLACES = (
    f"""
    SELECT {columns} FROM outgoing WHERE path >= ?1 AND (path > ?1 OR seq < ?2)
    ORDER BY path, seq DESC LIMIT {PORTION}"""  # noqa: S608
    for columns in (_ROWS, "path, seq, slices")
)
_CONTENTS = tuple(
    f"SELECT {RECORD}, slices FROM {table} WHERE device=? AND (path, seq) > (?, ?) ORDER BY path, seq LIMIT {PORTION}"  # noqa: S608
    for table in ("records", "superseded")
)
_WITH_SLICES = """
SELECT t.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type='table' AND c.name='slices'"""
_IN_USE = (
    "SELECT slices FROM records WHERE device=?",
    "SELECT slices FROM superseded WHERE device=?",
    "SELECT slices FROM staged WHERE ? IS NOT NULL",
)


class Placed(NamedTuple):
    """Where the content of a record of the checkpoint is, and whether it is the newest of its path."""

    path: str
    seq: int
    newest: bool
    slices: tuple[Slice, ...]


class Outgoing(Devices):
    """What a checkpoint is made of. Each method is one transaction, but those that give iterators."""

    def begin_checkpoint(self, device: str, terms: Terms) -> int:
        """Take down what the next checkpoint of this device has: all its records but those that nobody needs any more
        by `terms`. Returns the seq that it is for. From now on no record extends one of up to there (`floor`).
        """
        with self.transaction() as db:
            seq = int(db.execute("SELECT seq FROM positions WHERE device=?", (device,)).fetchone()[0])
            for statement in _BEGIN:
                db.execute(statement, {"device": device} if ":device" in statement else {})
            old = db.execute(_OLD, {"device": device, "old": terms.now - terms.retention}).fetchall()
            for (path,) in old:
                held = [Held(record_of(row), row[9]) for row in db.execute(_HELD, (path,)).fetchall()]
                own = next(h for h in held if h.record.device == device)
                if forgotten(own, [h for h in held if h is not own], terms):
                    db.execute("DELETE FROM outgoing WHERE path=?", (path,))
            db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (f"floor:{device}", str(seq)))
        return seq

    def has_old_tombstones(self, device: str, before: int) -> bool:
        """Whether the device has newest records that are no files and came in before then (lived)."""
        return bool(
            self.rows("SELECT 1 FROM records WHERE device=? AND kind<>'file' AND at<=? LIMIT 1", (device, before))
        )

    def floor(self, device: str) -> int:
        """The newest seq of a checkpoint of `device` that was begun or read: where the slices of its records of up to
        there lie may differ from reader to reader.
        """
        rows = self.rows("SELECT checkpoint FROM positions WHERE device=?", (device,))
        return max(int(self.meta(f"floor:{device}") or 0), int(str(rows[0][0])) if rows else 0)

    def outgoing(self, device: str) -> Iterator[tuple[Published, ...]]:
        """The records of the checkpoint that was begun, by path and the newest first, a few at a time."""
        last: tuple[object, object] = ("", 0)
        while rows := self.rows(_NEXT, last):
            yield tuple(self._published(device, row) for row in rows)
            last = (rows[-1][0], rows[-1][1])

    def _published(self, device: str, row: tuple[object, ...]) -> Published:
        path, seq, kind, vector, size, mtime_ns, mode, sha256, slices = row
        record = record_of((path, kind, device, seq, vector, size, mtime_ns, mode, sha256))
        with self._lock:
            return Published(record=record, slices=self.unpack_slices(slices))

    def outgoing_places(self, among: Collection[str] | None = None) -> Iterator[list[Placed]]:
        """The same, but only where the contents are; with `among` only of records with any part in these objects."""
        wanted = self._numbers(among) if among is not None else None
        last: tuple[object, object] = ("", 0)
        while rows := self.rows(_NEXT_PLACES, last):
            portion = []
            with self._lock:
                for path, seq, packed in rows:
                    newest, last = path != last[0], (path, seq)
                    if wanted is None or not wanted.isdisjoint(self.objects_in(packed)):
                        portion.append(Placed(str(path), int(str(seq)), newest, self.unpack_slices(packed)))
            yield portion

    def _numbers(self, names: Iterable[str]) -> set[int]:
        found = (self.rows("SELECT id FROM objects WHERE name=?", (name,)) for name in names)
        return {int(str(rows[0][0])) for rows in found if rows}

    def repoint(self, moved: Iterable[Placed]) -> None:
        """The contents of these records of the checkpoint that was begun lie elsewhere now."""
        with self.transaction() as db:
            db.executemany(
                "UPDATE outgoing SET slices=? WHERE path=? AND seq=?",
                ((self.pack_slices(db, p.slices), p.path, p.seq) for p in moved),
            )

    def leave_out_superseded(self) -> bool:
        """Leave out of the checkpoint that was begun what is not the newest of its path; whether there was any."""
        with self.transaction() as db:
            done = db.execute(
                "DELETE FROM outgoing WHERE seq < (SELECT max(o.seq) FROM outgoing o WHERE o.path=outgoing.path)"
            )
            return done.rowcount > 0

    def compacted(self, checkpoint: Checkpoint) -> None:
        """The checkpoint that was begun is in the store: what it says is what is known of this device now, and what it
        has left out is forgotten here, too.
        """
        with self.transaction() as db:
            db.execute("DELETE FROM incoming")
            db.execute("INSERT INTO incoming SELECT * FROM outgoing")
            db.execute("DELETE FROM outgoing")
            db.execute(
                "DELETE FROM records WHERE device=? AND seq <= ? AND NOT EXISTS"
                " (SELECT 1 FROM incoming i WHERE i.path=records.path)",
                (checkpoint.device, checkpoint.seq),
            )
            self._take_place(db, checkpoint)

    def contents(self, device: str) -> Iterator[tuple[Record, tuple[Slice, ...]]]:
        """All that is known of what a device has published, with where it lies, by path."""
        for query in _CONTENTS:
            last: tuple[object, object] = ("", 0)
            while portion := self._contents(query, (device, *last)):
                yield from portion
                last = (portion[-1][0].path, portion[-1][0].seq)

    def _contents(self, query: str, after: tuple[object, ...]) -> list[tuple[Record, tuple[Slice, ...]]]:
        with self._lock:  # for both: the names of objects are forgotten meanwhile
            return [(record_of(row), self.unpack_slices(row[9])) for row in self.rows(query, after)]

    def in_use(self, device: str) -> Iterator[tuple[Slice, ...]]:
        """The slices of all that this device has in its area, or is about to have."""
        for query in _IN_USE:
            for (packed,) in self.rows(query, (device,)):
                with self._lock:
                    yield self.unpack_slices(packed)

    def objects_in_use(self, device: str) -> set[str]:
        """The objects that these slices are in."""
        numbers: set[int] = set()
        for query in _IN_USE:
            for (packed,) in self.rows(query, (device,)):
                numbers.update(self.objects_in(packed))
        with self._lock:
            return {self.object_name(number) for number in numbers}

    # -- objects ------------------------------------------------------------------------------------------------------

    def forget_objects(self) -> int:
        """Forget the names of objects that no slices are in any more, as those of log entries that were compacted away;
        how many.
        """
        with self.transaction() as db:
            named: set[int] = set()
            for (table,) in db.execute(_WITH_SLICES).fetchall():
                for (packed,) in db.execute(f"SELECT slices FROM {table}"):  # noqa: S608 - our own words
                    named.update(self.objects_in(packed))
            gone = [row for row in db.execute("SELECT id FROM objects").fetchall() if row[0] not in named]
            db.executemany("DELETE FROM objects WHERE id=?", gone)
            self.forget_names()
        return len(gone)

    def plain_sizes(self) -> dict[str, int]:
        """How many bytes of plaintext each own pack holds, where that is known."""
        return {str(name): int(str(plain)) for name, plain in self.rows("SELECT name, plain FROM packs")}

    def note_plain_sizes(self, sizes: dict[str, int]) -> None:
        """Remember these, and no others."""
        with self.transaction() as db:
            db.execute("DELETE FROM packs")
            db.executemany("INSERT INTO packs VALUES(?,?)", sizes.items())

    def note_spare(self, names: set[str]) -> dict[str, int]:
        """These, and no others, are named by nothing now; since when that is so, of each."""
        with self.transaction() as db:
            known = {str(name): int(since) for name, since in db.execute("SELECT name, since FROM spare").fetchall()}
            db.executemany("DELETE FROM spare WHERE name=?", ((name,) for name in known.keys() - names))
            db.executemany("INSERT INTO spare VALUES(?,?)", ((name, self.lived) for name in names - known.keys()))
        return {name: known.get(name, self.lived) for name in names}

    def spare(self) -> dict[str, int]:
        """What was found to be named by nothing when it was looked at last, and since when."""
        return {str(name): int(str(since)) for name, since in self.rows("SELECT name, since FROM spare")}
