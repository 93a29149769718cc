"""What is known of a path's versions, over all devices, and which paths a user means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.elapsed import DAY
from claude_syncd.core.instant import timestamp
from claude_syncd.core.model import Kind
from claude_syncd.core.names import check_portable
from claude_syncd.core.portable import Root
from claude_syncd.core.status import FileVersions, VersionInfo, VersionKind
from claude_syncd.core.versions import Version, as_of, timeline
from claude_syncd.engine.plan import lookers_of
from claude_syncd.errors import FormatError, UsageError
from claude_syncd.local.trash import Seen, Trash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.core.model import Record
    from claude_syncd.engine.site import Site
    from claude_syncd.local.versions import Dot

_LISTED = 1000  # files
_TRASH = "trash"
_THINNED = "thinned"

_trash_decoder = msgspec.json.Decoder(dict[str, Seen])


def forget_versions(site: Site) -> None:
    """Drop what was superseded longer ago than the retention, by elapsed time, and of the rest the oldest that are more
    bytes than it allows; once a day, of sessions that grew, what lies close to versions that stay. What only those
    versions needed goes with them. Only while no round is under way.
    """
    state, lived = site.state, site.passed()
    state.forget_versions(lived - site.retention_days * DAY)
    state.drop_versions(versions_beyond(site))
    if lived - int(state.meta(_THINNED) or -DAY) >= DAY:
        state.drop_versions(state.surplus_versions(lived))
        state.forget_entries()
        state.forget_objects()
        state.set_meta(_THINNED, str(lived))


def expire_trash(site: Site) -> None:
    """Delete for good what has been in the trash for longer than the retention, by elapsed time. Raises LocalError."""
    known = site.state.meta(_TRASH)
    left = Trash(site.places.trash).expire(
        _trash_decoder.decode(known) if known is not None else {},
        lived=site.passed(),
        retention=site.retention_days * DAY,
    )
    noted = msgspec.json.encode(left, order="deterministic").decode()
    if noted != known:
        site.state.set_meta(_TRASH, noted)


def versions_beyond(site: Site) -> list[Dot]:
    """The superseded versions, the oldest of all devices, that are more bytes than the retention allows."""
    return site.state.versions_beyond(site.retention_bytes) if site.retention_bytes is not None else []


def meant(site: Site, path: str, cwd: str) -> list[str]:
    """The portable paths that a user means by `path`: one file, or all that is known below a folder.

    It may be absolute, relative to the absolute folder `cwd` or to the tree, or portable. Raises UsageError where
    nothing is known of it.
    """
    for portable in _readings(site, path, cwd):
        if site.state.newest(portable):
            return [portable]
        below = site.state.paths(f"{portable}/")
        if below:
            return below
    raise UsageError(
        f"nothing is known of {path}",
        hint="give a file below the synced tree that was pushed once; `claude-syncctl diff` shows what was not",
    )


def _readings(site: Site, path: str, cwd: str) -> list[str]:
    """As portable paths, the likeliest first."""
    found: list[str | None] = []
    tree = site.places.tree
    for place in dict.fromkeys((Path(cwd) / path, tree / path)):
        absolute = Path(os.path.normpath(place))
        for root in dict.fromkeys((tree, tree.resolve())):
            for spelling in dict.fromkeys((absolute, absolute.parent.resolve() / absolute.name)):
                inside = spelling.is_relative_to(root) and spelling != root
                found.append(_portable(site, spelling.relative_to(root).as_posix()) if inside else None)
    plain = path.rstrip("/")
    found += [plain, f"tree/{plain}"]
    return [p for p in dict.fromkeys(found) if p is not None and _sound(p)]


def _portable(site: Site, rel: str) -> str | None:
    parts = rel.split("/")
    if parts[0] == "projects" and len(parts) > 1:
        # A name that is asked for is decided for good: only for a project that there is, or was.
        if parts[1] not in site.state.projects() and not (site.places.tree / "projects" / parts[1]).is_dir():
            return None
        if len(parts) == 2:
            return f"tree/projects/{site.paths.project_of(parts[1])}"
    elif parts == ["projects"]:
        return "tree/projects"
    return site.paths.portable(rel)


def _sound(portable: str) -> bool:
    try:
        check_portable(portable)
    except FormatError:
        return False
    return True


def history(site: Site, path: str) -> list[Version]:
    """The versions of a portable path that can be restored or were deletions, the oldest first."""
    return timeline(site.state.versions(path))


def listed(site: Site, path: str, cwd: str) -> tuple[list[FileVersions], bool]:
    """The versions of a file, or of every file below a folder, and whether there are more files than were listed."""
    paths = meant(site, path, cwd)
    return [described(site, one) for one in paths[:_LISTED]], len(paths) > _LISTED


def described(site: Site, path: str) -> FileVersions:
    """A path's versions as the user sees them, the newest first."""
    spot = site.paths.spot(path)
    found = history(site, path)
    here = _here(site, path, found)
    tracked = site.state.tracked(path)
    names = {p.device: p.name for p in site.state.positions().values()} | {site.me: site.name}
    infos = []
    for number, version in enumerate(found, 1):
        record = version.record
        kind = VersionKind.FILE if record.kind is Kind.FILE else VersionKind.DELETED
        evicted = tracked is not None and tracked.base.evicted and version == _latest(found, tracked.base.sha256)
        infos.append(_info(version, names, number=number, kind=VersionKind.EVICTED if evicted else kind, here=here))
    infos += [_info(kept, names, number=None, kind=VersionKind.KEPT, here=None) for kept in _kept(site, path)]
    return FileVersions(
        path=spot.rel if spot is not None and spot.root is Root.TREE else path,
        portable=path,
        changed_here=here is None and spot is not None and lookers_of(site)[spot.root].look(spot.rel) is not None,
        versions=sorted(infos, key=lambda i: (i.time, i.number or 0), reverse=True),
    )


def _info(
    version: Version, names: dict[str, str], *, number: int | None, kind: VersionKind, here: Version | None
) -> VersionInfo:
    record = version.record
    return VersionInfo(
        number=number,
        id=version_id(record),
        time=timestamp(version.time_ns),
        mtime=timestamp(record.mtime_ns) if record.kind is Kind.FILE else None,
        device=names.get(record.device, record.device[:8]),
        size=record.size if record.kind is Kind.FILE else None,
        kind=kind,
        here=version is here,
    )


def version_id(record: Record) -> str:
    """What names a version for good: its device's beginning and the seq; "kept" for one that lost a conflict."""
    kept = "-kept" if record.path.startswith("conflicts/") else ""
    return f"{record.device[:12]}-{record.seq}{kept}"


def _here(site: Site, path: str, found: Sequence[Version]) -> Version | None:
    """The version that is on this disk now; None where there is no file, or one that has not been pushed."""
    spot, tracked = site.paths.spot(path), site.state.tracked(path)
    if spot is None or tracked is None or tracked.base.kind is not Kind.FILE or tracked.base.evicted:
        return None
    seen = lookers_of(site)[spot.root].look(spot.rel)
    if seen is None or (tracked.identity is not None and seen.identity != tracked.identity):
        return None
    return _latest(found, tracked.base.sha256)


def _latest(found: Sequence[Version], sha256: str) -> Version | None:
    return next((v for v in reversed(found) if v.record.kind is Kind.FILE and v.record.sha256 == sha256), None)


def _kept(site: Site, path: str) -> list[Version]:
    """The sides of conflicts on the path that are kept now."""
    kept = []
    for candidate in site.state.paths("conflicts/"):
        if candidate.split("/", 2)[2] == path:
            newest = history(site, candidate)
            kept += [v for v in newest[-1:] if v.record.kind is Kind.FILE]
    return kept


def chosen(site: Site, path: str, version: str | None, at_ns: int | None) -> Version:
    """The version of a path that a user asked for: by number or id, or the newest content, as of a time or at all.

    Raises UsageError where there is none.
    """
    found = history(site, path)
    hint = f"see `claude-syncctl log {_shown(site, path)}`"
    if version is not None:
        for number, one in enumerate(found, 1):
            if version in {str(number), version_id(one.record)} and one.record.kind is Kind.FILE:
                return one
        for kept in _kept(site, path):
            if version == version_id(kept.record):
                return kept
        raise UsageError(f"there is no version {version} of {_shown(site, path)} with a content", hint=hint)
    if at_ns is not None:
        one_then = as_of(found, at_ns)
        if one_then is None or one_then.record.kind is not Kind.FILE:
            raise UsageError(f"there was no {_shown(site, path)} in the vault at that time", hint=hint)
        return one_then
    newest = next((v for v in reversed(found) if v.record.kind is Kind.FILE), None)
    if newest is None:
        raise UsageError(f"no version of {_shown(site, path)} is kept", hint=hint)
    return newest


def _shown(site: Site, path: str) -> str:
    spot = site.paths.spot(path)
    return spot.rel if spot is not None and spot.root is Root.TREE else path
