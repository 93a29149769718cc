"""Deaths between any two steps: every call that changes the disk, each transaction and each request is a point at which
a device may be killed. A killed device does nothing more, not even to clean up.

A loss of power also takes what was not made durable: contents that were written and not synced become empty files, and
of the database's newest transactions only some are there. Names of files are taken to be durable in their order.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from claude_syncd.local import apply, syscalls, target
from claude_syncd.local.database import Database

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

RUNNING: ContextVar[Life | None] = ContextVar("running", default=None)
"""The life of the device at work; None while a user is."""


class Killed(BaseException):
    """The process is gone. Nothing in the engine may catch it."""


class Life:
    """One life of a device's process, from start to death. Counts the points; `doom` is the last one."""

    def __init__(self) -> None:
        self.points = 0
        self.doom: int | None = None
        self.dead = False
        self.unsynced: set[int] = set()  # inodes
        self.durable = 0  # bytes of the database's log of transactions
        self.where = ""

    def point(self, where: str) -> None:
        """Between two steps. Raises Killed when that was the last one."""
        if self.dead:
            raise Killed
        self.points += 1
        if self.doom is not None and self.points >= self.doom:
            self.dead = True
            self.where = where
            raise Killed

    def doom_in(self, points: int) -> None:
        """Die after so many more points."""
        self.doom = self.points + points


_CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "utime", "fchmod", "truncate")
_WRITES = ("write", "pwrite")


def install(patch: pytest.MonkeyPatch) -> None:
    """Have the calls that change a disk tell the life that they belong to."""
    for name in _CHANGES:
        patch.setattr(os, name, _between(name, getattr(os, name)))
    for name in _WRITES:
        patch.setattr(os, name, _writing(name, getattr(os, name)))
    patch.setattr(os, "copy_file_range", _copying(os.copy_file_range))
    for module, name in ((target, "exchange"), (target, "rename_to_new")):
        patch.setattr(module, name, _between(name, getattr(syscalls, name)))
    patch.setattr(os, "fsync", _fsync)
    patch.setattr(Database, "transaction", _transaction(Database.transaction))
    for name in ("set_meta_durably", "make_durable"):
        patch.setattr(Database, name, _durably(getattr(Database, name)))
    patch.setattr(apply, "sync_filesystem", _sync_filesystem)


def _between(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        life = RUNNING.get()
        if life is None:
            return call(*args, **kwargs)
        life.point(f"before {name}")
        result = call(*args, **kwargs)
        life.point(f"after {name}")
        return result

    return called


def _writing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def called(fd: int, *args: Any) -> Any:
        life = RUNNING.get()
        if life is None:
            return call(fd, *args)
        life.point(f"before {name}")
        life.unsynced.add(os.fstat(fd).st_ino)
        return call(fd, *args)

    return called


def _copying(call: Callable[..., Any]) -> Callable[..., Any]:
    def called(source: int, fd: int, *args: Any) -> Any:
        life = RUNNING.get()
        if life is not None:
            life.point("before copy_file_range")
            life.unsynced.add(os.fstat(fd).st_ino)
        return call(source, fd, *args)

    return called


def _fsync(fd: int) -> None:
    life = RUNNING.get()
    if life is not None:
        life.point("before fsync")
        life.unsynced.discard(os.fstat(fd).st_ino)


def _sync_filesystem(folder_fd: int) -> None:
    life = RUNNING.get()
    if life is not None:
        life.point("before syncfs")
        life.unsynced.clear()


def _transaction(original: Callable[[Database], Any]) -> Callable[[Database], Any]:
    @contextmanager
    def transaction(self: Database) -> Iterator[sqlite3.Connection]:
        life = RUNNING.get()
        if life is not None:
            life.point("before a transaction")
        with original(self) as db:
            yield db
            if life is not None:
                life.point("before a commit")
        if life is not None:
            life.point("after a commit")

    return transaction


def _durably(original: Callable[..., None]) -> Callable[..., None]:
    def durably(self: Database, *args: str | None) -> None:
        original(self, *args)
        life = RUNNING.get()
        if life is not None:
            life.durable = _files_of(self._path)[1].stat().st_size

    return durably


def lose_power(life: Life, home: Path, database: Path, chance: random.Random) -> Callable[[], None]:
    """What the disk loses. Call before the database is closed, and what this returns after that."""
    kept = {path: path.read_bytes() for path in _files_of(database) if path.exists()}
    unsynced = set(life.unsynced)

    def after() -> None:
        for path in _files_of(database):
            path.unlink(missing_ok=True)
        for path, data in kept.items():
            wal = path.name.endswith("-wal")
            kept_of_it = chance.randint(min(life.durable, len(data)), len(data)) if wal else len(data)
            path.write_bytes(data[:kept_of_it])
        for folder, _, names in os.walk(home):
            for name in names:
                written = f"{folder}/{name}"
                if os.lstat(written).st_ino in unsynced and name != "state.db":
                    os.truncate(written, 0)

    return after


def _files_of(database: Path) -> list[Path]:
    return [database, database.with_name(f"{database.name}-wal")]
