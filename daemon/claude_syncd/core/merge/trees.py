"""Three-way merge of JSON trees: by key, lists of rules as sets, everything else as one value.

One tree is the host: what comes out is its text with the guest's changes put in. Both ways round the result means the
same, up to clashes and the order of keys.
"""

from __future__ import annotations

from typing import TypeVar

from claude_syncd.core.merge.jsontext import Array, Item, Member, Node, Object, meaning

Path = tuple[str, ...]
"""The keys that lead to a value, from the root."""

Part = TypeVar("Part", Item, Member)


class Policy:
    """What is special about which value. This one: nothing is, so it merges any JSON."""

    def is_set(self, path: Path) -> bool:  # noqa: ARG002 - of the policy without special values
        """Whether an array there is a set of rules."""
        return False

    def is_whole(self, path: Path) -> bool:  # noqa: ARG002 - as above
        """Whether an object there is one value."""
        return False

    def stays(self, path: Path, value: Node) -> bool:  # noqa: ARG002 - as above
        """Whether a member belongs to its own side: the host's stays as it is, the guest's is not there."""
        return False

    def item_stays(self, path: Path, value: Node) -> bool:  # noqa: ARG002 - as above
        """The same of an item of the set there."""
        return False

    def settled(self, path: Path, host: Node | None, result: Node | None) -> Node | None:  # noqa: ARG002 - as above
        """The last word on a member; None for a member that is not there."""
        return result


class Merge:
    """One merge. `clashes` gathers the paths where host and guest want different things."""

    def __init__(self, policy: Policy, *, host_wins: bool) -> None:
        self._policy = policy
        self._host_wins = host_wins
        self.clashes: list[Path] = []

    def node(self, path: Path, base: Node | None, host: Node | None, guest: Node | None) -> Node | None:
        """The merged value; None for a value that is not there. An unknown base is an empty one."""
        if host is None and guest is None:
            return None
        if isinstance(host, Object | None) and isinstance(guest, Object | None) and not self._policy.is_whole(path):
            return self._objects(path, base, host, guest)
        if isinstance(host, Array | None) and isinstance(guest, Array | None) and self._policy.is_set(path):
            return self._sets(path, base, host, guest)
        # What stays of either is no part of what they disagree about: a value of which all stays is not there.
        mine, taken = (None if node is None else self._taken(path, node) for node in (host, guest))
        ours, theirs, old = (meaning(n) for n in (mine, taken, base))
        if theirs in (ours, old):
            return host
        if taken is None:
            return None if ours == old else host  # an edit beats a deletion
        if mine is not None and ours != old:
            self.clashes.append(path)
            if self._host_wins:
                return host
        return taken

    def _taken(self, path: Path, guest: Node) -> Node | None:
        """A value as the other side may take it over: without what stays."""
        if isinstance(guest, Object) and not self._policy.is_whole(path):
            return self._objects(path, None, None, guest)
        if isinstance(guest, Array) and self._policy.is_set(path):
            return self._sets(path, None, None, guest)
        return guest

    def _objects(self, path: Path, base: Node | None, host: Object | None, guest: Object | None) -> Object | None:
        ours, theirs, old = ({m.key: m.value for m in _members(n) or ()} for n in (host, guest, base))
        kept: list[Member] = []
        added: list[Member] = []
        for member in _members(host) or ():
            value = self._member((*path, member.key), old.get(member.key), member.value, theirs.get(member.key))
            if value is not None:
                kept.append(member._replace(value=value))
        for member in _members(guest) or ():
            if member.key not in ours:
                value = self._member((*path, member.key), old.get(member.key), None, member.value)
                if value is not None:
                    added.append(member._replace(value=value))
        parts = _together(base, _members(host), _members(guest), kept, added)
        return None if parts is None else Object(parts, _closing(bool(parts), host, guest))

    def _member(self, path: Path, base: Node | None, host: Node | None, guest: Node | None) -> Node | None:
        if any(value is not None and self._policy.stays(path, value) for value in (host, guest)):
            return host
        return self._policy.settled(path, host, self.node(path, base, host, guest))

    def _sets(self, path: Path, base: Node | None, host: Array | None, guest: Array | None) -> Array | None:
        ours, theirs, old = ({meaning(i.value) for i in _items(n) or ()} for n in (host, guest, base))
        kept: list[Item] = []
        added: list[Item] = []
        for item in _items(host) or ():
            what = meaning(item.value)
            if what in theirs or what not in old or self._policy.item_stays(path, item.value):
                kept.append(item)
        for item in _items(guest) or ():
            what = meaning(item.value)
            if what not in ours and what not in old and not self._policy.item_stays(path, item.value):
                ours.add(what)
                added.append(item)
        parts = _together(base, _items(host), _items(guest), kept, added)
        return None if parts is None else Array(parts, _closing(bool(parts), host, guest))


def _together(
    base: Node | None,
    host: tuple[Part, ...] | None,
    guest: tuple[Part, ...] | None,
    kept: list[Part],
    added: list[Part],
) -> tuple[Part, ...] | None:
    """The parts in a row, those that are new there with the white space that is usual in the host.

    None for a value that one side does not have, if nothing is left of it or it was deleted.
    """
    only = guest if host is None else host
    if not kept and not added and (host is None or guest is None) and (base is not None or only):
        return None
    style = host or guest or ()
    lead: str = style[0].lead if style else ""
    usual: str = style[1].lead if len(style) > 1 else (lead if "\n" in lead else " ")
    parts = list(kept)
    parts += [part._replace(lead=usual, trail="") if host else part for part in added]
    if parts and parts[0].lead != lead:
        parts[0] = parts[0]._replace(lead=lead)
    return tuple(parts)


def _closing(full: bool, host: Object | Array | None, guest: Object | Array | None) -> str:
    """The white space before the closing bracket: as in the host, else in the guest, whichever is full or not, too."""
    sides = [n for n in (host, guest) if n is not None]
    return next((n.closing for n in sides if bool(_members(n) or _items(n)) is full), "")


def _members(node: Node | None) -> tuple[Member, ...] | None:
    return None if node is None else node.members if isinstance(node, Object) else ()


def _items(node: Node | None) -> tuple[Item, ...] | None:
    return None if node is None else node.items if isinstance(node, Array) else ()
