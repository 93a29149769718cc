"""Fetches contents: from the vault's objects into staged files, verified."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.engine.checkpoints import refresh
from claude_syncd.errors import IntegrityError, LocalError, ObjectMissing, SyncError, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.core.model import Record, Slice
    from claude_syncd.engine.site import Site
    from claude_syncd.local.stage import Staged


@dataclass(slots=True)
class Fetch:
    """One content on its way in: `staged` is filled from `slices`; the first `have` bytes are there already.

    `assumed`: so many bytes are there already that are most likely the right ones. They are not fetched as long as the
    whole has the hash that its record names.
    """

    path: str
    record: Record
    slices: tuple[Slice, ...]
    staged: Staged
    have: int = 0
    assumed: int = 0
    error: SyncError | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_Place = tuple[Fetch, "Slice", int]  # whose bytes, which part of a blob, where in the file


async def fetch(site: Site, fetches: Sequence[Fetch]) -> None:
    """Fill the staged files from the vault. An object that can't be read or trusted spoils those that need it.

    Where objects are missing their device may have compacted its area since: then its newest checkpoint says where
    the same contents are now.
    """
    await _complete(site, fetches)
    missing = [one for one in fetches if isinstance(one.error, ObjectMissing)]
    for device in {one.record.device for one in missing if one.record.device}:
        try:
            await refresh(site, device)
        except (VaultError, ObjectMissing) as error:
            site.problems[f"log:{device}"] = str(error)
    await _complete(site, await site.off_loop(_found_again, site, missing))


def _found_again(site: Site, fetches: Iterable[Fetch]) -> list[Fetch]:
    """Those whose contents are elsewhere in the vault by now, with their new places."""
    found = []
    for one in fetches:
        slices = site.state.slices_of(one.record)
        if slices and slices != one.slices:
            one.slices, one.error = slices, None
            found.append(one)
    return found


async def _complete(site: Site, fetches: Sequence[Fetch]) -> None:
    await _fill(site, fetches)
    if any(one.assumed for one in fetches):
        await _fill(site, await site.off_loop(_mistaken, fetches))


def _mistaken(fetches: Iterable[Fetch]) -> list[Fetch]:
    """Those that do not begin as was assumed: from now on they wait for all of their bytes."""
    mistaken = [one for one in fetches if one.assumed and one.error is None and _is_wrong(one)]
    for one in mistaken:
        one.assumed = 0
        one.staged.write_again()
    return mistaken


async def _fill(site: Site, fetches: Sequence[Fetch]) -> None:
    places: dict[tuple[str, int], list[_Place]] = defaultdict(list)
    wants: dict[str, set[int]] = defaultdict(set)
    for one in fetches:
        offset = 0
        for part in one.slices:
            if offset + part.length > max(one.have, one.assumed):
                places[part.object, part.blob].append((one, part, offset))
                wants[part.object].add(part.blob)
            offset += part.length

    def take(name: str, blob: int, plain: bytes) -> None:
        _write(places.pop((name, blob)), plain)

    try:
        await site.reader.blobs(wants, take)
    except (VaultError, ObjectMissing):
        # One object is bad: ask for each by itself, so that only those files suffer that need it.
        for name in wants:
            left = [blob for other, blob in places if other == name]
            try:
                await site.reader.blobs({name: left}, take)
            except (VaultError, ObjectMissing) as error:
                for blob in left:
                    for one, _, _ in places.pop((name, blob), ()):
                        one.error = error


def _write(places: list[_Place], plain: bytes) -> None:
    for one, part, offset in places:
        data = plain[part.start : part.start + part.length]
        with one.lock:
            if one.error is not None:
                continue
            if len(data) != part.length:
                one.error = IntegrityError(f"a record of {one.path} names bytes that are not in its blob")
                continue
            try:
                one.staged.write_at(offset, data)
            except LocalError as error:
                one.error = error


def verify(one: Fetch) -> None:
    """Set `error` unless the staged file has the content that its record names."""
    if one.error is None and _is_wrong(one):
        one.error = IntegrityError(f"the content of {one.path} does not have the hash that its record names")


def _is_wrong(one: Fetch) -> bool:
    """Whether the staged file has another content than its record names; an `error` where it can't be read."""
    try:
        return one.staged.sha256() != one.record.sha256
    except LocalError as error:
        one.error = error
        return False


def discard(fetches: Iterable[Fetch]) -> None:
    """Remove the staged files that have not taken their place."""
    for one in fetches:
        one.staged.discard()
