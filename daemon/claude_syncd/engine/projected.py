"""Files that have another form on this disk than in the vault (core/projection.py): read as the vault's, written back
as this device's.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.merge.history import Homes
from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.model import FileClass
from claude_syncd.core.portable import Root
from claude_syncd.core.projection import HistoryForm, Memory, SettingsForm
from claude_syncd.core.projection import is_projected as has_two_forms
from claude_syncd.errors import Changed, LocalError, SyncError
from claude_syncd.local.apply import Commit
from claude_syncd.local.beneath import identity_of
from claude_syncd.local.claude_lock import claude_lock
from claude_syncd.local.reading import CHUNK, open_for_read, read_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager
    from pathlib import Path

    from claude_syncd.core.model import Identity
    from claude_syncd.core.projection import Projection
    from claude_syncd.engine.pathmap import Spot
    from claude_syncd.engine.site import Site
    from claude_syncd.local.content import Contents, Mark, Observation
    from claude_syncd.local.scan import Found
    from claude_syncd.local.stage import Staged

MOST = 256 * 1024 * 1024
"""A larger file of two forms is not synced: it is worked on in memory."""

_CLASSES = frozenset({FileClass.HISTORY, FileClass.SETTINGS})
_memory_decoder = msgspec.json.Decoder(Memory)


def is_projected(spot: Spot) -> bool:
    """Whether the file has another form in the vault than on this disk."""
    return spot.file_class in _CLASSES and has_two_forms(_path(spot))


def content_of(site: Site, spot: Spot) -> Contents | Projected:
    """What reads the file at `spot` in the vault's form."""
    contents = site.contents[spot.root]
    return Projected(site, spot, contents) if is_projected(spot) else contents


def remembered(site: Site, spot: Spot) -> Memory | None:
    """What this device remembers of the file beside its base."""
    known = site.state.meta(_key(spot))
    return _memory_decoder.decode(known) if known is not None else None


def remember(site: Site, spot: Spot, memory: Memory | None) -> None:
    """Remember it from now on; None: nothing. To be called before the base moves: a crash between the two is harmless
    then, as what the file stands for is more than the old base.
    """
    site.state.set_meta(_key(spot), msgspec.json.encode(memory).decode() if memory is not None else None)


def forget(site: Site, spot: Spot) -> None:
    """Another file stands there now, or none, or the base is lost: nothing that is remembered is of it."""
    if site.state.meta(_key(spot)) is not None:
        remember(site, spot, None)


def form_of(
    site: Site, spot: Spot, *, approved: AbstractSet[str] = frozenset(), device: str = "", time_ns: int = 0
) -> Projection:
    """The projection of the file at `spot`; the rest is for settings, see there."""
    memory = remembered(site, spot)
    if spot.file_class is FileClass.HISTORY:
        return HistoryForm(Homes(site.paths.home), memory)
    return SettingsForm(memory, approved=approved, device=device, time_ns=time_ns)


def invalid(site: Site, spot: Spot, reason: Invalid) -> LocalError:
    """The error for a file that can't be read, and so is neither sent nor written over."""
    return LocalError(
        f"{site.folder(spot.root) / spot.rel} is not synced: {reason.reason}",
        hint="mend the file, or leave it out of the sync with `exclude` in config.toml",
    )


class Projected:
    """Reads one file of two forms. The methods do what those of `Contents` do, in the vault's form.

    Made for one plan or push; the memory is that of now.
    """

    def __init__(self, site: Site, spot: Spot, contents: Contents) -> None:
        self._site = site
        self._spot = spot
        self._contents = contents

    def observe(
        self, path: str, *, now_ns: int, lines: bool = False, settled: bool = False, base: Mark | None = None
    ) -> Observation | None:
        """See Contents. None for a file that shares nothing. Raises LocalError for one that is malformed, too."""
        self._check_size(path)
        stream = self._contents.stream(path, now_ns=now_ns, lines=lines, settled=settled)
        vault = self._outward(b"".join(stream))
        if vault is None:
            return None
        seen = stream.observation
        local = msgspec.structs.replace(seen.local, size=len(vault), sha256=hashlib.sha256(vault).hexdigest())
        append_from = None
        if base is not None and hashlib.sha256(vault[: base.size]).hexdigest() == base.sha256:
            append_from = base.size
        rest = local.sha256 if append_from is None else hashlib.sha256(vault[append_from:]).hexdigest()
        return replace(seen, local=local, append_from=append_from, rest_sha256=rest)

    def read(self, path: str, start: int, stop: int, sha256: str) -> Iterator[bytes]:
        """See Contents."""
        self._check_size(path)
        data = read_whole(self._site, self._spot)
        vault = self._outward(data)
        wanted = memoryview(vault)[start:stop] if vault is not None else memoryview(b"")
        if hashlib.sha256(wanted).hexdigest() != sha256:
            raise Changed(f"{path} changed while it was read")
        for at in range(0, len(wanted), CHUNK):
            yield bytes(wanted[at : at + CHUNK])

    def _outward(self, data: bytes) -> bytes | None:
        vault = form_of(self._site, self._spot).outward(data)
        if isinstance(vault, Invalid):
            raise invalid(self._site, self._spot, vault)
        return vault

    def _check_size(self, path: str) -> None:
        with open_for_read(self._contents.root, path, self._site.follow) as file_fd:
            if os.fstat(file_fd).st_size > MOST:
                raise LocalError(
                    f"{self._contents.root / path} is not synced: it is larger than {MOST >> 20} MiB",
                    hint="move it away and let Claude Code begin a new one",
                )


def read_whole(site: Site, spot: Spot, expected: Identity | None = None) -> bytes:
    """The file as it is on this disk. Raises Changed when it is not `expected`, or is written to meanwhile."""
    with open_for_read(site.folder(spot.root), spot.rel, site.follow) as file_fd:
        before = identity_of(os.fstat(file_fd))
        data = b"".join(read_chunks(file_fd, 0, before.size))
        if expected is not None and not before == expected == identity_of(os.fstat(file_fd)):
            raise Changed(f"{spot.rel} changed meanwhile; it is looked at again")
    return data


def read_staged(root: Path, staged: Staged, size: int) -> bytes:
    """A version that was fetched into a staged file below `root`."""
    folder, _, _ = staged.path.rpartition("/")
    with open_for_read(root, f"{folder}/{staged.name}" if folder else staged.name) as file_fd:
        return b"".join(read_chunks(file_fd, 0, size))


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of the file on this disk: its identity, if it was `written` or got the version's mode; whether
    it stands for exactly the version that came in. If not, it is a change on top of that.
    """

    identity: Identity | None
    written: bool
    exact: bool


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the vault's, and where it comes from: id of the device."""

    content: bytes
    mtime_ns: int
    mode: int
    device: str
    time_ns: int


def bring(
    site: Site, spot: Spot, found: Found | None, version: Version, approved: AbstractSet[str] = frozenset()
) -> Brought:
    """Make the file on this disk what it is to be with `version`, and remember what goes with it; what was there goes
    to the trash. `found` is the file as it was decided about. Raises Changed, LocalError.
    """
    form = form_of(site, spot, approved=approved, device=version.device, time_ns=version.time_ns)
    with locked(site, spot):
        before = read_whole(site, spot, found.identity) if found is not None else None
        after = form.inward(version.content, before)
        if isinstance(after, Invalid):
            raise invalid(site, spot, after)
        written = after.disk != before
        identity = found.identity if found is not None else None
        if written:
            identity = put(site, spot, found, after.disk, mtime_ns=version.mtime_ns, mode=version.mode)
        elif found is not None and found.mode & 0o777 != version.mode & 0o777:
            set_to = _with_mode_of(site, spot, found, version)
            written, identity = set_to is not None, set_to or identity
    remember(site, spot, after.memory)
    exact = form_of(site, spot).outward(after.disk) == version.content
    return Brought(identity=identity, written=written, exact=exact)


def _with_mode_of(site: Site, spot: Spot, found: Found, version: Version) -> Identity | None:
    """The file's identity, with the version's mode; None for a link: nothing goes through one. Raises Changed."""
    applier = site.appliers[spot.root]
    try:
        return applier.set_meta(spot.rel, found.identity, mtime_ns=version.mtime_ns, mode=version.mode)
    except Changed:
        raise
    except LocalError:
        return None


def locked(site: Site, spot: Spot) -> AbstractContextManager[None]:
    """Claude Code's lock of the history while it is replaced; nothing else has one."""
    if spot.file_class is FileClass.HISTORY:
        return claude_lock(site.folder(spot.root) / spot.rel)
    return nullcontext()


def put(site: Site, spot: Spot, found: Found | None, content: bytes, *, mtime_ns: int, mode: int) -> Identity:
    """Replace the file `found`, which goes to the trash; None: there is none. Raises Changed, LocalError."""
    applier = site.appliers[spot.root]
    staged = applier.stage(spot.rel)
    try:
        staged.write_at(0, content)
        expected = found.identity if found is not None else None
        (result,) = applier.commit([Commit(staged=staged, mtime_ns=mtime_ns, mode=mode, expected=expected)])
    finally:
        staged.discard()
    if isinstance(result, SyncError):
        raise result
    return result


def _path(spot: Spot) -> str:
    return f"{Root(spot.root)}/{spot.rel}"


def _key(spot: Spot) -> str:
    return f"memory:{_path(spot)}"
