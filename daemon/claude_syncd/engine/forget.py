"""Deletes for good, on all devices: what is here goes at once, and a tombstone is published for it.

A session that merely vanishes is evicted, so a tombstone of one is always somebody's explicit wish. It never beats an
edit that it does not know of: then the edit lives, and `outlived` tells the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd.core.model import FileClass, Kind, covers, heads, join
from claude_syncd.core.portable import Root
from claude_syncd.core.status import Problem
from claude_syncd.engine import versions
from claude_syncd.engine.parking import runs
from claude_syncd.engine.plan import lookers_of
from claude_syncd.engine.projected import is_projected, locked
from claude_syncd.engine.sources import TrashIndex
from claude_syncd.errors import UsageError
from claude_syncd.local.live import live_sessions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.engine.site import Site


def forgettable(site: Site, named: Sequence[str], cwd: str) -> list[str]:
    """The portable paths that go with what a user names: files, all below a folder, a session's own folder, the sides
    of conflicts that are kept of them. Raises UsageError where nothing is known of one, or it can't be deleted.
    """
    live = live_sessions(site.places.tree)
    chosen: dict[str, None] = {}
    for name in named:
        for path in versions.meant(site, name, cwd):
            chosen[path] = None
            spot = site.paths.spot(path)
            if spot is not None and spot.file_class is FileClass.TRANSCRIPT and spot.rel.count("/") == 2:
                chosen |= dict.fromkeys(site.state.paths(f"{path.removesuffix('.jsonl')}/"))
    kept = [path for path in site.state.paths("conflicts/") if path.split("/", 2)[2] in chosen]
    for path in [*chosen, *kept]:
        spot = site.paths.spot(path)
        if spot is None:
            raise UsageError(
                f"{path} is not synced here, so it can't be deleted from here",
                hint="delete it on a device that has it, or widen `scope` in config.toml",
            )
        if spot.file_class is FileClass.SETTINGS and is_projected(spot):
            raise UsageError(
                f"{spot.rel} holds settings of this machine, too",
                hint="take out of it what you want gone; or leave it out of the sync with `exclude` in config.toml",
            )
        if runs(spot, live):
            raise UsageError(f"the session {spot.rel} runs", hint="end it first")
    return [*chosen, *kept]


def forget(site: Site, paths: Sequence[str]) -> None:
    """Take note of the user's wish, then delete what is on this disk, from the trash as well. Raises LocalError."""
    lookers = lookers_of(site)
    for path in paths:
        spot = site.paths.spot(path)
        if spot is None:
            continue
        # The wish comes first: a file that is gone without it would be evicted only.
        site.state.forget(path, join(*(r.vector for r in site.state.newest(path))), site.state.lived)
        found = lookers[spot.root].look(spot.rel)
        if found is not None:
            with locked(site, spot):
                site.appliers[spot.root].remove(spot.rel, found.identity)
    trash = TrashIndex(site)
    for spot in map(site.paths.spot, paths):
        if spot is not None:
            trash.delete(spot.rel)


def outlived(site: Site) -> list[Problem]:
    """What was forgotten here and lives, since another device had changed it meanwhile."""
    problems = []
    wishes = site.state.forgotten()
    for path, known in site.state.known(list(wishes)).items():
        alive = [h for h in heads(known.newest) if h.kind is Kind.FILE and not covers(wishes[path], h)]
        spot = site.paths.spot(path)
        if not alive or spot is None or spot.root is not Root.TREE:
            continue
        names = {p.device: p.name for p in site.state.positions().values()}
        by = names.get(alive[0].device, alive[0].device[:8])
        problems.append(
            Problem(
                message=f"{spot.rel} was forgotten, but {by} had changed it meanwhile: it was kept",
                hint=f"`claude-syncctl forget {spot.rel}` deletes it all the same, `restore` keeps it",
            )
        )
    return problems
