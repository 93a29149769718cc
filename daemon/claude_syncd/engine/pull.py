"""Pull: fetches the contents that a Plan wants here, verifies them, and puts them in place."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.core.model import Kind, base_of
from claude_syncd.core.reconcile import Action
from claude_syncd.core.status import Progress
from claude_syncd.engine.fetch import Fetch, discard, fetch, verify
from claude_syncd.engine.keep import keep_local
from claude_syncd.engine.parking import runs
from claude_syncd.engine.plan import identity_of
from claude_syncd.engine.projected import is_projected
from claude_syncd.errors import Changed, LocalError, SyncError
from claude_syncd.local.apply import Commit
from claude_syncd.local.live import live_sessions
from claude_syncd.local.state import Tracked
from claude_syncd.tasks import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.core.model import Identity, Record, Slice
    from claude_syncd.core.portable import Root
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.site import Site

FILES_PER_BATCH = 512
BYTES_PER_BATCH = 64 * 1024 * 1024


@dataclass(slots=True)
class Pulled:
    """What a pull did, and which paths it has to see again: `waiting` are those that wait for others of `again`."""

    downloaded: int = 0
    deleted: int = 0
    conflicts: int = 0
    again: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Files that come together: `started` are those of `items` that have a fetch, in the order of `fetches`."""

    items: list[Item]
    started: list[Item] = field(default_factory=list)
    fetches: list[Fetch] = field(default_factory=list)


async def adopt(site: Site, items: Iterable[Item]) -> None:
    """Move the bases of what needs no byte moved: ADOPT, EVICT, and files that were only touched."""
    await site.off_loop(_adopt, site, list(items))


def _adopt(site: Site, items: list[Item]) -> None:
    tracked = []
    live = live_sessions(site.places.tree)
    for item in items:
        outcome, winner = item.outcome, item.outcome.winner
        if outcome.action is Action.NOTHING:
            if item.tracked is not None and item.found is not None:
                touched = Tracked(
                    base=item.tracked.base,
                    identity=identity_of(item),
                    local_mode=item.found.mode,
                    slices=item.tracked.slices,
                )
                tracked.append((item.path, touched))
            continue
        if winner is not None:
            identity = identity_of(item) if runs(item.spot, live) else _with_newer_time(site, item, winner)
            evicted = winner.kind is Kind.FILE and item.found is None
            tracked.append((item.path, _tracked(item, winner, identity, _where(site, winner), evicted=evicted)))
    site.state.track(tracked)


def _with_newer_time(site: Site, item: Item, winner: Record) -> Identity | None:
    """The identity of a file whose content is the winner's, after it got the winner's time if that is the newer one,
    so that sessions are in one order everywhere. None never gets older: Claude Code deletes old ones.
    """
    identity = identity_of(item)  # None: it is to be read once more
    if item.found is None or item.torn or winner.kind is not Kind.FILE or is_projected(item.spot):
        return identity
    seen = item.observation.identity if item.observation is not None else item.found.identity
    if seen.mtime_ns >= winner.mtime_ns or item.found.mode & 0o600 != 0o600:
        return identity
    try:
        timed = site.appliers[item.spot.root].set_meta(
            item.spot.rel, seen, mtime_ns=winner.mtime_ns, mode=item.found.mode
        )
    except LocalError:
        return identity  # it changed just now, and is looked at again; or it can't be done, and is only a time
    return timed if identity is not None else None


def _where(site: Site, winner: Record) -> tuple[Slice, ...]:
    return site.state.slices(winner.path, winner.device) if winner.kind is Kind.FILE else ()


def _tracked(
    item: Item,
    winner: Record,
    identity: Identity | None,
    slices: tuple[Slice, ...],
    *,
    local_mode: int | None = None,
    evicted: bool = False,
) -> Tracked:
    base = base_of(winner, item.outcome.vector, evicted=evicted)
    if local_mode is None:
        local_mode = item.found.mode if item.found is not None else 0
    return Tracked(base=base, identity=identity, local_mode=local_mode, slices=slices)


async def pull(site: Site, items: Sequence[Item]) -> Pulled:
    """Carry out the DOWNLOAD and REMOVE items. What can't be done now is in `again`; raises StoreError."""
    done = Pulled()
    keeping = [i for i in items if i.outcome.keep_local]
    if keeping:
        await site.off_loop(_keep_local, site, keeping, done)
    failed = set(done.again)
    removals = [i for i in items if i.outcome.action is Action.REMOVE and i.path not in failed]
    if removals:
        await site.off_loop(_remove, site, removals, done)
    downloads = sorted(
        (i for i in items if i.outcome.action is Action.DOWNLOAD and i.path not in failed), key=lambda i: i.path
    )
    await _download(site, downloads, done)
    return done


async def _download(site: Site, items: list[Item], done: Pulled) -> None:
    """While one batch is fetched the next one is begun, and the one before it is brought to the disk."""
    total = sum(_winner(i).size for i in items)
    begun: asyncio.Queue[_Batch | None] = asyncio.Queue(maxsize=1)
    fetched: asyncio.Queue[_Batch | None] = asyncio.Queue(maxsize=1)
    under_way: list[_Batch] = []

    async def begin() -> None:
        for chosen in _batches(items):
            batch = _Batch(chosen)
            under_way.append(batch)
            await site.off_loop(_start, site, batch, done)
            await begun.put(batch)
        await begun.put(None)

    async def receive() -> None:
        while (batch := await begun.get()) is not None:
            await fetch(site, batch.fetches)
            await fetched.put(batch)
        await fetched.put(None)

    async def finish() -> None:
        finished = finished_bytes = 0
        while (batch := await fetched.get()) is not None:
            await site.off_loop(_finish, site, batch, done)
            under_way.remove(batch)
            finished += len(batch.items)
            finished_bytes += sum(_winner(i).size for i in batch.items)
            site.progress(
                Progress(
                    phase="download", done=finished, total=len(items), bytes_done=finished_bytes, bytes_total=total
                )
            )

    try:
        with site.reader.keeping_a_pack():
            await together(begin(), receive(), finish())
    finally:
        for batch in under_way:
            discard(batch.fetches)  # a cut-off pull leaves no temporary files; there is nobody left to wait for


def _winner(item: Item) -> Record:
    winner = item.outcome.winner
    if winner is None:
        raise AssertionError("a download without a winner")
    return winner


def _batches(items: Iterable[Item]) -> Iterable[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= FILES_PER_BATCH or size + _winner(item).size > BYTES_PER_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += _winner(item).size
    if batch:
        yield batch


def _start(site: Site, batch: _Batch, done: Pulled) -> None:
    wanted: dict[Root, list[Item]] = defaultdict(list)
    for item in batch.items:
        if item.found is not None and item.local is not None and item.local.sha256 == _winner(item).sha256:
            _set_meta(site, item, done)
        else:
            wanted[item.spot.root].append(item)
    slices = site.state.slices_of_many([_winner(i) for chosen in wanted.values() for i in chosen])
    for root, chosen in wanted.items():
        for item, staged in zip(chosen, site.appliers[root].stage_all([i.spot.rel for i in chosen]), strict=True):
            if isinstance(staged, SyncError):
                _failed(site, item.path, staged, done)
                continue
            winner = _winner(item)
            one = Fetch(item.path, winner, slices[winner.path, winner.device], staged)
            batch.fetches.append(one)
            batch.started.append(item)
            one.have, one.assumed = _common(item, one.slices), _assumed(item, winner)
            if one.have or one.assumed:
                try:
                    staged.copy_prefix(item.spot.rel, max(one.have, one.assumed))
                except LocalError as error:
                    one.error = error


def _common(item: Item, slices: tuple[Slice, ...]) -> int:
    """How many bytes of the wanted content the local file holds already: it is still equal to the base, and the
    base begins with the same slices.
    """
    if item.tracked is None or not _is_base(item):
        return 0
    have = 0
    for ours, theirs in zip(item.tracked.slices, slices, strict=False):
        if ours != theirs:
            break
        have += ours.length
    return have


def _assumed(item: Item, winner: Record) -> int:
    """How many bytes of the wanted content the local file holds most likely, wherever they lie in the vault: it is
    still equal to the base, and what is made of lines grows. A checkpoint puts the same bytes into other slices, and
    so does another device that goes on with a session.
    """
    if item.tracked is None or not _is_base(item) or not item.lines:
        return 0
    size = item.tracked.base.size
    return size if size < winner.size else 0


def _is_base(item: Item) -> bool:
    """Whether the local file begins with the bytes of the base, which is a file."""
    if item.tracked is None or item.found is None or item.local is None or item.fresh or is_projected(item.spot):
        return False
    return item.tracked.base.kind is Kind.FILE and item.local.sha256 == item.tracked.base.sha256


def _finish(site: Site, batch: _Batch, done: Pulled) -> None:
    for one in batch.fetches:
        verify(one)
    live = live_sessions(site.places.tree)  # one may have been begun since the plan was made
    ready: dict[Root, list[tuple[Item, Fetch]]] = defaultdict(list)
    for item, one in zip(batch.started, batch.fetches, strict=True):
        if one.error is not None:
            _failed(site, item.path, one.error, done)
        elif runs(item.spot, live):
            done.again.append(item.path)
        else:
            ready[item.spot.root].append((item, one))
    for root, pairs in ready.items():
        commits = [
            Commit(
                staged=one.staged,
                mtime_ns=one.record.mtime_ns,
                mode=one.record.mode,
                expected=item.found.identity if item.found is not None else None,
            )
            for item, one in pairs
        ]
        tracked = []
        for (item, one), result in zip(pairs, site.appliers[root].commit(commits), strict=True):
            if isinstance(result, SyncError):
                _failed(site, item.path, result, done)
                continue
            tracked.append((item.path, _tracked(item, one.record, result, one.slices, local_mode=one.record.mode)))
            site.problems.pop(f"apply:{item.path}", None)
            done.downloaded += 1
        site.state.track(tracked)
    discard(batch.fetches)


def _set_meta(site: Site, item: Item, done: Pulled) -> None:
    """The bytes are right already; only mode and time are not."""
    winner, found = _winner(item), item.found
    if found is None:
        raise AssertionError("nothing to set")
    try:
        identity = site.appliers[item.spot.root].set_meta(
            item.spot.rel, found.identity, mtime_ns=winner.mtime_ns, mode=winner.mode
        )
    except LocalError as error:
        _failed(site, item.path, error, done)
        return
    site.state.track([(item.path, _tracked(item, winner, identity, _where(site, winner), local_mode=winner.mode))])
    done.downloaded += 1


def _remove(site: Site, items: list[Item], done: Pulled) -> None:
    for item in items:
        try:
            if item.found is not None:
                site.appliers[item.spot.root].remove(item.spot.rel, item.found.identity)
        except LocalError as error:
            _failed(site, item.path, error, done)
            continue
        site.state.track([(item.path, _tracked(item, _winner(item), None, _where(site, _winner(item))))])
        done.deleted += 1


def _keep_local(site: Site, items: list[Item], done: Pulled) -> None:
    """Copy local files that are about to be replaced to where the kept sides of conflicts lie."""
    for item in items:
        try:
            keep_local(site, item)
            done.conflicts += 1
        except SyncError as error:
            _failed(site, item.path, error, done)


def _failed(site: Site, path: str, error: SyncError, done: Pulled) -> None:
    done.again.append(path)
    if not isinstance(error, Changed):
        site.problems[f"apply:{path}"] = str(error)
