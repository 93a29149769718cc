"""Verifies what the objects of a vault hold: every blob decrypted, every version of every file hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.core.model import Kind
from claude_syncd.errors import ObjectMissing, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sized

    from claude_syncd.core.model import Record, Slice
    from claude_syncd.vault.reader import Reader

_AT_ONCE = 16 * 1024 * 1024


@dataclass(slots=True)
class DataCheck:
    """`right`: versions of files that were read whole and had the right hash; `wrong`: paths of the others, with what
    is wrong. `bad`: objects with a blob that is no good, with what is wrong. `read`: bytes.
    """

    reader: Reader
    right: int = 0
    read: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    done: set[tuple[str, int]] = field(default_factory=set)

    async def files(self, records: Iterable[tuple[Record, tuple[Slice, ...]]]) -> None:
        """Hash every file of the records."""
        hashers: dict[int, hashlib._Hash] = {}
        for group in _groups(records):
            pieces = await self._fetch({(s.object, s.blob) for _, _, s, _ in group if s is not None})
            for number, record, one, last in group:
                hasher = hashers.setdefault(number, hashlib.sha256())
                if one is not None:
                    plain = pieces.get((one.object, one.blob), b"")
                    hasher.update(plain[one.start : one.start + one.length])
                if last:
                    del hashers[number]
                    if hasher.hexdigest() == record.sha256:
                        self.right += 1
                    else:
                        problem = f"version {record.seq} of device {record.device} can't be read whole"
                        self.wrong.append((record.path, problem))

    async def rest(self, blobs: Mapping[str, Sized]) -> None:
        """Read what no file needed, of the blobs that each object has."""
        left = [(name, n) for name, some in blobs.items() for n in range(len(some)) if (name, n) not in self.done]
        for first in range(0, len(left), 16):
            await self._fetch(set(left[first : first + 16]))

    async def _fetch(self, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        """The blobs that are good; why another one is not is noted."""
        pieces: dict[tuple[str, int], bytes] = {}
        wants: dict[str, set[int]] = {}
        for name, blob in wanted:
            wants.setdefault(name, set()).add(blob)

        def take(name: str, blob: int, plain: bytes) -> None:
            pieces[name, blob] = plain

        try:
            await self.reader.blobs(wants, take)
        except (VaultError, ObjectMissing):
            for name, blob in sorted(wanted - pieces.keys()):
                try:
                    await self.reader.blobs({name: {blob}}, take)
                except (VaultError, ObjectMissing) as error:
                    self.bad.setdefault(name, str(error))
        self.done |= pieces.keys()
        self.read += sum(map(len, pieces.values()))
        return pieces


_Part = tuple[int, "Record", "Slice | None", bool]


def _groups(records: Iterable[tuple[Record, tuple[Slice, ...]]]) -> Iterator[list[_Part]]:
    """The slices of all files in order, some MiB at a time; the last of each is marked."""
    group: list[_Part] = []
    size = 0
    for number, (record, slices) in enumerate(records):
        if record.kind is not Kind.FILE:
            continue
        for place, one in enumerate(slices or (None,)):
            group.append((number, record, one, place >= len(slices) - 1))
            size += one.length if one is not None else 0
            if size >= _AT_ONCE or len(group) >= 4096:
                yield group
                group, size = [], 0
    if group:
        yield group
