"""Files whose form in the vault is derived from that on the disk, and the way back.

`history.jsonl` names projects by absolute paths, `settings.json` holds what belongs to one device and, in the vault,
what still waits for this user's approval. Everything else of the engine works with the vault's form alone: hashes,
bases, slices and merges are of it; only the identity of the file (what `stat` says) is of the one on the disk.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from claude_syncd.core.merge import settings
from claude_syncd.core.merge.classes import MergeClass, merge_class
from claude_syncd.core.merge.history import Homes, union
from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.merge.keys import Travel
from claude_syncd.core.merge.rows import lines_of
from claude_syncd.core.merge.sides import Side

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

MAX_ODD = 1 << 20
"""Bytes of lines that are remembered because they can't be derived; what is beyond is spelled anew."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a setting that waits for this user; see `settings.Pending`. `device` (id) and `time_ns` are those of
    the version that brought it.
    """

    setting: str
    travel: Travel
    old: str | None
    new: str | None
    digest: str
    device: str = ""
    time_ns: int = 0


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a device remembers of such a file, beside the base, from the last time that something came in.

    Of settings: `vault` is the version that came in, `base` what the file on the disk shared then: what it shares now
    and did not then is this device's own change. `waiting` was not put into it; `rejected` are the digests of those
    that the user does not want to be asked about again.
    Of the history: `vault` are lines whose spelling can't be derived from the one on the disk.
    """

    vault: bytes = b""
    base: bytes = b""
    waiting: tuple[Waiting, ...] = ()
    rejected: tuple[str, ...] = ()


class Inward(msgspec.Struct, frozen=True, kw_only=True):
    """What a version of the vault makes of the file on the disk, and what to remember with it (None: nothing)."""

    disk: bytes
    memory: Memory | None = None


class Projection(Protocol):
    """Two pure functions between the disk's form of a file and the vault's, for one device.

    `inward` begins with what `outward` says of the disk: what it gives is the file after all that differs was taken
    over. Of the disk and the memory that it gives, `outward` is the vault's content again, if that was a well-formed
    one. Both give Invalid, and then nothing may be sent or written, for what they can't read.
    """

    def outward(self, disk: bytes) -> bytes | Invalid | None:
        """The vault's form; None if the file has nothing to share, as if it were not there."""
        ...

    def inward(self, vault: bytes, disk: bytes | None) -> Inward | Invalid:
        """The disk's form; `disk` is what is there now, if anything."""
        ...


def is_projected(path: str) -> bool:
    """Whether the file of the portable path has another form in the vault than on the disk."""
    return merge_class(path) in {MergeClass.SETTINGS, MergeClass.HISTORY}


class HistoryForm:
    """`history.jsonl`: projects by names that mean the same on every device. Nothing is ever taken out of it."""

    def __init__(self, homes: Homes, memory: Memory | None) -> None:
        self._homes = homes
        self._odd = {homes.inward(line): line for line in lines_of(memory.vault)} if memory is not None else {}

    def outward(self, disk: bytes) -> bytes:
        """See Projection."""
        outward, odd = self._homes.outward, self._odd
        if odd:
            return b"".join(odd.get(line) or outward(line) for line in lines_of(disk))
        return b"".join(map(outward, lines_of(disk)))

    def inward(self, vault: bytes, disk: bytes | None) -> Inward:
        """See Projection. Prompts that only the disk has stay in it."""
        own = self.outward(disk) if disk is not None else b""
        if not vault.startswith(own):
            both = union(vault, own)
            vault = vault if both == union(vault) else both
        here: list[bytes] = []
        odd: list[bytes] = []
        size = 0
        for line in lines_of(vault):
            local = self._homes.inward(line)
            here.append(local)
            if size < MAX_ODD and line.endswith(b"\n") and self._homes.outward(local) != line:
                odd.append(line)
                size += len(line)
        return Inward(disk=b"".join(here), memory=Memory(vault=b"".join(odd)) if odd else None)


class SettingsForm:
    """`settings.json`: what stays on a device is not in the vault, what waits is not on the disk."""

    def __init__(
        self,
        memory: Memory | None,
        *,
        approved: AbstractSet[str] = frozenset(),
        device: str = "",
        time_ns: int = 0,
    ) -> None:
        """`approved`: digests of waiting changes to apply. `device`, `time_ns`: of the version that comes in."""
        self._memory = memory
        self._approved = approved
        self._device = device
        self._time_ns = time_ns

    def outward(self, disk: bytes) -> bytes | Invalid | None:
        """See Projection. What this device changed since the last version came in, put into that one."""
        memory = self._memory
        if memory is None:
            content = settings.shared(disk)
        else:
            # What differs from then was changed since: it is newer than what came in, whatever the clocks say.
            out = settings.outgoing(_side(disk, 1), memory.base, _side(memory.vault, 0))
            content = out if isinstance(out, Invalid) else out.content
        return None if isinstance(content, bytes) and settings.is_empty(content) else content

    def inward(self, vault: bytes, disk: bytes | None) -> Inward | Invalid:
        """See Projection. `vault` descends from what `outward` gives, or takes its place."""
        clean = settings.shared(vault)
        if isinstance(clean, Invalid):
            return clean
        own = settings.shared(disk) if disk is not None else b"{}"
        if isinstance(own, Invalid):
            return own
        came = settings.incoming(
            _side(disk, 0) if disk is not None else None, own, _side(clean, 1), approved=self._approved
        )
        if isinstance(came, Invalid):
            return came
        waiting = self._attributed(came.pending)
        digests = {w.digest for w in waiting}
        known = self._memory.rejected if self._memory is not None else ()
        rejected = tuple(digest for digest in known if digest in digests)
        return Inward(
            disk=came.content,
            memory=Memory(vault=clean, base=came.base, waiting=waiting, rejected=rejected),
        )

    def _attributed(self, pending: tuple[settings.Pending, ...]) -> tuple[Waiting, ...]:
        """With who brought it, which stays who it was for as long as it waits."""
        before = self._memory.waiting if self._memory is not None else ()
        same = {w.digest: w for w in before}
        # Without news it is a change that this user made since that gives another value.
        named = {} if self._device else {w.setting: w for w in before}
        waiting = []
        for one in pending:
            known = same.get(one.digest) or named.get(one.setting)
            waiting.append(
                Waiting(
                    setting=one.setting,
                    travel=one.travel,
                    old=one.old,
                    new=one.new,
                    digest=one.digest,
                    device=known.device if known is not None else self._device,
                    time_ns=known.time_ns if known is not None else self._time_ns,
                )
            )
        return tuple(waiting)


def _side(content: bytes, age: int) -> Side:
    return Side(content=content, mtime_ns=age, sha256=hashlib.sha256(content).hexdigest())
