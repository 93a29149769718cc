"""Takes in what other devices made of files that have another form here than in the vault (core/projection.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.core.merge.history import pastes
from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.merge.settings import is_empty
from claude_syncd.core.model import Base, FileClass, Kind, base_of
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import Action
from claude_syncd.engine import pull as pulling
from claude_syncd.engine.compare import aside
from claude_syncd.engine.fetch import discard, fetch, verify
from claude_syncd.engine.keep import keep_local
from claude_syncd.engine.projected import (
    MOST,
    Version,
    bring,
    form_of,
    invalid,
    is_projected,
    locked,
    read_staged,
    read_whole,
)
from claude_syncd.errors import Changed, LocalError, ObjectMissing, VaultError
from claude_syncd.local.state import Tracked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.core.model import Identity, Record
    from claude_syncd.engine.fetch import Fetch
    from claude_syncd.engine.plan import Item
    from claude_syncd.engine.pull import Pulled
    from claude_syncd.engine.site import Site
    from claude_syncd.local.scan import Found

_PASTES = "paste-cache/"
_NOTHING = b"{}"  # settings of which nothing is shared any more


async def receive(site: Site, items: Sequence[Item]) -> Pulled:
    """Carry out DOWNLOAD and REMOVE items: the plain ones first, so that the pastes are there before the prompts that
    show them. What can't be done now is in `again`; raises StoreError.
    """
    plain = [i for i in items if not is_projected(i.spot)]
    done = await pulling.pull(site, plain)
    for item in items:
        if not is_projected(item.spot):
            continue
        problem = f"apply:{item.path}"
        fetches: list[Fetch] = []
        try:
            if item.outcome.action is Action.REMOVE:
                await site.off_loop(_remove, site, item)
                done.deleted += 1
                continue
            await site.off_loop(_begin, site, item, fetches)
            await fetch(site, fetches)
            await site.off_loop(_finish, site, item, fetches[0], done)
        except Changed:
            done.again.append(item.path)
        except (LocalError, VaultError, ObjectMissing) as error:
            done.again.append(item.path)
            site.problems[problem] = str(error)
        else:
            site.problems.pop(problem, None)
        finally:
            await site.off_loop(discard, fetches)
    return done


def put_off(items: Sequence[Item]) -> list[Item]:
    """The prompts to merge, while pastes come in that they may show: another pass does it."""
    if not any(i.outcome.action is Action.DOWNLOAD and i.spot.rel.startswith(_PASTES) for i in items):
        return []
    return [i for i in items if i.outcome.action is Action.COMPARE and i.spot.file_class is FileClass.HISTORY]


def _begin(site: Site, item: Item, fetches: list[Fetch]) -> None:
    winner = _winner(item)
    if winner.size > MOST:
        raise LocalError(f"{item.spot.rel} of another device is too large", hint="make it smaller there")
    fetches.append(aside(site, item.path, winner, site.state.slices(winner.path, winner.device)))


def _finish(site: Site, item: Item, one: Fetch, done: Pulled) -> None:
    winner = _winner(item)
    verify(one)
    if one.error is not None:
        raise one.error
    content = read_staged(site.folder(Root.CONFLICTS), one.staged, winner.size)
    if item.spot.file_class is FileClass.HISTORY:
        missing = {f"{_PASTES}{digest}.txt" for digest in pastes(content)}
        if any(path.partition("/")[2] in missing for path in done.again):
            done.waiting.append(item.path)
            return
    if item.outcome.keep_local:
        keep_local(site, item)
        done.conflicts += 1
    brought = bring(
        site, item.spot, item.found, Version(content, winner.mtime_ns, winner.mode, winner.device, winner.mtime_ns)
    )
    local_mode = winner.mode if brought.written or item.found is None else item.found.mode
    identity = brought.identity if brought.exact else None
    if not brought.written and item.observation is not None and item.observation.racy:
        identity = None
    base = base_of(winner, item.outcome.vector)
    slices = site.state.slices(winner.path, winner.device)
    _track(site, item, Tracked(base=base, identity=identity, local_mode=local_mode, slices=slices), brought.exact)
    done.downloaded += 1


def _remove(site: Site, item: Item) -> None:
    """Nothing of the file is shared any more: what is this device's own stays."""
    identity: Identity | None = None
    found = item.found
    if found is not None and item.spot.file_class is FileClass.HISTORY:
        with locked(site, item.spot):
            site.appliers[item.spot.root].remove(item.spot.rel, found.identity)
    elif found is not None and _nothing_stays(site, item, found):
        site.appliers[item.spot.root].remove(item.spot.rel, found.identity)
    elif found is not None:
        winner = _winner(item)
        version = Version(_NOTHING, site.now_ns(), found.mode, winner.device, winner.mtime_ns)
        identity = bring(site, item.spot, found, version).identity
    base = Base(kind=Kind.TOMBSTONE, vector=item.outcome.vector)
    _track(site, item, Tracked(base=base, identity=identity), finished=True)


def _nothing_stays(site: Site, item: Item, found: Found) -> bool:
    """Whether the file has nothing that is this device's own, nor anything that waits for its user."""
    own = form_of(site, item.spot).inward(_NOTHING, read_whole(site, item.spot, found.identity))
    if isinstance(own, Invalid):
        raise invalid(site, item.spot, own)
    return is_empty(own.disk) and not (own.memory is not None and own.memory.waiting)


def _track(site: Site, item: Item, tracked: Tracked, finished: bool) -> None:
    site.state.track([(item.path, tracked)], finished=finished)
    if not finished:
        site.state.add_todo([item.path])


def _winner(item: Item) -> Record:
    if item.outcome.winner is None:
        raise AssertionError("nothing comes in")
    return item.outcome.winner
