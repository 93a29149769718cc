"""An SQLite file with transactions that end in our errors, small words to remember, and slices packed tightly."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import msgspec

from claude_syncd.core.model import Slice
from claude_syncd.errors import LocalError, StateBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION = "3"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS base(
  path TEXT PRIMARY KEY, folder TEXT NOT NULL, kind TEXT NOT NULL, vector BLOB NOT NULL, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, sha256 TEXT NOT NULL, evicted INTEGER NOT NULL, identity BLOB,
  local_mode INTEGER NOT NULL, slices BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS base_by_folder ON base(folder);
CREATE TABLE IF NOT EXISTS records(
  path TEXT NOT NULL, device TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, vector BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, sha256 TEXT NOT NULL, slices BLOB NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY(path, device)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_content ON records(sha256);
CREATE TABLE IF NOT EXISTS superseded(
  path TEXT NOT NULL, device TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, vector BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, sha256 TEXT NOT NULL, slices BLOB NOT NULL,
  time_ns INTEGER NOT NULL, since INTEGER NOT NULL, PRIMARY KEY(path, device, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries(
  device TEXT NOT NULL, seq INTEGER NOT NULL, time_ns INTEGER NOT NULL, PRIMARY KEY(device, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten(
  path TEXT PRIMARY KEY, vector BLOB NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incoming(
  path TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, vector BLOB NOT NULL, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, sha256 TEXT NOT NULL, slices BLOB NOT NULL,
  PRIMARY KEY(path, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outgoing(
  path TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, vector BLOB NOT NULL, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL, sha256 TEXT NOT NULL, slices BLOB NOT NULL,
  PRIMARY KEY(path, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spare(name TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packs(name TEXT PRIMARY KEY, plain INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lapsed(
  path TEXT NOT NULL, device TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(path, device)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS awaited(
  device TEXT NOT NULL, other TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(device, other)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS removed(device TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS todo(path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions(
  device TEXT PRIMARY KEY, name TEXT NOT NULL, seq INTEGER NOT NULL, sha256 TEXT NOT NULL, time_ns INTEGER NOT NULL,
  checkpoint INTEGER NOT NULL DEFAULT 0, at INTEGER NOT NULL DEFAULT 0, news INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims(
  device TEXT NOT NULL, speaker TEXT NOT NULL, seq INTEGER NOT NULL, sha256 TEXT NOT NULL,
  PRIMARY KEY(device, speaker)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staged(
  path TEXT PRIMARY KEY, identity BLOB NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, slices BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projects(key TEXT PRIMARY KEY, portable TEXT NOT NULL) WITHOUT ROWID;
"""

_slices_decoder = msgspec.msgpack.Decoder(list[tuple[int, int, int, int]])
_NAMES_KEPT = 4096
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Shape(Generic[_Struct]):
    """Makes structs of one type out of columns; made when its module is imported, as decoders are (pyproject.toml)."""

    def __init__(self, kind: type[_Struct]) -> None:
        self._kind = kind
        msgspec.json.Decoder(kind)

    def of(self, columns: object, *, strict: bool = True) -> _Struct:
        """`columns` as msgspec converts them: by name, or in order for a type that is like an array."""
        return msgspec.convert(columns, self._kind, strict=strict)  # noqa: TID251 - worked out at import, above


def created(path: Path) -> sqlite3.Connection:
    """The file itself, which is made where there is none. Raises LocalError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return _connected(path)
    except (OSError, sqlite3.Error) as error:
        raise LocalError(f"can't open the state database {path}: {error}") from error


def empty(_path: Path) -> sqlite3.Connection:
    """A database in memory, of which nothing is ever written to the disk."""
    return _connected(":memory:")


def copied(path: Path) -> sqlite3.Connection:
    """The database as it is now, in memory; an empty one where there is none. The file is only read, even while another
    process writes it. Raises LocalError, StateBroken.
    """
    copy = empty(path)
    try:
        if path.exists():
            with closing(_readable(path)) as file:
                file.backup(copy)
    except (OSError, sqlite3.OperationalError) as error:
        copy.close()
        raise LocalError(f"can't read the state database {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        copy.close()
        raise StateBroken(f"the state database is damaged: {error}") from error
    return copy


def _readable(path: Path) -> sqlite3.Connection:
    """The file, opened to be read. What is still in the log beside it counts; where no such files are and none can be
    made, as in a folder that can't be written, nobody writes and the file is all there is.
    """
    file = _connected(f"{path.absolute().as_uri()}?mode=ro")
    try:
        file.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        file.close()
        if path.with_name(f"{path.name}-wal").exists():
            raise
        return _connected(f"{path.absolute().as_uri()}?mode=ro&immutable=1")
    except sqlite3.DatabaseError:
        file.close()
        raise
    return file


def _connected(target: Path | str) -> sqlite3.Connection:
    uri = isinstance(target, str)
    return sqlite3.connect(target, isolation_level=None, check_same_thread=False, timeout=10, uri=uri)


class Database:
    """The open file; one process writes at a time, guarded by the lock of the state folder. Safe from any thread."""

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        """`connect` is `created`, `copied` or `empty`. Raises LocalError, and StateBroken when the file is no usable
        database of this version.
        """
        self._path = path
        self._lock = threading.RLock()
        self._names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._db = connect(path)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-4096")
            self._db.executescript(_SCHEMA)
            sound = self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            version = self.meta("schema") or SCHEMA_VERSION
        except sqlite3.OperationalError as error:
            self._db.close()
            raise LocalError(f"can't use the state database {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise StateBroken(f"the state database is damaged: {error}") from error
        if not sound or version != SCHEMA_VERSION:
            self._db.close()
            raise StateBroken(f"the state database is damaged or of another version ({version})")
        self.set_meta("schema", SCHEMA_VERSION)

    def close(self) -> None:
        """Write everything out and let go of the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises LocalError for a full or read-only disk, StateBroken."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    self.forget_names()
                    raise
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:  # full or read-only disk
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise LocalError(f"can't write the state database {self._path}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise StateBroken(f"the state database is damaged: {error}") from error

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """The answer to a query."""
        with self._lock:
            try:
                return self._db.execute(query, parameters).fetchall()
            except sqlite3.OperationalError as error:
                raise LocalError(f"can't read the state database {self._path}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise StateBroken(f"the state database is damaged: {error}") from error

    def meta(self, key: str) -> str | None:
        """A remembered word, None if never set."""
        rows = self.rows("SELECT value FROM meta WHERE key=?", (key,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, key: str, value: str | None) -> None:
        """Remember a word; None forgets it."""
        with self.transaction() as db:
            if value is None:
                db.execute("DELETE FROM meta WHERE key=?", (key,))
            else:
                db.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (key, value))

    def set_meta_durably(self, key: str, value: str | None) -> None:
        """The same, and it outlasts a power cut, as does all that was written before it."""
        with self._lock:
            self._db.execute("PRAGMA synchronous=FULL")
            try:
                self.set_meta(key, value)
            finally:
                self._db.execute("PRAGMA synchronous=NORMAL")

    def make_durable(self) -> None:
        """All that was written so far outlasts a power cut. Raises LocalError."""
        log = self._path.with_name(f"{self._path.name}-wal")
        try:
            log_fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # nothing has been written yet, or this is a copy in memory
        except OSError as error:
            raise LocalError(f"can't write the state database {self._path}: {error}") from error
        try:
            os.fsync(log_fd)
        except OSError as error:
            raise LocalError(f"can't write the state database {self._path}: {error}") from error
        finally:
            os.close(log_fd)

    def pack_slices(self, db: sqlite3.Connection, slices: tuple[Slice, ...]) -> bytes:
        """Slices with object names as numbers, which are given out within the transaction."""
        packed = []
        for s in slices:
            number = self._ids.get(s.object)
            if number is None:
                db.execute("INSERT OR IGNORE INTO objects(name) VALUES(?)", (s.object,))
                number = int(db.execute("SELECT id FROM objects WHERE name=?", (s.object,)).fetchone()[0])
                if len(self._ids) >= _NAMES_KEPT:
                    self._ids.clear()
                self._ids[s.object] = number
            packed.append((number, s.blob, s.start, s.length))
        return msgspec.msgpack.encode(packed)

    def unpack_slices(self, packed: object) -> tuple[Slice, ...]:
        """What `pack_slices` packed. To be called under the same lock as what was asked for it: later the names may be
        forgotten.
        """
        rows = _slices_decoder.decode(packed)  # type: ignore[arg-type]
        return tuple(Slice(self.object_name(number), blob, start, length) for number, blob, start, length in rows)

    def objects_in(self, packed: object) -> set[int]:
        """The numbers of the objects that packed slices are in."""
        return {row[0] for row in _slices_decoder.decode(packed)}  # type: ignore[arg-type]

    def forget_names(self) -> None:
        """Look up anew which number is which object."""
        self._names.clear()
        self._ids.clear()

    def object_name(self, number: int) -> str:
        """The name of the object with this number."""
        name = self._names.get(number)
        if name is None:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            name = str(self.rows("SELECT name FROM objects WHERE id=?", (number,))[0][0])
            self._names[number] = name
        return name
