"""Where an old content can be had: in the vault, perhaps as a part of a newer one, or in the trash here."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.core.model import Slice
from claude_syncd.engine.fetch import Fetch, discard, fetch, verify
from claude_syncd.errors import LocalError, ObjectMissing, StoreError, SyncError
from claude_syncd.local.beneath import opened_folder, parts_of
from claude_syncd.local.reading import open_for_read, read_chunks
from claude_syncd.local.refusal import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from claude_syncd.core.model import Identity, Record
    from claude_syncd.engine.site import Site
    from claude_syncd.local.apply import Applier
    from claude_syncd.local.stage import Staged


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version to bring back; `rel`: where, below the folder that it goes to; `expected`: what is there now."""

    path: str
    rel: str
    record: Record
    expected: Identity | None = None


Got = tuple[Wanted, Fetch]


@asynccontextmanager
async def obtained(
    site: Site, applier: Applier, wanted: Sequence[Wanted], failed: dict[str, SyncError]
) -> AsyncIterator[list[Got]]:
    """Staged files with what was wanted, verified, for as long as the block lasts; `failed`: why others have none."""
    good: list[Got] = []
    try:
        left = await _from_vault(site, applier, wanted, good, failed)
        if left:
            await site.off_loop(_from_trash, site, applier, left, good)
        for one, _ in good:
            failed.pop(one.path, None)
        yield good
    finally:
        await site.off_loop(discard, [got for _, got in good])


async def _from_vault(
    site: Site, applier: Applier, wanted: Sequence[Wanted], good: list[Got], failed: dict[str, SyncError]
) -> list[Wanted]:
    """Try each place in the vault where a content might be, in turn. What is left."""
    places = await site.off_loop(lambda: {one.path: in_vault(site, one.record) for one in wanted})
    left = list(wanted)
    for one in left:
        failed[one.path] = ObjectMissing(f"the vault has this version of {one.rel} no more")
    for turn in range(max(map(len, places.values()), default=0)):
        trying = [one for one in left if turn < len(places[one.path])]
        slices = [places[one.path][turn] for one in trying]
        begun = await site.off_loop(_begin, applier, trying, slices, failed)
        good += await _tried(site, begun, failed)
        have = {one.path for one, _ in good}
        left = [one for one in left if one.path not in have]
    return left


def _begin(
    applier: Applier, trying: Sequence[Wanted], slices: Sequence[tuple[Slice, ...]], failed: dict[str, SyncError]
) -> list[Got]:
    begun = []
    for one, where, staged in zip(trying, slices, applier.stage_all([one.rel for one in trying]), strict=True):
        if isinstance(staged, SyncError):
            failed[one.path] = staged
        else:
            begun.append((one, Fetch(one.path, one.record, where, staged)))
    return begun


async def _tried(site: Site, begun: Sequence[Got], failed: dict[str, SyncError]) -> list[Got]:
    """Fetch and verify; those that are good. The others are discarded."""
    good: list[Got] = []
    try:
        try:
            await fetch(site, [got for _, got in begun])
        except StoreError as error:
            for _, got in begun:
                got.error = error
        await site.off_loop(_verify, begun)
        for one, got in begun:
            if got.error is None:
                good.append((one, got))
            else:
                failed[one.path] = got.error
    finally:
        kept = {one.path for one, _ in good}
        await site.off_loop(discard, [got for one, got in begun if one.path not in kept])
    return good


def _verify(begun: Sequence[Got]) -> None:
    for _, got in begun:
        verify(got)


def _from_trash(site: Site, applier: Applier, left: Sequence[Wanted], good: list[Got]) -> None:
    """What the vault does not give may lie in the trash of this device."""
    trash = TrashIndex(site)
    for one in left:
        spot = site.paths.spot(one.path)
        if spot is None or not trash.has(spot.rel):
            continue
        staged = applier.stage_all([one.rel])[0]
        if isinstance(staged, SyncError):
            continue
        got = Fetch(one.path, one.record, (), staged)
        if trash.copy(spot.rel, one.record, staged):
            verify(got)
            if got.error is None:
                good.append((one, got))
                continue
        staged.discard()


def in_vault(site: Site, record: Record) -> list[tuple[Slice, ...]]:
    """Slices that should add up to the record's content, the likeliest first; whoever uses them checks its hash."""
    found = []
    newest = [r for r in site.state.newest(record.path) if r.device == record.device]
    if any(r.seq == record.seq for r in newest):
        found.append(site.state.slices(record.path, record.device))
    else:
        found.append(site.state.superseded_slices(record))
    found += site.state.slices_of_content(record.sha256, record.size)
    # A file that only grew has its old content at its beginning, wherever its objects are by now.
    found += [_beginning(site.state.slices(r.path, r.device), record.size) for r in newest if r.size > record.size > 0]
    whole = [slices for slices in found if sum(s.length for s in slices) == record.size]
    return list(dict.fromkeys(whole))


def _beginning(slices: tuple[Slice, ...], size: int) -> tuple[Slice, ...]:
    cut = []
    for one in slices:
        if size <= 0:
            break
        cut.append(Slice(one.object, one.blob, one.start, min(one.length, size)))
        size -= one.length
    return tuple(cut)


class TrashIndex:
    """What lies in the trash of this device, by the path that it had. Synchronous."""

    def __init__(self, site: Site) -> None:
        self._root = site.places.trash
        self._kept: defaultdict[str, list[str]] = defaultdict(list)
        for folder, _, names in os.walk(self._root):
            below = Path(folder).relative_to(self._root).parts
            if len(below) < 2:
                continue  # <day>/<random>/<path>
            for name in names:
                self._kept["/".join([*below[2:], name])].append("/".join([*below, name]))

    def has(self, rel: str) -> bool:
        """Whether any file of that path lies there."""
        return rel in self._kept

    def copy(self, rel: str, record: Record, staged: Staged) -> bool:
        """Fill an empty staged file with exactly that content, if the trash has it. Raises LocalError."""
        for kept in self._kept.get(rel, ()):
            try:
                if self._is(kept, record):
                    staged.copy_prefix(kept, record.size, root=self._root)
                    return True
            except LocalError:
                continue  # gone, or unreadable: there may be another
        return False

    def delete(self, rel: str) -> None:
        """Delete all files of that path for good. Raises LocalError."""
        for kept in self._kept.pop(rel, ()):
            with refused("delete", self._root, kept), opened_folder(self._root, parts_of(kept)[:-1]) as folder_fd:
                os.unlink(parts_of(kept)[-1], dir_fd=folder_fd)

    def _is(self, kept: str, record: Record) -> bool:
        with open_for_read(self._root, kept) as file_fd:
            seen = os.fstat(file_fd)
            if not stat.S_ISREG(seen.st_mode) or seen.st_size != record.size:
                return False
            whole = hashlib.sha256()
            for data in read_chunks(file_fd, 0, record.size):
                whole.update(data)
        return whole.hexdigest() == record.sha256
