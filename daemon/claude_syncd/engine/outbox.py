"""Log entries on their way: sealed and on disk before they leave, so that a crash never changes what a name holds."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from claude_syncd.engine.publish import publish
from claude_syncd.errors import AlreadyExists, LocalError, SyncError
from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.core.model import LogEntry
    from claude_syncd.engine.site import Site


class TwinError(SyncError):
    """Other bytes stand under the name of this device's next log entry: its id lives twice."""


class Outbox:
    """At most one sealed log entry at a time, named by its seq."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, seq: int, data: bytes) -> None:
        """Keep the bytes durably before they are sent. Raises LocalError."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = self._folder / f"{seq:012d}.tmp"
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self._folder / f"{seq:012d}")
            self._sync_folder()
        except OSError as error:
            raise LocalError(f"can't write to {self._folder}: {error.strerror}") from error

    def waiting(self) -> list[tuple[int, bytes]]:
        """What was sealed and not acknowledged, in order."""
        try:
            names = sorted(p for p in self._folder.iterdir() if p.name.isdigit())
            return [(int(p.name), p.read_bytes()) for p in names]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LocalError(f"can't read {self._folder}: {error.strerror}") from error

    def drop(self, seq: int) -> None:
        """Forget an entry that is acknowledged."""
        (self._folder / f"{seq:012d}").unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def send_left(site: Site, outbox: Outbox) -> list[str]:
    """`send` what an earlier push has left in the outbox. An entry that is not up and names packs that are gone is
    dropped, its files are published anew: a copy of this device that runs elsewhere deletes what nothing names.
    """
    position = (await site.off_loop(site.state.positions)).get(site.me)
    for seq, data in await site.off_loop(outbox.waiting):
        if position is not None and seq <= position.seq:
            continue
        opened = await site.off_loop(codec.open_log, site.keys, layout.log_name(site.me, seq), data)
        named = {one.object for published in opened.entry.records for one in published.slices}
        packs = {name for name in named if layout.parse(name).type is layout.Type.PACK}
        if not packs:
            continue
        area = await site.reader.area(site.me)
        if seq > area.reaches and not packs <= area.packs.keys():
            await site.off_loop(outbox.drop, seq)
    return await send(site, outbox)


async def send(site: Site, outbox: Outbox) -> list[str]:
    """Put what waits in the outbox and integrate it. Returns the paths of its records.

    Idempotent: the same bytes go to the same name. Raises TwinError when other bytes are there already.
    """
    paths: list[str] = []
    for seq, data in await site.off_loop(outbox.waiting):
        position = (await site.off_loop(site.state.positions)).get(site.me)
        if position is not None and seq <= position.seq:
            await site.off_loop(outbox.drop, seq)
            continue
        await _put(site, seq, data)
        opened = await site.off_loop(codec.open_log, site.keys, layout.log_name(site.me, seq), data)
        paths += await site.off_loop(site.state.integrate, opened.entry, opened.sha256)
        await site.off_loop(outbox.drop, seq)
    return paths


async def send_new(site: Site, outbox: Outbox, entry: LogEntry, data: bytes) -> None:
    """Publish the next log entry, `data` its sealed bytes, and integrate it; nothing else waits in the outbox. Raises
    TwinError, StoreError.
    """
    await site.off_loop(outbox.put, entry.seq, data)
    await _put(site, entry.seq, data)
    await site.off_loop(site.state.integrate, entry, sha256(data).hexdigest())
    await site.off_loop(outbox.drop, entry.seq)


async def _put(site: Site, seq: int, data: bytes) -> None:
    try:
        await publish(site.store, layout.log_name(site.me, seq), data)
    except AlreadyExists as error:
        raise TwinError(
            f"log entry {seq} of this device was written by somebody else: its id lives twice",
            hint="this device takes a new id by itself; was its disk or state folder cloned?",
        ) from error
