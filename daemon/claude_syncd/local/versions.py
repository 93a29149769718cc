"""The part of the state that remembers versions: records that a newer one of their device has taken the place of.

    superseded  such records, with their slices resolved, when they were published and since when (lived) they are
                superseded
    entries     when each log entry was written
    forgotten   paths that the user of this device deleted for good, with all that was known of them then (lived)

A session grows by many small pushes, and each version is the beginning of the next one. Of those that follow each
other within ten minutes only the first is remembered, so that a day's work is a hundred rows and not thousands; of
older ones fewer are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.compaction import Live, fitting
from claude_syncd.core.model import Extends, Kind, Record, Vector
from claude_syncd.core.reconcile import EVICTABLE
from claude_syncd.core.rules import classify_portable
from claude_syncd.core.versions import Past, Version, apart_ns, surplus
from claude_syncd.local.database import Database, Shape

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from claude_syncd.core.model import LogEntry, Slice

Dot = tuple[str, str, int]
"""Path, device and seq of a record."""

RECORD = "path, kind, device, seq, vector, size, mtime_ns, mode, sha256"
"""The columns of a record, as `record_of` takes them."""

_COLUMNS = ", ".join(f"r.{column}" for column in RECORD.split(", "))
_NEWEST = f"""
SELECT {_COLUMNS}, e.time_ns FROM records r LEFT JOIN entries e ON e.device=r.device AND e.seq=r.seq
WHERE r.path=?"""  # noqa: S608 - our own words
_OLDER = f"SELECT {RECORD}, time_ns FROM superseded WHERE path=?"  # noqa: S608 - likewise
_SUPERSEDE = """
INSERT OR REPLACE INTO superseded
  SELECT r.path, r.device, r.seq, r.kind, r.vector, r.size, r.mtime_ns, r.mode, r.sha256, r.slices,
         ifnull(e.time_ns, r.mtime_ns), :since
  FROM records r LEFT JOIN entries e ON e.device=r.device AND e.seq=r.seq
  WHERE r.path=:path AND r.device=:device AND r.kind<>'withdrawn'
    AND NOT (:grew AND EXISTS (
      SELECT 1 FROM superseded s
      WHERE s.path=r.path AND s.device=r.device AND s.time_ns > ifnull(e.time_ns, r.mtime_ns) - :apart))"""

_SEVERAL = "SELECT path, device FROM superseded GROUP BY path, device HAVING count(*) > 1"
_PAST = """
SELECT seq, time_ns, since, slices FROM superseded WHERE path=?1 AND device=?2
UNION ALL SELECT seq, 0, 0, slices FROM records WHERE path=?1 AND device=?2 ORDER BY seq"""

_DROP_ENTRIES = """
DELETE FROM entries
  WHERE (device, seq) NOT IN (SELECT device, seq FROM records UNION SELECT device, seq FROM superseded)"""

_record_shape = Shape(Record)
_vector_decoder = msgspec.json.Decoder(Vector)


class Versions(Database):
    """What is known of versions that are no device's newest. Each method is one transaction."""

    def versions(self, path: str) -> list[Version]:
        """Every record that is known of a path, those of each device's newest first; else in no order."""
        return [_version(row) for row in self.rows(_NEWEST, (path,)) + self.rows(_OLDER, (path,))]

    def superseded_slices(self, record: Record) -> tuple[Slice, ...]:
        """Where the content of a superseded record lies; empty where that is not remembered."""
        with self._lock:
            rows = self.rows(
                "SELECT slices FROM superseded WHERE path=? AND device=? AND seq=?",
                (record.path, record.device, record.seq),
            )
            return self.unpack_slices(rows[0][0]) if rows else ()

    def slices_of_content(self, sha256: str, size: int) -> list[tuple[Slice, ...]]:
        """Where exactly this content lies in the vault, in any device's area; a few places at the most."""
        with self._lock:
            rows = self.rows(
                "SELECT slices FROM records WHERE sha256=? AND size=? AND kind='file' LIMIT 4", (sha256, size)
            )
            return [self.unpack_slices(row[0]) for row in rows]

    def forget_versions(self, before: int) -> None:
        """Drop what was superseded before then (lived): the vault need not have it any more."""
        with self.transaction() as db:
            db.execute("DELETE FROM superseded WHERE since<?", (before,))
            db.execute("DELETE FROM forgotten WHERE since<?", (before,))

    def forget_entries(self) -> None:
        """Forget when those log entries were written that no version is of any more."""
        with self.transaction() as db:
            db.execute(_DROP_ENTRIES)

    def versions_beyond(self, limit: int) -> list[Dot]:
        """The oldest superseded versions, of all devices, beyond `limit` bytes: what the newest records have as well,
        or a newer version, costs nothing.
        """
        rows = self.rows(
            "SELECT path, device, seq, slices FROM superseded ORDER BY since DESC, time_ns DESC, seq DESC, path"
        )
        live = Live()
        for slices in self._unpacked(self.rows("SELECT slices FROM records") if rows else []):
            live.add(slices)
        kept = fitting(limit, live, self._unpacked([row[3:] for row in rows]))
        return [(str(path), str(device), int(str(seq))) for path, device, seq, _ in rows[kept:]]

    def surplus_versions(self, lived: int) -> list[Dot]:
        """The superseded versions that say little as of now (lived): others that are kept are close to them, and their
        contents go on in the next ones.
        """
        found: list[Dot] = []
        for path, device in self.rows(_SEVERAL):
            with self._lock:
                rows = [
                    (int(str(seq)), int(str(t)), int(str(since)), s)
                    for seq, t, since, s in self.rows(_PAST, (path, device))
                ]
                past = [Past(t, lived - since, self.unpack_slices(packed)) for _, t, since, packed in rows]
            found += [(str(path), str(device), rows[number][0]) for number in surplus(past)]
        return found

    def _unpacked(self, rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[Slice, ...]]:
        for (packed,) in rows:
            with self._lock:  # for each one, so that nobody waits for all
                slices = self.unpack_slices(packed)
            yield slices

    def drop_versions(self, dots: Iterable[Dot]) -> None:
        """Drop these superseded versions: the vault need not have them any more."""
        with self.transaction() as db:
            db.executemany("DELETE FROM superseded WHERE path=? AND device=? AND seq=?", dots)

    def forget(self, path: str, vector: Vector, since: int) -> None:
        """The user wants a path deleted for good, with all that `vector` covers; its versions are not remembered.
        `since`: now (lived).
        """
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO forgotten VALUES(?,?,?)", (path, msgspec.json.encode(vector), since))
            _drop(db, path, vector)
            db.execute("INSERT OR IGNORE INTO todo VALUES(?)", (path,))

    def want_again(self, paths: Iterable[str]) -> None:
        """The user wants these paths after all."""
        with self.transaction() as db:
            db.executemany("DELETE FROM forgotten WHERE path=?", ((path,) for path in paths))

    def forgotten(self) -> dict[str, Vector]:
        """What was deleted for good on this device, and what was known of it then."""
        rows = self.rows("SELECT path, vector FROM forgotten ORDER BY path")
        return {str(path): _vector_decoder.decode(vector) for path, vector in rows}  # type: ignore[arg-type]

    @staticmethod
    def note_entry(db: sqlite3.Connection, entry: LogEntry) -> None:
        """Within a transaction: remember when an entry was written."""
        db.execute("INSERT OR REPLACE INTO entries VALUES(?,?,?)", (entry.device, entry.seq, entry.time_ns))

    @staticmethod
    def forget_covered(db: sqlite3.Connection, record: Record) -> None:
        """Within a transaction: a session's file is deleted by `forget` only, and then its versions go, too."""
        if record.kind is Kind.TOMBSTONE and classify_portable(record.path) in EVICTABLE:
            _drop(db, record.path, record.vector)

    @staticmethod
    def supersede(db: sqlite3.Connection, record: Record, extends: Extends | None, since: int) -> None:
        """Within a transaction, before `record` takes the place of its device's newest one of the path: remember that
        one.
        """
        db.execute(
            _SUPERSEDE,
            {
                "path": record.path,
                "device": record.device,
                "since": since,
                "grew": int(extends is not None and extends.path == record.path and record.kind is Kind.FILE),
                "apart": apart_ns(0),
            },
        )


def forget_again(db: sqlite3.Connection) -> None:
    """Within a transaction: what the table `incoming` brought back of files that were deleted for good since goes."""
    deleted = db.execute(
        "SELECT path, vector, 0 FROM records WHERE kind='tombstone' AND path IN (SELECT path FROM incoming)"
        " UNION ALL SELECT path, vector, 1 FROM forgotten WHERE path IN (SELECT path FROM incoming)"
    ).fetchall()
    for path, vector, wish in deleted:
        if wish or classify_portable(path) in EVICTABLE:
            _drop(db, path, _vector_decoder.decode(vector))


def _drop(db: sqlite3.Connection, path: str, vector: Vector) -> None:
    db.executemany(
        "DELETE FROM superseded WHERE path=? AND device=? AND seq<=?",
        ((path, device, seq) for device, seq in vector.items()),
    )


def record_of(row: tuple[object, ...]) -> Record:
    """A record of the columns RECORD."""
    path, kind, device, seq, vector, size, mtime_ns, mode, sha256 = row[:9]
    return _record_shape.of(
        {
            "path": path,
            "kind": kind,
            "device": device,
            "seq": seq,
            "vector": _vector_decoder.decode(vector),  # type: ignore[arg-type]
            "size": size,
            "mtime_ns": mtime_ns,
            "mode": mode,
            "sha256": sha256,
        }
    )


def _version(row: tuple[object, ...]) -> Version:
    record = record_of(row)
    return Version(record=record, time_ns=int(str(row[9])) if row[9] is not None else record.mtime_ns)
