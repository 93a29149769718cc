"""Which sessions are live here: what comes in for them is parked, until their process ends or they are at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.core.model import FileClass, Kind
from claude_syncd.core.portable import Root
from claude_syncd.local.live import live_sessions, rests_at
from claude_syncd.local.scan import look, scan
from claude_syncd.local.state import Known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from claude_syncd.core.model import Local, Record
    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.site import Site
    from claude_syncd.local.scan import Found

_PUT_NS = 1_000_000_000
"""A file that this daemon put in place got its mtime set: its inode changed so much later at least."""


@dataclass(frozen=True, slots=True)
class Live:
    """A session that is left alone. `until_ns`: when it counts as at rest; None: when its process ends."""

    until_ns: int | None


def session_of(spot: Spot) -> str | None:
    """The id of the session that a file belongs to."""
    if spot.root is not Root.TREE or spot.file_class not in {FileClass.TRANSCRIPT, FileClass.SIDE}:
        return None
    parts = spot.rel.split("/")
    return parts[2].removesuffix(".jsonl") if len(parts) > 2 and parts[0] == "projects" else None


def runs(spot: Spot, running: Mapping[str, int]) -> bool:
    """Whether a Claude Code that runs has the file's session open. `running`: see `live_sessions`."""
    return session_of(spot) in running


def liveness(site: Site, spot: Spot, found: Found | None, known: Known, running: Mapping[str, int]) -> Live | None:
    """Whether the file's session is live: a Claude Code has it open (`running`: see `live_sessions`), or what is here
    of it was written in the last seconds, and not by this daemon. Raises LocalError.
    """
    if session_of(spot) is None:
        return None
    if runs(spot, running):
        return Live(None)
    if found is None:
        return None
    now_ns = site.now_ns()
    ends = [
        end
        for file, versions in _files(site, spot, found, known, now_ns)
        if (end := rests_at(file.identity.mtime_ns, now_ns, site.rest_ns)) is not None
        and _written_here(site, file, versions)
    ]
    return Live(max(ends)) if ends else None


def is_live(site: Site, path: str, spot: Spot) -> bool:
    """`liveness` of the file as it is now. Raises LocalError."""
    found = look(site.folder(spot.root), spot.rel, site.follow)
    known = site.state.known([path]).get(path, Known())
    return liveness(site, spot, found, known, live_sessions(site.places.tree)) is not None


def _files(site: Site, spot: Spot, found: Found, known: Known, now_ns: int) -> Iterator[tuple[Found, Known]]:
    """The file itself; with a session's own transcript also what was written lately into its side folder, by
    subagents that work for minutes while the session waits for them.
    """
    yield found, known
    if not _is_own_transcript(spot):
        return
    beside = scan(
        site.folder(spot.root),
        wanted=site.rules.selects,
        descends=site.rules.descends,
        follow=site.follow,
        under=spot.rel.removesuffix(".jsonl"),
        problems=[],
    )
    for file in beside:
        if rests_at(file.identity.mtime_ns, now_ns, site.rest_ns) is not None:
            path = site.paths.portable(file.path)
            if path is not None:
                yield file, site.state.known([path]).get(path, Known())


def _written_here(site: Site, found: Found, known: Known) -> bool:
    """Whether somebody on this device wrote the file, rather than this daemon, which put it there from the vault."""
    tracked = known.tracked
    if tracked is None or tracked.identity != found.identity:
        return True
    if found.identity.ctime_ns - found.identity.mtime_ns > _PUT_NS:
        return False
    return any(
        record.kind is Kind.FILE
        and record.sha256 == tracked.base.sha256
        and (record.device == site.me or record.device in site.former)
        for record in known.newest
    )


def warning(site: Site, spot: Spot, local: Local | None, current: Sequence[Record]) -> str | None:
    """What the user is told of a session that is live here with the content `local`, if another device has gone on
    with it. `current`: the heads of its transcript.
    """
    session = session_of(spot)
    if session is None or local is None or not _is_own_transcript(spot):
        return None
    others = [r for r in current if r.device != site.me and r.kind is Kind.FILE and r.sha256 != local.sha256]
    if not others:
        return None
    newest = max(others, key=lambda r: (r.mtime_ns, r.device))
    position = site.state.positions().get(newest.device)
    name = position.name if position is not None else newest.device[:8]
    return f"the session {session} is open here and on {name}: if both go on with it, it becomes two sessions"


def _is_own_transcript(spot: Spot) -> bool:
    """Whether it is a session's own transcript, rather than something in its side folder."""
    return spot.rel.count("/") == 2
