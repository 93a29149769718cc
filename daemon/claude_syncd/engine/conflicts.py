"""The kept sides of conflicts: list them, show them, end them. A kept side is a file under the state folder."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.model import FileClass, Kind
from claude_syncd.core.portable import Root
from claude_syncd.core.status import ConflictInfo
from claude_syncd.engine.parking import is_live
from claude_syncd.engine.projected import Version, bring, form_of, invalid, is_projected, read_whole
from claude_syncd.errors import LocalError, ObjectMissing, SyncError, UsageError
from claude_syncd.local.apply import Commit
from claude_syncd.local.reading import open_for_read, read_chunks
from claude_syncd.local.scan import look, scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.site import Site
    from claude_syncd.local.scan import Found

Keep = Literal["local", "remote", "both"]

_DIFF_BYTES = 512 * 1024
_DIFF_LINES = 2000
_EDITED = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Draft:
    """Both sides of a conflict; `sha256` is that of the tree's side."""

    ours: str
    theirs: str
    sha256: str


def kept(site: Site) -> list[Found]:
    """The kept sides on this disk, oldest first."""
    if not site.places.conflicts.is_dir():
        return []
    found = scan(site.places.conflicts, wanted=lambda _: True, descends=lambda _: True, problems=[])
    return sorted(
        (f for f in found if site.paths.spot(f"conflicts/{f.path}") is not None), key=lambda f: f.identity.mtime_ns
    )


def listed(site: Site) -> list[ConflictInfo]:
    """Every conflict as the user sees it."""
    names = {p.device: p.name for p in site.state.positions().values()}
    return [_info(site, f, names) for f in kept(site)]


def _info(site: Site, found: Found, names: dict[str, str]) -> ConflictInfo:
    author = _author(site, found)
    return ConflictInfo(
        id=found.path.partition("/")[0],
        path=_target(site, found).rel,
        file=str(site.places.conflicts / found.path),
        size=found.identity.size,
        mtime=datetime.fromtimestamp(found.identity.mtime_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        device=names.get(author, site.name if author == site.me else author[:8]),
    )


def _author(site: Site, found: Found) -> str:
    versions = site.state.newest(f"conflicts/{found.path}")
    return next((r.device for r in versions if r.kind is Kind.FILE), site.me)


def _target(site: Site, found: Found) -> Spot:
    spot = site.paths.spot(found.path.partition("/")[2])
    if spot is None:
        raise UsageError(f"the conflict {found.path.partition('/')[0]} is out of this device's scope")
    return spot


def find(site: Site, conflict: str) -> Found:
    """The conflict of that id, or of the only id that begins so. Raises UsageError."""
    matches = [f for f in kept(site) if conflict and f.path.startswith(conflict)]
    if len(matches) != 1:
        what = "there is no conflict" if not matches else "more than one conflict begins with"
        raise UsageError(f"{what} {conflict}", hint="see `claude-syncctl conflicts`")
    return matches[0]


def shown(site: Site, conflict: str) -> tuple[ConflictInfo, str, bool]:
    """A conflict with the unified diff from the tree's side to the kept one, and whether the diff was cut."""
    found = find(site, conflict)
    info = next(i for i in listed(site) if i.id == found.path.partition("/")[0])
    target = _target(site, found)
    ours, cut = _shared_text(site, target) if is_projected(target) else _text(site, Root.TREE, target.rel)
    theirs, cut_too = _text(site, Root.CONFLICTS, found.path)
    if ours is None or theirs is None:
        return info, "", cut or cut_too
    import difflib  # noqa: PLC0415 - only here

    lines = difflib.unified_diff(ours, theirs, target.rel, f"kept/{target.rel}", n=3)
    shown_lines = list(islice(lines, _DIFF_LINES + 1))
    return info, "".join(shown_lines[:_DIFF_LINES]), cut or cut_too or len(shown_lines) > _DIFF_LINES


def _text(site: Site, root: Root, rel: str) -> tuple[list[str] | None, bool]:
    try:
        with open_for_read(site.folder(root), rel, site.follow if root is Root.TREE else ()) as file_fd:
            found = look(site.folder(root), rel, site.follow if root is Root.TREE else ())
            size = found.identity.size if found is not None else 0
            data = b"".join(read_chunks(file_fd, 0, min(size, _DIFF_BYTES)))
    except LocalError:
        return [], False
    return _lines(data), size > _DIFF_BYTES


def _shared_text(site: Site, target: Spot) -> tuple[list[str] | None, bool]:
    """What the tree's file shares: its secrets are nothing to show."""
    try:
        data = form_of(site, target).outward(read_whole(site, target))
    except LocalError:
        return [], False
    if not isinstance(data, bytes):
        return [], False
    return _lines(data[:_DIFF_BYTES]), len(data) > _DIFF_BYTES


def _lines(data: bytes) -> list[str] | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return [line if line.endswith("\n") else line + "\n" for line in text.splitlines(keepends=True)]


def resolve(site: Site, found: Found, keep: Keep) -> set[str]:
    """End one conflict. Returns the portable paths that changed and now need a round. Raises SyncError.

    What is replaced or removed goes to the trash.
    """
    dirty = {f"conflicts/{found.path}"}
    target = _target(site, found)
    if keep == "remote":
        if is_live(site, found.path.partition("/")[2], target):
            raise UsageError(
                f"the session {target.rel} runs, or did a moment ago: its file is not replaced",
                hint="end it first, or keep the other side as a second session with `--keep both`",
            )
        dirty.add(_copy_in(site, found, target, target.rel))
    elif keep == "both":
        beside = _beside(found, target)
        if not site.rules.selects(beside):
            raise UsageError(
                f"{target.rel} can't be kept twice: a second file like it would not be synced",
                hint="keep one side, and copy what you need of the other: `claude-syncctl conflicts show`",
            )
        dirty.add(_copy_in(site, found, target, beside))
    site.appliers[Root.CONFLICTS].remove(found.path, found.identity)
    return dirty


def draft(site: Site, conflict: str) -> tuple[ConflictInfo, Draft]:
    """Both sides of a conflict as text, to be made one by its user. Raises UsageError for what is no text to merge."""
    found = find(site, conflict)
    info = next(i for i in listed(site) if i.id == found.path.partition("/")[0])
    target = _target(site, found)
    if target.file_class is FileClass.TRANSCRIPT:
        raise UsageError(
            "a session is no text to merge", hint="keep one side or both: `claude-syncctl conflicts resolve`"
        )
    ours, theirs = _side(site, target), b"".join(_content(site, found, target, target.rel))
    try:
        texts = ours.decode(), theirs.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{target.rel} is no text", hint="keep one side: `claude-syncctl conflicts resolve`") from None
    return info, Draft(*texts, sha256=hashlib.sha256(ours).hexdigest())


def take(site: Site, conflict: str, content: bytes, sha256: str) -> set[str]:
    """End a conflict with what its user made of it. `sha256`: of the tree's side as it was drafted. Returns the paths
    that need a round. Raises UsageError where the tree's side is another one by now.
    """
    found = find(site, conflict)
    target = _target(site, found)
    if hashlib.sha256(_side(site, target)).hexdigest() != sha256:
        raise UsageError(
            f"{target.rel} has changed meanwhile; nothing was resolved", hint="edit the conflict once more"
        )
    path = _put(site, target, target.rel, iter([content]), found.mode, _author(site, found))
    site.appliers[Root.CONFLICTS].remove(found.path, found.identity)
    return {path, f"conflicts/{found.path}"}


def _side(site: Site, target: Spot) -> bytes:
    """The tree's side as it is shared; empty where there is none. Raises LocalError, UsageError."""
    there = look(site.places.tree, target.rel, site.follow)
    if there is None:
        return b""
    if there.identity.size > _EDITED:
        raise UsageError(
            f"{target.rel} is too large to be edited", hint="keep one side: `claude-syncctl conflicts resolve`"
        )
    data = read_whole(site, target)
    if not is_projected(target):
        return data
    shared = form_of(site, target).outward(data)
    if isinstance(shared, Invalid):
        raise invalid(site, target, shared)
    return shared or b""


def _beside(found: Found, target: Spot) -> str:
    """A second name for the kept side in the same folder; a transcript needs a session id for its name."""
    folder, _, name = target.rel.rpartition("/")
    name_id = found.path.partition("/")[0]
    stem, dot, ending = name.rpartition(".")
    if target.file_class is FileClass.TRANSCRIPT and dot:
        try:
            session = uuid.UUID(stem)
        except ValueError:
            session = None
        stem = str(uuid.uuid5(session, name_id)) if session is not None else f"{stem}-{name_id[:8]}"
    else:
        stem, ending, dot = (stem, ending, dot) if dot and stem else (name, "", "")
        stem = f"{stem}.kept-{name_id[:8]}"
    return f"{folder}/{stem}{dot}{ending}" if folder else f"{stem}{dot}{ending}"


def _copy_in(site: Site, found: Found, target: Spot, rel: str) -> str:
    """Put the kept side into the tree as `rel`, as a change made here and now. Its portable path."""
    return _put(site, target, rel, _content(site, found, target, rel), found.mode, _author(site, found))


def _put(site: Site, target: Spot, rel: str, content: Iterator[bytes], mode: int, author: str) -> str:
    there = look(site.places.tree, rel, site.follow)
    path = site.paths.portable(rel)
    if path is None:
        raise ObjectMissing(f"{rel} can't be synced")
    if is_projected(target):
        now_ns = site.now_ns()
        bring(site, target, there, Version(b"".join(content), now_ns, mode, author, now_ns))
        return path
    staged = site.appliers[Root.TREE].stage(rel)
    try:
        offset = 0
        for data in content:
            staged.write_at(offset, data)
            offset += len(data)
        commit = Commit(
            staged=staged,
            mtime_ns=site.now_ns(),
            mode=mode,
            expected=there.identity if there is not None else None,
        )
        result = site.appliers[Root.TREE].commit([commit])[0]
    finally:
        staged.discard()
    if isinstance(result, SyncError):
        raise result
    return path


def _content(site: Site, found: Found, target: Spot, rel: str) -> Iterator[bytes]:
    """The kept side's bytes; a transcript under a new session id names that id in its lines."""
    contents = site.contents[Root.CONFLICTS]
    seen = contents.observe(found.path, now_ns=site.now_ns(), settled=True)
    chunks = contents.read(found.path, 0, seen.local.size, seen.local.sha256)
    old, new = (r.rpartition("/")[2].removesuffix(".jsonl") for r in (target.rel, rel))
    if old == new or target.file_class is not FileClass.TRANSCRIPT:
        yield from chunks
        return
    field, renamed = (f'"sessionId":"{i}"'.encode() for i in (old, new))
    rest = b""
    for data in chunks:  # both ids are as long as each other; a field may straddle two chunks
        joined = (rest + data).replace(field, renamed)
        cut = max(0, len(joined) - len(field))
        yield joined[:cut]
        rest = joined[cut:]
    yield rest
