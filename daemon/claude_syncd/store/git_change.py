"""Changes to a branch: which of those that wait together are made, and what the tree is then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_syncd.errors import AlreadyExists, StoreError, StoreRefused
from claude_syncd.store.git_tree import Blob, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True, eq=False)
class Change:
    """An object to put, or with `data` None to delete. Once `done` it was made, or `error` says why not.

    `asked`: how often the host had been asked when it came. `blob`: where its bytes are in the mirror already.
    """

    name: str
    data: bytes | None
    if_absent: bool
    asked: int
    blob: Blob | None = None
    done: bool = False
    error: StoreError | None = None

    @property
    def size(self) -> int:
        """Bytes to send."""
        return len(self.data or b"")

    def needs_no_push(self, tree: Tree) -> bool:
        """Whether there is nothing to do if the branch holds `tree`: then it had better be so."""
        return self.name not in tree.blobs if self.data is None else self.if_absent and self.name in tree.blobs


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a tree: `tree`, by the changes of `last` (one for each name); `errors` of those not made."""

    tree: Tree
    last: dict[str, Change]
    errors: dict[Change, StoreError]


def plan(changes: Iterable[Change], old: Tree) -> Plan:
    """Make `changes` one after the other. The blobs of new objects have no id yet."""
    made = Plan(old.copy(), {}, {})
    for change in changes:
        name, tree = change.name, made.tree
        if change.data is None:
            if tree.delete(name):
                made.last[name] = change
            continue
        neighbour = tree.in_the_way(name)
        if change.if_absent and name in tree.blobs:
            made.errors[change] = AlreadyExists(f"{name} exists already")
        elif neighbour is not None:
            made.errors[change] = StoreRefused(
                f"there can't be both {name} and {neighbour}", hint="remove the one that is wrong"
            )
        else:
            tree.put(name, change.blob or Blob("", change.size))
            made.last[name] = change
    return made
