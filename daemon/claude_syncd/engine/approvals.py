"""Settings of other devices that wait for this user: list them, put them into the file here, or leave them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.instant import timestamp
from claude_syncd.core.merge.keys import Travel
from claude_syncd.core.projection import Inward, Memory
from claude_syncd.core.status import ApprovalInfo
from claude_syncd.engine.projected import Version, bring, form_of, read_whole, remember, remembered
from claude_syncd.errors import Changed, LocalError, UsageError
from claude_syncd.local.scan import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from claude_syncd.core.projection import Waiting
    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.site import Site

ID_LENGTH = 12
"""Hex digits of a change's digest by which it is called; more than one change with the same are all refused."""
_PATHS = ("tree/settings.json", "tree/settings.local.json")
_NOTHING = b"{}"


def count(site: Site) -> int:
    """How many changes wait for an answer."""
    return sum(waiting.digest not in memory.rejected for _, memory in _memories(site) for waiting in memory.waiting)


def listed(site: Site) -> list[ApprovalInfo]:
    """Every change that waits for an answer."""
    names = {p.device: p.name for p in site.state.positions().values()}
    return [
        ApprovalInfo(
            id=waiting.digest[:ID_LENGTH],
            path=spot.rel,
            setting=waiting.setting,
            old=waiting.old,
            new=waiting.new,
            device=names.get(waiting.device, waiting.device[:8]),
            time=timestamp(waiting.time_ns),
            dangerous=waiting.travel is Travel.DANGEROUS,
        )
        for spot, memory in _memories(site)
        for waiting in memory.waiting
        if waiting.digest not in memory.rejected
    ]


def answer(site: Site, ids: Sequence[str] | None, *, accept: bool) -> list[str]:
    """Put changes into the files here at once, or leave them out until they change: those of `ids` (or beginnings of
    them), or all that wait for an answer with None. The portable paths, one for each change.

    Not while a round is under way. Raises LocalError; UsageError, before anything is done, when an id is of none.
    """
    memories = list(_memories(site))
    chosen = _chosen(memories, ids)
    for spot, memory in memories:
        digests = frozenset(w.digest for w in memory.waiting if w.digest in chosen)
        if not digests:
            continue
        if accept:
            _apply(site, spot, digests)
        else:
            rejected = tuple(sorted({*memory.rejected, *digests}))
            remember(site, spot, msgspec.structs.replace(memory, rejected=rejected))
    return [f"tree/{spot.rel}" for spot, memory in memories for w in memory.waiting if w.digest in chosen]


def _memories(site: Site) -> Iterator[tuple[Spot, Memory]]:
    """What waits in which file, as it is now: this user may have changed the same settings since."""
    for path in _PATHS:
        spot = site.paths.spot(path)
        memory = remembered(site, spot) if spot is not None else None
        if spot is None or memory is None or not memory.waiting:
            continue
        try:
            disk = read_whole(site, spot)
            form = form_of(site, spot)
            own = form.outward(disk)
            now = form.inward(own if isinstance(own, bytes) else _NOTHING, disk)
        except LocalError:
            continue  # the file is gone, or can't be read: there is nothing to put anything into
        if isinstance(now, Inward) and now.memory is not None:
            yield spot, msgspec.structs.replace(memory, waiting=now.memory.waiting)


def _chosen(memories: Iterable[tuple[Spot, Memory]], ids: Sequence[str] | None) -> set[str]:
    if ids is None:
        return {w.digest for _, memory in memories for w in memory.waiting if w.digest not in memory.rejected}
    waiting: list[Waiting] = [w for _, memory in memories for w in memory.waiting]
    chosen = set()
    for one in ids:
        matches = {w.digest for w in waiting if one and w.digest.startswith(one)}
        if len(matches) != 1:
            what = "no change waits as" if not matches else "more than one change begins with"
            raise UsageError(f"{what} {one}", hint="it may have changed: see `claude-syncctl approve`")
        chosen |= matches
    return chosen


def _apply(site: Site, spot: Spot, digests: frozenset[str]) -> None:
    found = look(site.places.tree, spot.rel, site.follow)
    if found is None:
        raise Changed(f"{spot.rel} vanished meanwhile")
    own = form_of(site, spot).outward(read_whole(site, spot, found.identity))
    content = own if isinstance(own, bytes) else _NOTHING
    # The file's time is now: Claude Code looks at it to see that there is something new.
    brought = bring(site, spot, found, Version(content, site.now_ns(), found.mode, "", 0), digests)
    path = f"tree/{spot.rel}"
    tracked = site.state.tracked(path)
    if tracked is not None and tracked.identity == found.identity:
        site.state.track([(path, msgspec.structs.replace(tracked, identity=brought.identity))], finished=False)
