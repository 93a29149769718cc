"""Brings versions back: to their place in the tree, as a change made here and now, or to a folder elsewhere.

What is replaced goes to the trash. A file in its place gets the time of now, so that Claude Code's cleanup does not
take an old session away again; a copy elsewhere gets the time that it had.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.core.model import FileClass, Kind, base_of, heads
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import sides, winning
from claude_syncd.core.versions import Version as Known
from claude_syncd.core.versions import as_of
from claude_syncd.engine import versions
from claude_syncd.engine.parking import is_live
from claude_syncd.engine.plan import lookers_of
from claude_syncd.engine.projected import Version, bring, content_of, is_projected, read_staged
from claude_syncd.engine.sources import Wanted, obtained
from claude_syncd.errors import Changed, SyncError, UsageError
from claude_syncd.local.apply import Applier, Commit
from claude_syncd.local.state import Tracked
from claude_syncd.local.trash import Trash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from claude_syncd.core.model import Record
    from claude_syncd.engine.fetch import Fetch
    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.site import Site
    from claude_syncd.local.scan import Found

_FILES_AT_ONCE = 256
_BYTES_AT_ONCE = 64 * 1024 * 1024


@dataclass(slots=True)
class Restored:
    """What a restore did: `files` that were written, `unchanged` ones that were there already, and what `failed`."""

    files: list[str] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    unchanged: int = 0
    failed: dict[str, SyncError] = field(default_factory=dict)


def in_place(
    site: Site, paths: Sequence[str], version: str | None = None, at_ns: int | None = None
) -> tuple[list[Wanted], int]:
    """What to write so that `paths` have the version asked for, and how many have it already. Synchronous.

    Of one path: by number or id, as of a time, or its newest content. Of several: as of a time, or the newest content
    of those that are missing here; what was not there at that time is left alone. Raises UsageError.
    """
    single = len(paths) == 1
    wanted: list[Wanted] = []
    unchanged = 0
    for path in paths:
        spot = site.paths.spot(path)
        if spot is None or spot.root is Root.CONFLICTS:
            if single:
                raise UsageError(f"{path} has no place on this device", hint="bring it elsewhere with `--to FILE`")
            continue
        found = lookers_of(site)[Root.TREE].look(spot.rel)
        if not single and at_ns is None and found is not None:
            continue
        chosen = versions.chosen(site, path, version, at_ns) if single else _then(site, path, at_ns)
        if chosen is None:
            continue
        record = chosen.record
        if found is not None and _has(site, path, spot, found, record):
            unchanged += 1
            site.state.want_again([path])
            continue
        if is_live(site, path, spot):
            raise UsageError(
                f"the session {spot.rel} runs, or did a moment ago: its file is not replaced",
                hint="end it first, or bring the version elsewhere with `--to FILE`",
            )
        wanted.append(Wanted(path, spot.rel, record, found.identity if found is not None else None))
        if single:
            wanted += _side_files(site, path, spot, at_ns)
    return wanted, unchanged


def _then(site: Site, path: str, at_ns: int | None) -> Known | None:
    known = versions.history(site, path)
    if at_ns is None:
        return next((v for v in reversed(known) if v.record.kind is Kind.FILE), None)
    then = as_of(known, at_ns)
    return then if then is not None and then.record.kind is Kind.FILE else None


def _side_files(site: Site, path: str, spot: Spot, at_ns: int | None) -> list[Wanted]:
    """The files of a session's own folder that are missing here: they were evicted together."""
    if spot.file_class is not FileClass.TRANSCRIPT or spot.rel.count("/") != 2:
        return []
    missing = []
    for side in site.state.paths(f"{path.removesuffix('.jsonl')}/"):
        place, chosen = site.paths.spot(side), _then(site, side, at_ns)
        if place is not None and chosen is not None and lookers_of(site)[Root.TREE].look(place.rel) is None:
            missing.append(Wanted(side, place.rel, chosen.record))
    return missing


def _has(site: Site, path: str, spot: Spot, found: Found, record: Record) -> bool:
    """Whether the file has that content and mode already."""
    tracked = site.state.tracked(path)
    if tracked is not None and tracked.identity == found.identity and tracked.base.kind is Kind.FILE:
        return (tracked.base.sha256, tracked.base.mode) == (record.sha256, record.mode)
    if is_projected(spot):
        stands_for = content_of(site, spot).observe(spot.rel, now_ns=site.now_ns())
        return stands_for is not None and stands_for.local.sha256 == record.sha256
    if found.identity.size != record.size or found.mode != record.mode:
        return False
    seen = site.contents[spot.root].observe(spot.rel, now_ns=site.now_ns())
    return seen.local.sha256 == record.sha256


def elsewhere(
    site: Site, paths: Sequence[str], to: Path, version: str | None = None, at_ns: int | None = None
) -> tuple[Path, list[Wanted]]:
    """The folder to write to, and what: one file as `to`, or several below the new or empty folder `to`, as they lie
    below the tree. Synchronous. Raises UsageError.
    """
    place = to.parent.resolve() / to.name
    for taken in (site.places.tree, site.places.state):
        if place.is_relative_to(taken.resolve()):
            raise UsageError(f"{to} is in {taken}, which is no place for copies", hint="choose another folder")
    if len(paths) == 1:
        if place.is_dir():
            place /= paths[0].rpartition("/")[2]
        if place.exists() or place.is_symlink():
            raise UsageError(f"{place} is there already", hint="choose another name, or move it away")
        record = versions.chosen(site, paths[0], version, at_ns).record
        return place.parent, [Wanted(paths[0], place.name, record)]
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} is not empty", hint="name a new folder")
    wanted = []
    for path in paths:
        chosen, spot = _then(site, path, at_ns), site.paths.spot(path)
        if chosen is not None and path.startswith("tree/"):
            wanted.append(Wanted(path, spot.rel if spot is not None else path.removeprefix("tree/"), chosen.record))
    if not wanted:
        raise UsageError("there was nothing in the vault at that time", hint="see `claude-syncctl log PATH`")
    return place, wanted


async def write_in_place(
    site: Site, wanted: Sequence[Wanted], between_rounds: Callable[[], AbstractAsyncContextManager[None]]
) -> Restored:
    """Put versions into the tree; the paths that were written need a round. `between_rounds` is entered for as long as
    files and bases are written.
    """
    done = Restored()

    def commit(one: Wanted, got: Fetch) -> Commit:
        return Commit(staged=got.staged, mtime_ns=site.now_ns(), mode=one.record.mode, expected=one.expected)

    applier = site.appliers[Root.TREE]
    await site.off_loop(site.state.want_again, [one.path for one in wanted])
    for batch in _batches(wanted):
        async with obtained(site, applier, batch, done.failed) as got, between_rounds():
            plain = [(one, fetched) for one, fetched in got if not _of_two_forms(site, one)]
            await site.off_loop(_commit, site, applier, plain, commit, done)
            await site.off_loop(_bring, site, [pair for pair in got if pair not in plain], done)
            await site.off_loop(_supersede, site, [one.path for one, _ in got if one.path in done.paths])
    return done


async def write_elsewhere(site: Site, folder: Path, wanted: Sequence[Wanted]) -> Restored:
    """Put versions below `folder`, which is made if its parent is there. Raises UsageError."""
    done = Restored()
    await site.off_loop(_make, folder)
    applier = Applier(folder, Trash(site.places.trash))

    def commit(one: Wanted, got: Fetch) -> Commit:
        return Commit(staged=got.staged, mtime_ns=one.record.mtime_ns, mode=one.record.mode, expected=None)

    for batch in _batches(wanted):
        async with obtained(site, applier, batch, done.failed) as got:
            await site.off_loop(_commit, site, applier, got, commit, done)
    return done


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't make {folder}: {error.strerror}", hint="name a folder whose parent exists") from error


def _batches(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    batch: list[Wanted] = []
    size = 0
    for one in sorted(wanted, key=lambda w: w.rel):
        if batch and (len(batch) >= _FILES_AT_ONCE or size + one.record.size > _BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.record.size
    if batch:
        yield batch


def _commit(
    site: Site,
    applier: Applier,
    got: Sequence[tuple[Wanted, Fetch]],
    commit: Callable[[Wanted, Fetch], Commit],
    done: Restored,
) -> None:
    commits = [commit(one, fetched) for one, fetched in got]
    for (one, _), result in zip(got, applier.commit(commits), strict=True):
        if isinstance(result, SyncError):
            done.failed[one.path] = result
        else:
            done.files.append(one.rel)
            done.paths.add(one.path)
            site.problems.pop(f"apply:{one.path}", None)


def _of_two_forms(site: Site, one: Wanted) -> bool:
    spot = site.paths.spot(one.path)
    return spot is not None and is_projected(spot)


def _bring(site: Site, got: Sequence[tuple[Wanted, Fetch]], done: Restored) -> None:
    """Settings and prompts: what is this device's own stays, and what runs code waits as if it had just come in."""
    for one, fetched in got:
        spot = site.paths.spot(one.path)
        if spot is None:
            continue
        try:
            found = lookers_of(site)[spot.root].look(spot.rel)
            if (found.identity if found is not None else None) != one.expected:
                raise Changed(f"{one.rel} changed meanwhile", hint="try again")
            content = read_staged(site.folder(spot.root), fetched.staged, one.record.size)
            by = one.record
            bring(site, spot, found, Version(content, site.now_ns(), by.mode, by.device, by.mtime_ns))
        except SyncError as error:
            done.failed[one.path] = error
            continue
        done.files.append(one.rel)
        done.paths.add(one.path)


def _supersede(site: Site, paths: Sequence[str]) -> None:
    """What was evicted here is known to whoever restores a version of it: the restored one comes after it."""
    tracked = []
    for path, known in site.state.known(paths).items():
        winner = winning(sides(heads(known.newest)), FileClass.OTHER)
        if known.tracked is None or not known.tracked.base.evicted or winner is None or winner.kind is not Kind.FILE:
            continue
        base = base_of(winner, winner.vector)
        tracked.append((path, Tracked(base=base, slices=known.tracked.slices)))
    site.state.track(tracked, finished=False)
