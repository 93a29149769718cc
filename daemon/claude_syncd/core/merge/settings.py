"""Settings and other JSON: between versions in the vault, and between the vault and this device.

The vault's `settings.json` is what all devices share. A device's own file is that, with what stays on the device put
in (`keys.stays`), and without what waits for an approval there. So there are three merges:

- `merge`: two versions in the vault;
- `outgoing`: what this device changed, into the vault's version;
- `incoming`: what the vault's version changed, into this device's file. It also gives the new base, which is what that
  file shares: where a change waits, this device's older value is no change of its own later.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claude_syncd.core.merge import keys
from claude_syncd.core.merge.jsontext import Document, Invalid, Node, Object, document, meaning, parse, spelled
from claude_syncd.core.merge.sides import Conflict, Merged, Side, by_age, conflict
from claude_syncd.core.merge.trees import Merge, Path, Policy

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A change from another device that waits here. `old`, `new`: JSON as spelled, None for a setting not there; for
    the user's eyes, never for a log.

    `digest` (SHA-256 in hex) names the setting with exactly the new value: what a user approves by it can't be swapped
    for another.
    """

    setting: str
    travel: keys.Travel
    old: str | None
    new: str | None
    digest: str


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """What to publish; equal to the vault's version if this device has nothing to add."""

    content: bytes
    clashes: tuple[str, ...] = ()


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """This device's new file, the base to go with it, and what waits."""

    content: bytes
    base: bytes
    pending: tuple[Pending, ...] = ()
    clashes: tuple[str, ...] = ()


class _Shared(Policy):
    """Of `settings.json` in the vault."""

    def is_set(self, path: Path) -> bool:
        return keys.is_set(path)

    def is_whole(self, path: Path) -> bool:
        return keys.is_whole(path)

    def stays(self, path: Path, value: Node) -> bool:
        return keys.stays(path, value)

    def item_stays(self, path: Path, value: Node) -> bool:
        return keys.item_stays(path, value)


class _Applied(_Shared):
    """Of this device's `settings.json`: what stays is kept, what waits is noted and not applied."""

    def __init__(self, approved: AbstractSet[str]) -> None:
        self._approved = approved
        self.pending: list[tuple[Path, Pending]] = []

    def settled(self, path: Path, host: Node | None, result: Node | None) -> Node | None:
        wanted = keys.travel(path)
        if wanted is keys.Travel.PORTABLE or not keys.is_unit(path) or meaning(host) == meaning(result):
            return result
        named = "\0".join((*path, str(meaning(result))))
        digest = hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()
        if digest in self._approved:
            return result
        old, new = (None if node is None else spelled(node) for node in (host, result))
        self.pending.append((path, Pending(setting=_dotted(path), travel=wanted, old=old, new=new, digest=digest)))
        return host


def merge(base: bytes | None, a: Side, b: Side, *, settings: bool) -> Merged | Conflict:
    """Merge two versions of a JSON file against their common ancestor; None if it is not known.

    `settings`: it is Claude Code's `settings.json`. The result is the newer side's text with the older one's changes
    in it. Where a side is no valid JSON object, there is no merge, and a valid side wins.
    """
    if a.content == b.content:
        return Merged(content=a.content, mtime_ns=max(a.mtime_ns, b.mtime_ns))
    older, newer = by_age(a, b)
    guest, host = _object(older.content), _object(newer.content)
    if isinstance(host, Invalid):
        kept = conflict(a, b, host.reason)
        return kept if isinstance(guest, Invalid) else Conflict(winner=older, kept=newer, reason=host.reason)
    if isinstance(guest, Invalid):
        return conflict(a, b, guest.reason)
    old = _base(base)
    if settings:
        host, old = _cleaned(host, old)
        guest, old = _cleaned(guest, old)
    work = Merge(_Shared() if settings else Policy(), host_wins=True)
    root = work.node((), old, host.root, guest.root)
    return Merged(content=_written(host, root), mtime_ns=newer.mtime_ns, clashes=_named(work))


def shared(content: bytes) -> bytes | Invalid:
    """A `settings.json` without what stays on its device, spelled as it was. Invalid if it is no JSON object."""
    tree = _object(content)
    return tree if isinstance(tree, Invalid) else _written(tree, _clean(tree.root))


def is_empty(content: bytes) -> bool:
    """Whether it is an object without members."""
    tree = _object(content)
    return isinstance(tree, _Root) and not tree.root.members


def outgoing(local: Side, base: bytes | None, vault: Side | None) -> Outgoing | Invalid:
    """What to publish of this device's `settings.json`, into the vault's newest version (None: there is none yet).

    `base` is what the last `incoming` gave; None if it is not known. Invalid, and nothing to publish, if a side is no
    JSON object.
    """
    if vault is None:
        content = shared(local.content)
        return content if isinstance(content, Invalid) else Outgoing(content=content)
    ours = _object(local.content)
    theirs = _object(vault.content)
    if isinstance(ours, Invalid):
        return ours
    if isinstance(theirs, Invalid):
        return theirs
    work = Merge(_Shared(), host_wins=by_age(local, vault)[1] is vault)
    theirs, old = _cleaned(theirs, _base(base))
    return Outgoing(content=_written(theirs, work.node((), old, theirs.root, ours.root)), clashes=_named(work))


def incoming(
    local: Side | None, base: bytes | None, vault: Side, approved: AbstractSet[str] = frozenset()
) -> Incoming | Invalid:
    """What the vault's newest version makes of this device's `settings.json` (None: there is no file).

    `base`: what was common to both; None if it is not known. `approved`: digests of pending changes that the user has
    agreed to. Invalid, and nothing to write, if a side is no JSON object.
    """
    ours = _object(local.content) if local is not None else None
    theirs = _object(vault.content)
    if isinstance(ours, Invalid):
        return ours
    if isinstance(theirs, Invalid):
        return theirs
    policy = _Applied(approved)
    host_wins = local is not None and by_age(local, vault)[1] is local
    work = Merge(policy, host_wins=host_wins)
    mine = ours.root if ours is not None else None
    theirs, old = _cleaned(theirs, _base(base))
    host = ours or theirs
    root = work.node((), old, mine, theirs.root)
    return Incoming(
        content=_written(host, root),
        base=_written(host, _clean(root)),
        pending=tuple(pending for _, pending in sorted(policy.pending, key=lambda entry: entry[0])),
        clashes=_named(work),
    )


class _Root(NamedTuple):
    """A document whose value is an object."""

    before: str
    root: Object
    after: str


@lru_cache(maxsize=4)  # the same few contents are looked at several times in a row
def _object(content: bytes) -> _Root | Invalid:
    tree = parse(content)
    if isinstance(tree, Invalid):
        return tree
    if not isinstance(tree.root, Object):
        return Invalid("it is no JSON object")
    return _Root(tree.before, tree.root, tree.after)


def _cleaned(tree: _Root, base: Object | None) -> tuple[_Root, Object | None]:
    """A version of the vault's without what stays on a device, which an older release may have published; the base.

    What is taken out was not deleted by anybody. So if there is something, the base counts as not known.
    """
    clean = _clean(tree.root) or Object((), "")
    return tree._replace(root=clean), base if meaning(clean) == meaning(tree.root) else None


def _clean(root: Node | None) -> Object | None:
    """A file's value without what stays on its device; None if nothing is left of it."""
    clean = Merge(_Shared(), host_wins=False).node((), None, None, root)
    return clean if isinstance(clean, Object) else None


def _base(content: bytes | None) -> Object | None:
    tree = _object(content) if content is not None else None
    return tree.root if isinstance(tree, _Root) else None


def _written(host: _Root, root: Node | None) -> bytes:
    return document(Document(host.before, Object((), "") if root is None else root, host.after))


def _named(work: Merge) -> tuple[str, ...]:
    return tuple(sorted(_dotted(path) for path in work.clashes))


def _dotted(path: Path) -> str:
    return ".".join(path).encode(errors="replace").decode()  # a key may be half a surrogate pair
