"""What a commit holds: the objects of the store, and nothing else that may be in its tree."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.store.names import RESERVED, is_part

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORDINARY = b"100644"


@dataclass(frozen=True, slots=True)
class Blob:
    """An object's bytes: git's id for them, and how many there are."""

    oid: str
    size: int


@dataclass(slots=True)
class Tree:
    """Objects by name (relative to the store's prefix), and their names in order. Shared ones are not changed.

    `foreign`: how many other things are there, which somebody else must have put there.
    """

    blobs: dict[str, Blob] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    foreign: int = 0

    def copy(self) -> Tree:
        """One that can be changed."""
        return Tree(dict(self.blobs), list(self.names), self.foreign)

    def put(self, name: str, blob: Blob) -> None:
        """Add or replace an object."""
        if name not in self.blobs:
            insort(self.names, name)
        self.blobs[name] = blob

    def delete(self, name: str) -> bool:
        """Remove an object; whether it was there."""
        if self.blobs.pop(name, None) is None:
            return False
        del self.names[bisect_left(self.names, name)]
        return True

    def beginning(self, prefix: str) -> Iterator[str]:
        """The names that begin with `prefix`, in order."""
        for index in range(bisect_left(self.names, prefix), len(self.names)):
            if not self.names[index].startswith(prefix):
                return
            yield self.names[index]

    def in_the_way(self, name: str) -> str | None:
        """An object that can't be beside one called `name`: a tree's name is either a folder's or an object's."""
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return next((found for found in above if found in self.blobs), None) or next(self.beginning(f"{name}/"), None)


def parse_tree(listing: bytes, prefix: str) -> Tree:
    """The objects below `prefix` (empty, or ending in a slash) of `git ls-tree -r -z -l`, whatever else it lists.

    Links, executables, submodules, and names that no object has, were put there by somebody else. Raises ValueError
    for an object without a size.
    """
    blobs: dict[str, Blob] = {}
    start = prefix.encode()
    entries = [entry for entry in listing.split(b"\0") if entry]
    for entry in entries:
        facts, _, path = entry.partition(b"\t")
        words = facts.split()
        if len(words) != 4 or words[0] != _ORDINARY or words[1] != b"blob" or not path.startswith(start):
            continue
        name = path[len(start) :].decode(errors="replace")
        parts = name.split("/")
        if parts[0] != RESERVED and all(map(is_part, parts)):
            blobs[name] = Blob(words[2].decode(), int(words[3]))
    return Tree(blobs, sorted(blobs), len(entries) - len(blobs))
