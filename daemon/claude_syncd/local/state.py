"""The state database: what this device knows. Everything in it can be rebuilt from the vault and the disk.

    base       the version each path was last equal to, and the identity of the file then
    records    each device's newest record of each path, with its slices resolved; those before it: see versions
    todo       paths that something came in for and that no round has finished yet
    positions  how far each device's log is integrated; claims: how far each other device says it reaches
    staged     contents whose packs are up but whose log entry is not

All methods are synchronous, safe from any thread, and each is one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.model import Base, Identity, Kind, LogEntry, Published, Record, Slice, Vector
from claude_syncd.errors import FormatError, IntegrityError
from claude_syncd.local.database import Shape
from claude_syncd.local.outgoing import Outgoing
from claude_syncd.local.versions import RECORD, Versions, record_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """A path's base, the identity of the local file when it was equal to it (None: look again), the mode that the
    file then had on this file system, and where the content lies in the vault.
    """

    base: Base
    identity: Identity | None = None
    local_mode: int = 0
    slices: tuple[Slice, ...] = ()


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose bytes are in packs that no log entry names yet."""

    path: str
    identity: Identity
    size: int
    sha256: str
    slices: tuple[Slice, ...]


class Known(msgspec.Struct):
    """What is known of one path: its base, every device's newest record, and what the user has forgotten of it."""

    tracked: Tracked | None = None
    newest: list[Record] = []
    forgotten: Vector | None = None


_AT_ONCE = 500  # paths in one query; SQLite before 3.32 takes no more than 999
_RECORDS = f"SELECT {RECORD} FROM records"  # noqa: S608 - our own words
_RECORDS_WITH_SLICES = f"SELECT {RECORD}, slices FROM records"  # noqa: S608 - likewise
_BASES = "SELECT path, kind, vector, size, mtime_ns, mode, sha256, evicted, identity, local_mode, slices FROM base"

_base_shape = Shape(Base)
_vector_decoder = msgspec.json.Decoder(Vector)
_identity_decoder = msgspec.msgpack.Decoder(Identity)


class State(Versions, Outgoing):
    """What this device knows, in its database."""

    # -- records ------------------------------------------------------------------------------------------------------

    def integrate(self, entry: LogEntry, sha256: str) -> list[str]:
        """Take in the next log entry of a device: its records, its position, its paths as todo. Returns the paths.

        Raises IntegrityError when it is not the next in that device's chain, FormatError when a record extends
        what is not there. `sha256` is that of the entry's object.
        """
        with self.transaction() as db:
            row = db.execute("SELECT seq, sha256 FROM positions WHERE device=?", (entry.device,)).fetchone()
            seq, previous = row if row is not None else (0, "")
            if entry.seq != seq + 1 or entry.prev != previous:
                raise IntegrityError(
                    f"log entry {entry.seq} of device {entry.device} does not continue entry {seq}",
                    hint="the store was rolled back or its objects were exchanged; nothing was applied",
                )
            resolved = self._resolved(db, entry)
            rows = []
            for published, slices in zip(entry.records, resolved, strict=True):
                r = published.record
                if seq:  # before its first entry a device has no version that could be superseded
                    self.supersede(db, r, published.extends, self.lived)
                self.forget_covered(db, r)
                rows.append(
                    (
                        *(r.path, r.device, r.seq, str(r.kind), msgspec.json.encode(r.vector)),
                        *(r.size, r.mtime_ns, r.mode, r.sha256, self.pack_slices(db, slices), self.lived),
                    )
                )
            db.executemany("INSERT OR REPLACE INTO records VALUES(?,?,?,?,?,?,?,?,?,?,?)", rows)
            db.executemany("INSERT OR IGNORE INTO todo VALUES(?)", (row[:1] for row in rows))
            self.note_entry(db, entry)
            self.move_on(db, entry, sha256, news=bool(entry.records))
        return [published.record.path for published in entry.records]

    def check(self, entry: LogEntry) -> None:
        """Raise FormatError for an entry of this device that no reader could integrate: once its name is taken, it
        can't be repaired.
        """
        with self.transaction() as db:
            self._resolved(db, entry)

    def _resolved(self, db: sqlite3.Connection, entry: LogEntry) -> list[tuple[Slice, ...]]:
        return [self._resolve(db, published) for published in entry.records]

    def _resolve(self, db: sqlite3.Connection, published: Published) -> tuple[Slice, ...]:
        record, extends = published.record, published.extends
        kept: tuple[Slice, ...] = ()
        if extends is not None:
            row = db.execute(
                "SELECT seq, slices FROM records WHERE path=? AND device=?", (extends.path, record.device)
            ).fetchone()
            if row is None or row[0] != extends.seq:
                raise FormatError(f"a record of device {record.device} extends one that is not there")
            kept = self.unpack_slices(row[1])
            if len(kept) < extends.keep:
                raise FormatError(f"a record of device {record.device} keeps more slices than there are")
            kept = kept[: extends.keep]
        slices = kept + published.slices
        if record.kind is Kind.FILE and sum(s.length for s in slices) != record.size:
            raise FormatError(f"a record of device {record.device} has slices that do not add up to its size")
        return slices

    def newest(self, path: str) -> list[Record]:
        """Every device's newest record of a path."""
        return [record_of(r) for r in self.rows(f"{_RECORDS} WHERE path=?", (path,))]

    def known(self, paths: Sequence[str]) -> dict[str, Known]:
        """The bases and every device's newest records of many paths; a path of which nothing is known is left out."""
        found: dict[str, Known] = {}
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._lock:
                for row in self.rows(f"{_BASES} WHERE path IN ({marks})", some):
                    found.setdefault(str(row[0]), Known()).tracked = self._tracked(row)
            for row in self.rows(f"{_RECORDS} WHERE path IN ({marks})", some):
                found.setdefault(str(row[0]), Known()).newest.append(record_of(row))
        for path, vector in self.forgotten().items():
            if path in found:
                found[path].forgotten = vector
        return found

    def shared(self, paths: Sequence[str], me: str) -> list[str]:
        """Those of `paths` that devices other than `me` have records of, too."""
        found: set[str] = set()
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT path FROM records WHERE path IN ({marks}) AND device<>?"  # noqa: S608 - only marks
            found.update(str(row[0]) for row in self.rows(query, (*some, me)))
        return list(found)

    def paths(self, under: str = "") -> list[str]:
        """Every path that any device has a record of, sorted; `under` limits to those that begin with it."""
        rows = self.rows("SELECT DISTINCT path FROM records WHERE path>=? AND path<? ORDER BY path", _range(under))
        return [str(r[0]) for r in rows]

    def slices(self, path: str, device: str) -> tuple[Slice, ...]:
        """Where the content of that device's newest record of the path lies."""
        with self._lock:
            rows = self.rows("SELECT slices FROM records WHERE path=? AND device=?", (path, device))
            return self.unpack_slices(rows[0][0]) if rows else ()

    def slices_of_many(self, records: Sequence[Record]) -> dict[tuple[str, str], tuple[Slice, ...]]:
        """`slices` for the path and device of each of `records`, by both."""
        found: dict[tuple[str, str], tuple[Slice, ...]] = {(r.path, r.device): () for r in records}
        paths = [r.path for r in records]
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._lock:
                for path, device, packed in self.rows(
                    f"SELECT path, device, slices FROM records WHERE path IN ({marks})",  # noqa: S608 - only marks
                    some,
                ):
                    if (str(path), str(device)) in found:
                        found[str(path), str(device)] = self.unpack_slices(packed)
        return found

    def slices_of(self, record: Record) -> tuple[Slice, ...]:
        """Where the content of that very record lies, be it its device's newest or a superseded one; empty where it is
        not known any more.
        """
        dot = (record.path, record.device, record.seq)
        query = "SELECT slices FROM {} WHERE path=? AND device=? AND seq=?"
        with self._lock:
            rows = self.rows(query.format("records"), dot) or self.rows(query.format("superseded"), dot)
            return self.unpack_slices(rows[0][0]) if rows else ()

    def same_content(self, device: str, sha256: str, size: int) -> tuple[Record, tuple[Slice, ...]] | None:
        """A record of `device` with exactly this content, if it has one."""
        with self._lock:
            rows = self.rows(
                f"{_RECORDS_WITH_SLICES} WHERE sha256=? AND device=? AND size=? AND kind='file' LIMIT 1",
                (sha256, device, size),
            )
            return (record_of(rows[0]), self.unpack_slices(rows[0][9])) if rows else None

    def sizes(self, device: str) -> set[int]:
        """The sizes of all contents that `device` has in its area."""
        rows = self.rows("SELECT DISTINCT size FROM records WHERE device=? AND kind='file'", (device,))
        return {int(str(r[0])) for r in rows}

    # -- todo ---------------------------------------------------------------------------------------------------------

    def todo(self) -> list[str]:
        """Paths that wait for a round, sorted."""
        return [str(r[0]) for r in self.rows("SELECT path FROM todo ORDER BY path")]

    def add_todo(self, paths: Iterable[str]) -> None:
        """Have paths looked at in the next round, even after a crash."""
        with self.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO todo VALUES(?)", ((p,) for p in paths))

    def done(self, paths: Iterable[str]) -> None:
        """These paths need nothing more."""
        with self.transaction() as db:
            db.executemany("DELETE FROM todo WHERE path=?", ((p,) for p in paths))

    # -- base ---------------------------------------------------------------------------------------------------------

    def tracked(self, path: str) -> Tracked | None:
        """The base of a path, None if it never had one."""
        with self._lock:
            rows = self.rows(f"{_BASES} WHERE path=?", (path,))
            return self._tracked(rows[0]) if rows else None

    def _tracked(self, row: tuple[object, ...]) -> Tracked:
        _, kind, vector, size, mtime_ns, mode, sha256, evicted, identity, local_mode, slices = row
        base = _base_shape.of(
            {
                "kind": kind,
                "vector": _vector_decoder.decode(vector),  # type: ignore[arg-type]
                "size": size,
                "mtime_ns": mtime_ns,
                "mode": mode,
                "sha256": sha256,
                "evicted": bool(evicted),
            }
        )
        return Tracked(
            base=base,
            identity=_identity_decoder.decode(identity) if identity is not None else None,  # type: ignore[arg-type]
            local_mode=int(str(local_mode)),
            slices=self.unpack_slices(slices),
        )

    def track(self, items: Iterable[tuple[str, Tracked]], *, finished: bool = True) -> None:
        """Move bases. With `finished` their paths are no longer todo."""
        items = list(items)
        with self.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO base VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    (
                        *(path, path.rpartition("/")[0], str(t.base.kind), msgspec.json.encode(t.base.vector)),
                        *(t.base.size, t.base.mtime_ns, t.base.mode, t.base.sha256, int(t.base.evicted)),
                        msgspec.msgpack.encode(t.identity) if t.identity is not None else None,
                        *(t.local_mode, self.pack_slices(db, t.slices)),
                    )
                    for path, t in items
                ),
            )
            if finished:
                db.executemany("DELETE FROM todo WHERE path=?", ((path,) for path, _ in items))

    def identities(self, folder: str) -> dict[str, Identity | None]:
        """The files right in the portable folder that should be on this disk, with their identities."""
        rows = self.rows("SELECT path, identity FROM base WHERE folder=? AND kind='file' AND evicted=0", (folder,))
        return {
            str(path): _identity_decoder.decode(identity) if identity is not None else None  # type: ignore[arg-type]
            for path, identity in rows
        }

    def folders(self, root: str) -> list[str]:
        """Every portable folder below `root` ("tree", "conflicts") with files that should be on this disk, sorted."""
        rows = self.rows(
            "SELECT DISTINCT folder FROM base WHERE folder>=? AND folder<? AND kind='file' AND evicted=0"
            " ORDER BY folder",
            (root, f"{root}0"),
        )
        return [str(r[0]) for r in rows]

    def count(self) -> int:
        """How many files should be on this disk, kept sides of conflicts left out."""
        rows = self.rows("SELECT COUNT(*) FROM base WHERE kind='file' AND evicted=0 AND path<'tree0' AND path>='tree/'")
        return int(str(rows[0][0]))

    def drop_bases(self, paths: Iterable[str]) -> None:
        """As if these paths had never been here."""
        with self.transaction() as db:
            for path in paths:
                db.execute("DELETE FROM base WHERE path=?", (path,))
                db.execute("INSERT OR IGNORE INTO todo VALUES(?)", (path,))

    def forget_bases(self) -> None:
        """Compare everything with the vault afresh, as after a loss of state."""
        with self.transaction() as db:
            db.execute("DELETE FROM base")
            db.execute("INSERT OR IGNORE INTO todo SELECT DISTINCT path FROM records")

    def reconsider(self) -> None:
        """Have every path of the vault looked at again: what is selected here has changed."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO todo SELECT DISTINCT path FROM records")

    # -- staged -------------------------------------------------------------------------------------------------------

    def stage(self, items: Iterable[Staged]) -> None:
        """Note contents whose packs are up, so that a push that is cut off resumes where it was."""
        with self.transaction() as db:
            for s in items:
                db.execute(
                    "INSERT OR REPLACE INTO staged VALUES(?,?,?,?,?)",
                    (s.path, msgspec.msgpack.encode(s.identity), s.size, s.sha256, self.pack_slices(db, s.slices)),
                )

    def staged(self) -> dict[str, Staged]:
        """What is already up, by path: something only after a push that was cut off."""
        with self._lock:
            return {
                str(path): Staged(
                    path=str(path),
                    identity=_identity_decoder.decode(identity),  # type: ignore[arg-type]
                    size=int(str(size)),
                    sha256=str(sha256),
                    slices=self.unpack_slices(slices),
                )
                for path, identity, size, sha256, slices in self.rows(
                    "SELECT path, identity, size, sha256, slices FROM staged"
                )
            }

    def unstage_lost(self, packs: Collection[str]) -> None:
        """Forget staged contents that need others than these packs."""
        lost = [path for path, s in self.staged().items() if any(one.object not in packs for one in s.slices)]
        with self.transaction() as db:
            db.executemany("DELETE FROM staged WHERE path=?", ((path,) for path in lost))

    def unstage(self) -> None:
        """Forget all staged contents: their log entry is up."""
        with self.transaction() as db:
            db.execute("DELETE FROM staged")

    # -- projects -----------------------------------------------------------------------------------------------------

    def projects(self) -> dict[str, str]:
        """Project folder on this device -> its portable name, as decided before."""
        return {str(r[0]): str(r[1]) for r in self.rows("SELECT key, portable FROM projects")}

    def set_project(self, key: str, portable: str) -> None:
        """Decide a project's portable name for good."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO projects VALUES(?,?)", (key, portable))


def _range(under: str) -> tuple[str, str]:
    """The bounds of all paths that begin with `under`."""
    return (under, under + "\U0010ffff") if under else ("", "\U0010ffff")
