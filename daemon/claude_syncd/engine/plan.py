"""From dirty paths to a Plan: looks at the disk, the base and the heads, and lets `reconcile` decide."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.model import Kind, Local, heads
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import Action, Outcome, Relation, ancestor, meanwhile, reconcile
from claude_syncd.core.status import Change, DiffLine
from claude_syncd.engine.parking import Live, liveness, warning
from claude_syncd.engine.projected import content_of, forget, is_projected
from claude_syncd.errors import Changed, LocalError
from claude_syncd.local.content import Mark
from claude_syncd.local.scan import Looker
from claude_syncd.local.state import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from claude_syncd.core.model import Base, Identity, Record, Vector
    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.site import Site
    from claude_syncd.local.content import Observation
    from claude_syncd.local.scan import Found
    from claude_syncd.local.state import Tracked

SETTLED_NS = 60 * 1_000_000_000
"""A JSONL file at rest for so long is taken with its torn last line."""

_REPLACING = frozenset({Action.DOWNLOAD, Action.REMOVE, Action.COMPARE})


@dataclass(frozen=True, slots=True)
class Item:
    """What to do about one path, and what was seen of it.

    `observation` is None where the content needed no reading: nothing changed, or it is `fresh` and is all to be
    uploaded anyhow; then `local.sha256` is "".
    `torn`: the file ends in an unfinished line that is not part of the content.
    `forgotten`: the user said that it is to be deleted for good.
    `own`: the vector of this device's newest record of the path, which whatever it publishes there joins.
    """

    path: str
    spot: Spot
    outcome: Outcome
    found: Found | None
    local: Local | None
    tracked: Tracked | None
    observation: Observation | None = None
    torn: bool = False
    relation: Relation = Relation.UNKNOWN
    own: Vector = field(default_factory=dict)
    forgotten: bool = False

    @property
    def fresh(self) -> bool:
        """Whether the content is not known yet: it is hashed as it is uploaded."""
        return self.local is not None and not self.local.sha256

    @property
    def lines(self) -> bool:
        """Whether only complete lines of the file count."""
        return self.spot.rel.endswith(".jsonl")


@dataclass(slots=True)
class Plan:
    """What a round does. `settled`: nothing to do. `again`: to be looked at by the next one. `changed`: while it was
    looked at.

    `parked`: incoming, but the file's session is live here; its own content may be among `items` all the same.
    `rest_ns`: when the first of the parked ones counts as at rest, as far as that is known.
    """

    items: list[Item] = field(default_factory=list)
    parked: list[Item] = field(default_factory=list)
    rest_ns: int | None = None
    settled: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def of(self, *actions: Action) -> list[Item]:
        """The items with one of these actions."""
        return [i for i in self.items if i.outcome.action in actions]

    def extend(self, other: Plan) -> None:
        """Add the plan for other paths."""
        self.items += other.items
        self.parked += other.parked
        self.settled += other.settled
        self.again += other.again
        self.changed += other.changed
        self.rest_ns = earlier(self.rest_ns, other.rest_ns)


def earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two times that may not be known."""
    return other if one is None else one if other is None else min(one, other)


def decide(site: Site, paths: Iterable[str], running: Mapping[str, int]) -> Plan:
    """Plan for `paths`. Synchronous: run it off the loop, in portions. `running`: see `live_sessions`."""
    plan = Plan()
    lookers = lookers_of(site)
    paths = list(paths)
    known = site.state.known(paths)
    for path in paths:
        spot = site.paths.spot(path)
        if spot is None:
            plan.settled.append(path)  # out of scope or not allowed here: not touched, on either side
            continue
        try:
            versions = known.get(path, Known())
            item = _decided(site, path, spot, Relation.UNKNOWN, lookers[spot.root], versions)
            live = _liveness(site, item, versions, running)
        except Changed:
            plan.changed.append(path)
            continue
        except LocalError as error:
            site.problems[f"read:{path}"] = str(error)
            plan.again.append(path)
            continue
        site.problems.pop(f"read:{path}", None)
        _warn(site, item, versions, live)
        outcome = item.outcome
        if outcome.action is Action.NOTHING and outcome.withdraw is None:
            plan.settled.append(path)
            if item.torn:
                plan.again.append(path)
            elif item.found is not None and item.tracked is not None and item.found.identity != item.tracked.identity:
                plan.items.append(item)  # touched, with the same content: note its identity
        elif live is not None and outcome.action in _REPLACING:
            _park(site, plan, item, versions, live)
        else:
            plan.items.append(item)
    return plan


def _liveness(site: Site, item: Item, versions: Known, running: Mapping[str, int]) -> Live | None:
    """The live session here, where the file is to be replaced or another device has a version of it, too."""
    replaces = item.outcome.action in _REPLACING
    if not replaces and all(record.device == site.me for record in versions.newest):
        return None
    live = liveness(site, item.spot, item.found, versions, running)
    if live is None and replaces and item.torn and item.found is not None:
        return Live(item.found.identity.mtime_ns + SETTLED_NS)
    return live


def _warn(site: Site, item: Item, versions: Known, live: Live | None) -> None:
    """Tell at once of a session that is live here while another device goes on with it."""
    told = warning(site, item.spot, item.local, heads(versions.newest)) if live is not None else None
    if told is None:
        site.problems.pop(f"live:{item.path}", None)
    else:
        site.problems[f"live:{item.path}"] = told


def _park(site: Site, plan: Plan, item: Item, versions: Known, live: Live) -> None:
    """Leave the file as it is, and publish what goes on in it: others see at once that it has two sides."""
    plan.parked.append(item)
    plan.rest_ns = earlier(plan.rest_ns, live.until_ns)
    base = item.tracked.base if item.tracked is not None else None
    own = meanwhile(me=site.me, base=base, local=item.local, current=heads(versions.newest))
    if own is not None:
        plan.items.append(replace(item, outcome=own))


def lookers_of(site: Site) -> dict[Root, Looker]:
    """What looks at single files on this device."""
    return {Root.TREE: Looker(site.places.tree, site.follow), Root.CONFLICTS: Looker(site.places.conflicts)}


def decide_one(site: Site, path: str, spot: Spot, relation: Relation) -> Item:
    """Plan for one path by itself. Raises Changed, LocalError."""
    known = site.state.known([path]).get(path, Known())
    return _decided(site, path, spot, relation, lookers_of(site)[spot.root], known)


def _decided(site: Site, path: str, spot: Spot, relation: Relation, looker: Looker, versions: Known) -> Item:
    tracked, newest = versions.tracked, versions.newest
    base = tracked.base if tracked is not None else None
    known = heads(newest)
    found = looker.look(spot.rel)
    local, observation, torn = _observe(site, spot, tracked, known, found)
    if tracked is None and local is not None and local.sha256:
        base = ancestor(local, newest)
    outcome = reconcile(
        me=site.me,
        file_class=spot.file_class,
        base=base,
        local=local,
        current=known,
        former=site.former,
        relation=relation,
        forgotten=versions.forgotten,
    )
    return Item(
        path=path,
        spot=spot,
        outcome=outcome,
        found=found,
        local=local,
        tracked=tracked,
        observation=observation,
        torn=torn,
        relation=relation,
        own=next((r.vector for r in newest if r.device == site.me), {}),
        forgotten=versions.forgotten is not None and outcome.action is Action.DELETE,
    )


def _observe(
    site: Site, spot: Spot, tracked: Tracked | None, known: list[Record], found: Found | None
) -> tuple[Local | None, Observation | None, bool]:
    projected = is_projected(spot)
    if projected and (found is None or tracked is None):
        forget(site, spot)  # what comes under that name now is another file
    if found is None:
        return None, None, False
    base = tracked.base if tracked is not None and tracked.base.kind is Kind.FILE else None
    untouched = base is not None and tracked is not None and not base.evicted and tracked.identity == found.identity
    # What a file of two forms stands for depends on this release, too.
    if base is not None and untouched and not projected:
        return _as_base(base), None, False
    if base is None and not projected and not any(h.kind is Kind.FILE for h in known):
        # All of it is to be uploaded, whatever it is: it is read then, once.
        blank = Local(size=found.identity.size, sha256="", mtime_ns=found.identity.mtime_ns, mode=found.mode)
        return blank, None, False
    lines = spot.rel.endswith(".jsonl")
    now_ns = site.now_ns()
    observation = content_of(site, spot).observe(
        spot.rel,
        now_ns=now_ns,
        lines=lines,
        settled=found.identity.mtime_ns < now_ns - SETTLED_NS,
        base=Mark(base.size, base.sha256) if base is not None else None,
    )
    if observation is None:
        return None, None, False
    local = observation.local
    if tracked is not None and base is not None and found.mode == tracked.local_mode:
        local = msgspec.structs.replace(local, mode=base.mode)  # this file system keeps modes in its own way
    return local, observation, observation.torn


def is_settled(item: Item, now_ns: int) -> bool:
    """Whether the file has been at rest for so long that a torn last line is taken, too."""
    return item.found is not None and item.found.identity.mtime_ns < now_ns - SETTLED_NS


def _as_base(base: Base) -> Local:
    return Local(size=base.size, sha256=base.sha256, mtime_ns=base.mtime_ns, mode=base.mode)


def identity_of(item: Item) -> Identity | None:
    """The identity to remember for the local file as it is now; None when it must be looked at again."""
    if item.observation is not None:
        return None if item.observation.racy or item.torn else item.observation.identity
    return item.found.identity if item.found is not None else None


_CHANGES = {
    Action.UPLOAD: Change.UPLOAD,
    Action.DOWNLOAD: Change.DOWNLOAD,
    Action.DELETE: Change.DELETE_REMOTE,
    Action.REMOVE: Change.DELETE_LOCAL,
    Action.EVICT: Change.EVICT,
    Action.COMPARE: Change.CONFLICT,
}


def render(plan: Plan, names: Mapping[str, str]) -> list[DiffLine]:
    """The Plan as `diff` and `--dry-run` show it. `names`: device id -> name."""
    lines = [_line(i, Change.PARK, names) for i in plan.parked]
    for item in plan.items:
        change = _CHANGES.get(item.outcome.action)
        if item.outcome.keep_local or item.outcome.keep_withdrawn:
            change = Change.CONFLICT
        if change is not None:
            lines.append(_line(item, change, names))
    return sorted(lines, key=lambda line: line.path)


def _line(item: Item, change: Change, names: Mapping[str, str]) -> DiffLine:
    winner = item.outcome.winner
    shown = item.spot.rel if item.spot.root is Root.TREE else os.path.join("conflicts", item.spot.rel)  # noqa: PTH118 - not a local path
    return DiffLine(
        path=shown,
        change=change,
        local_size=item.found.identity.size if item.found is not None else None,
        remote_size=winner.size if winner is not None and winner.kind is Kind.FILE else None,
        device=names.get(winner.device, winner.device[:8]) if winner is not None else "",
    )
