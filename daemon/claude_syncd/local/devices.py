"""The part of the state that is about devices: how far each one's log is integrated, what each says of the others,
and their checkpoints.

    positions  how far each device's log is integrated, its newest checkpoint that was read, when it last said anything
    claims     how far each device says that it has read the others' logs
    lapsed     records that a checkpoint of their device has no more, until it is known what became of their paths
    awaited    what must have been read of the others' logs by then
    removed    devices that were taken out of the vault

`lived` counts seconds as core/elapsed.py does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.elapsed import Elapsed, passed
from claude_syncd.core.model import Checkpoint, LogEntry, RosterEntry, Seen, Vector, join
from claude_syncd.errors import IntegrityError
from claude_syncd.local.database import Database, Shape, created
from claude_syncd.local.versions import forget_again

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from claude_syncd.core.model import Published

_ELAPSED = "elapsed"
_WRITE_EVERY = 60.0


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a device's log is integrated: seq 0 and "" before its first entry. `time_ns` is that of the entry.

    `checkpoint`: the seq of its newest checkpoint that was integrated, or 0. `at`: when the position last moved
    (lived). `news`: its newest entry that had records.
    """

    device: str
    name: str
    seq: int = 0
    sha256: str = ""
    time_ns: int = 0
    checkpoint: int = 0
    at: int = 0
    news: int = 0


_POSITIONS = "SELECT device, name, seq, sha256, time_ns, checkpoint, at, news FROM positions"
_POSITION = "device, name, seq, sha256, time_ns, checkpoint, at, news"
_FORGET = (
    "DELETE FROM records WHERE device=?",
    "DELETE FROM superseded WHERE device=?",
    "DELETE FROM entries WHERE device=?",
    "DELETE FROM positions WHERE device=?",
    "DELETE FROM lapsed WHERE device=?",
    "DELETE FROM awaited WHERE device=?",
    "DELETE FROM claims WHERE ? IN (device, speaker)",
)
_RECORD = "path, device, seq, kind, vector, size, mtime_ns, mode, sha256, slices"
_LAST_INCOMING = "i.seq = (SELECT max(j.seq) FROM incoming j WHERE j.path=i.path)"
_SINCE = "SELECT 1 FROM records r WHERE r.path=i.path AND r.device=:device AND r.seq > :seq"
_NEW_SUPERSEDED = f"""
INSERT OR IGNORE INTO superseded({_RECORD}, time_ns, since)
  SELECT i.path, :device, i.seq, i.kind, i.vector, i.size, i.mtime_ns, i.mode, i.sha256, i.slices, i.mtime_ns, :now
  FROM incoming i WHERE i.kind<>'withdrawn' AND (NOT {_LAST_INCOMING} OR EXISTS ({_SINCE}))"""  # noqa: S608 - constants
_NEW_RECORDS = f"""
INSERT OR REPLACE INTO records({_RECORD}, at)
  SELECT i.path, :device, i.seq, i.kind, i.vector, i.size, i.mtime_ns, i.mode, i.sha256, i.slices,
         ifnull((SELECT r.at FROM records r WHERE r.path=i.path AND r.device=:device AND r.seq=i.seq), :now)
  FROM incoming i WHERE {_LAST_INCOMING} AND NOT EXISTS ({_SINCE})"""  # noqa: S608 - constants

_position_shape = Shape(Position)
_seen_shape = Shape(Seen)
_elapsed_decoder = msgspec.json.Decoder(Elapsed)
_vector_decoder = msgspec.json.Decoder(Vector)


class Devices(Database):
    """What is known of the devices. Each method is one transaction, but for those that take one."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection] = created) -> None:
        """See Database."""
        super().__init__(path, connect)
        known = self.meta(_ELAPSED)
        self._elapsed = self._written = _elapsed_decoder.decode(known) if known is not None else Elapsed()

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def lived(self) -> int:
        """Seconds that this device has lived through as of the last call of `live`."""
        return int(self._elapsed.seconds)

    def live(self, *, wall_ns: int, running: float) -> int:
        """Note that it is later: `running` seconds, by a clock that never jumps, after the last call; 0 at the first.
        It is on disk within a minute.
        """
        self._elapsed = passed(self._elapsed, wall_ns=wall_ns, running=running)
        if self._elapsed.seconds - self._written.seconds >= _WRITE_EVERY or self._written.latest_ns == 0:
            self._written = self._elapsed
            self.set_meta(_ELAPSED, msgspec.json.encode(self._elapsed).decode())
        return self.lived

    # -- devices ------------------------------------------------------------------------------------------------------

    def positions(self) -> dict[str, Position]:
        """Every known device, by id."""
        names = _POSITION.split(", ")
        rows = self.rows(_POSITIONS)
        return {str(row[0]): _position_shape.of(dict(zip(names, row, strict=True))) for row in rows}

    def joined(self, entry: RosterEntry) -> None:
        """Note a device of the roster; one that is known already stays as it is, one that was removed stays away."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO positions(device, name, seq, sha256, time_ns, at) SELECT ?,?,0,'',0,?"
                " WHERE NOT EXISTS (SELECT 1 FROM removed WHERE device=?)",
                (entry.device, entry.name, self.lived, entry.device),
            )

    def removed(self) -> set[str]:
        """The devices that were taken out of the vault."""
        return {str(row[0]) for row in self.rows("SELECT device FROM removed")}

    def remove_device(self, device: str) -> None:
        """Forget a device that was taken out of the vault: its records count no more, and its paths are todo."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO removed VALUES(?)", (device,))
            db.execute("INSERT OR IGNORE INTO todo SELECT path FROM records WHERE device=?", (device,))
            for forget in _FORGET:
                db.execute(forget, (device,))

    def claims(self) -> dict[str, Seen]:
        """For each device the furthest log entry that any device says it has integrated."""
        rows = self.rows("SELECT device, max(seq), sha256 FROM claims GROUP BY device")
        return {str(row[0]): _seen_shape.of(row[1:], strict=False) for row in rows}

    def seen_of(self, device: str) -> dict[str, int]:
        """How far each other device says that it has read the log of `device`."""
        rows = self.rows("SELECT speaker, seq FROM claims WHERE device=?", (device,))
        return {str(speaker): int(str(seq)) for speaker, seq in rows}

    def move_on(self, db: sqlite3.Connection, entry: LogEntry | Checkpoint, sha256: str, *, news: bool) -> None:
        """Within a transaction: the device's log is integrated as far as `entry`, whose SHA-256 is `sha256`."""
        db.execute(
            f"INSERT INTO positions({_POSITION}) VALUES(:device,:name,:seq,:sha256,:time_ns,0,:at,:news)"
            " ON CONFLICT(device) DO UPDATE SET name=:name, seq=:seq, sha256=:sha256, time_ns=:time_ns, at=:at,"
            " news=max(news, :news)",
            {
                "device": entry.device,
                "name": entry.name,
                "seq": entry.seq,
                "sha256": sha256,
                "time_ns": entry.time_ns,
                "at": self.lived,
                "news": entry.seq if news else 0,
            },
        )
        self._claim(db, entry)

    @staticmethod
    def _claim(db: sqlite3.Connection, entry: LogEntry | Checkpoint) -> None:
        db.executemany(
            "INSERT INTO claims VALUES(?,?,?,?) ON CONFLICT(device, speaker) DO UPDATE SET seq=excluded.seq,"
            " sha256=excluded.sha256 WHERE excluded.seq > seq",
            ((device, entry.device, seen.seq, seen.sha256) for device, seen in entry.seen.items()),
        )

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def integrate_checkpoint(self, checkpoint: Checkpoint, portions: Iterable[tuple[Published, ...]]) -> None:
        """Take in a device's checkpoint: it takes the place of all that was known of its log up to there, and what it
        holds now in other objects is found there. Paths with anything new become todo.

        A record that it lacks stays until `conclude`. Nothing happens where it is not newer than the newest that was
        integrated. Raises IntegrityError for one that does not belong to the log that was read, FormatError.
        """
        with self.transaction() as db:
            if self._incoming(db, checkpoint, portions):
                at = {"device": checkpoint.device, "seq": checkpoint.seq}
                db.execute(
                    "INSERT OR IGNORE INTO todo SELECT i.path FROM incoming i WHERE NOT EXISTS"
                    " (SELECT 1 FROM records r WHERE r.path=i.path AND r.device=:device AND r.seq >= i.seq)",
                    at,
                )
                db.execute(
                    "INSERT OR REPLACE INTO lapsed SELECT r.path, r.device, r.seq FROM records r WHERE r.device=:device"
                    " AND r.seq <= :seq AND NOT EXISTS (SELECT 1 FROM incoming i WHERE i.path=r.path)",
                    at,
                )
                db.execute("DELETE FROM awaited WHERE device=?", (checkpoint.device,))
                db.executemany(
                    "INSERT INTO awaited VALUES(?,?,?)",
                    ((checkpoint.device, other, seen.seq) for other, seen in checkpoint.seen.items()),
                )
                self._take_place(db, checkpoint)

    def _incoming(
        self, db: sqlite3.Connection, checkpoint: Checkpoint, portions: Iterable[tuple[Published, ...]]
    ) -> bool:
        """Fill the table of what comes in; whether it is anything new."""
        row = db.execute(
            "SELECT seq, sha256, checkpoint FROM positions WHERE device=?", (checkpoint.device,)
        ).fetchone()
        seq, sha256, newest = row if row is not None else (0, "", 0)
        if checkpoint.seq <= newest:
            return False
        if seq == checkpoint.seq and sha256 != checkpoint.sha256:
            raise IntegrityError(
                f"checkpoint {checkpoint.seq} of device {checkpoint.device} does not belong to the log that was read",
                hint="the store was rolled back or its objects were exchanged; nothing was applied",
            )
        db.execute("DELETE FROM incoming")
        for portion in portions:
            db.executemany(
                "INSERT INTO incoming VALUES(?,?,?,?,?,?,?,?,?)",
                (
                    (
                        *(r.path, r.seq, str(r.kind), msgspec.json.encode(r.vector), r.size, r.mtime_ns, r.mode),
                        *(r.sha256, self.pack_slices(db, published.slices)),
                    )
                    for published in portion
                    for r in (published.record,)
                ),
            )
        return True

    def _take_place(self, db: sqlite3.Connection, checkpoint: Checkpoint) -> None:
        """Replace the device's records up to the checkpoint's seq by what came in."""
        at = {"device": checkpoint.device, "seq": checkpoint.seq, "now": self.lived}
        db.execute(
            "DELETE FROM superseded WHERE device=:device AND seq <= :seq AND NOT EXISTS"
            " (SELECT 1 FROM incoming i WHERE i.path=superseded.path AND i.seq=superseded.seq)",
            at,
        )
        db.execute(
            "UPDATE superseded SET slices="
            "(SELECT i.slices FROM incoming i WHERE i.path=superseded.path AND i.seq=superseded.seq)"
            " WHERE device=:device AND seq <= :seq",
            at,
        )
        db.execute(_NEW_SUPERSEDED, at)
        db.execute(_NEW_RECORDS, at)
        forget_again(db)
        db.execute("DELETE FROM incoming")
        row = db.execute("SELECT seq FROM positions WHERE device=:device", at).fetchone()
        if row is None or row[0] < checkpoint.seq:
            self.move_on(db, checkpoint, checkpoint.sha256, news=True)
        else:
            self._claim(db, checkpoint)
        db.execute("UPDATE positions SET checkpoint=:seq WHERE device=:device", at)

    def conclude(self) -> None:
        """Decide about paths that a checkpoint has no record of any more, once the other devices' logs are read as far
        as its device had read them: where no other record of the path says what is there, the file was deleted and the
        tombstone was forgotten while this device was away.
        """
        with self.transaction() as db:
            waiting = {
                str(row[0])
                for row in db.execute(
                    "SELECT DISTINCT a.device FROM awaited a JOIN positions p ON p.device=a.other WHERE p.seq < a.seq"
                )
            }
            rows = db.execute(
                "SELECT l.path, l.device, r.vector, p.checkpoint FROM lapsed l"
                " LEFT JOIN records r ON r.path=l.path AND r.device=l.device AND r.seq=l.seq"
                " LEFT JOIN positions p ON p.device=l.device ORDER BY l.path"
            ).fetchall()
            by_path: dict[str, list[tuple[str, Vector | None, int]]] = {}
            for path, device, vector, checkpoint in rows:
                known = _vector_decoder.decode(vector) if vector is not None else None
                by_path.setdefault(path, []).append((device, known, checkpoint))
            for path, lapsed in by_path.items():
                if any(device in waiting for device, _, _ in lapsed):
                    continue
                self._conclude(db, path, [(d, v, c) for d, v, c in lapsed if v is not None])
                db.execute("DELETE FROM lapsed WHERE path=?", (path,))

    def _conclude(self, db: sqlite3.Connection, path: str, lapsed: list[tuple[str, Vector | None, int]]) -> None:
        for device, _, _ in lapsed:
            db.execute("DELETE FROM records WHERE path=? AND device=?", (path, device))
        known = db.execute(
            "SELECT (SELECT 1 FROM records WHERE path=:path AND kind<>'withdrawn'),"
            " (SELECT 1 FROM base WHERE path=:path AND kind='file' AND evicted=0)",
            {"path": path},
        ).fetchone()
        if lapsed and known == (None, 1):
            device, _, seq = lapsed[0]
            vector = join(*(v for _, v, _ in lapsed if v is not None), {device: seq})
            db.execute(
                f"INSERT INTO records({_RECORD}, at) VALUES(?,?,?,'tombstone',?,0,0,0,'',?,?)",
                (path, device, seq, msgspec.json.encode(vector), self.pack_slices(db, ()), self.lived),
            )
        db.execute("INSERT OR IGNORE INTO todo VALUES(?)", (path,))
