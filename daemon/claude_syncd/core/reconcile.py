"""The one decision: what to do about a path, given the base, the local file and the heads.

Pure and total: every combination has exactly one outcome. `status`, `diff`, `--dry-run`, push and pull all render it.

When two sides are concurrent the newer wins in the tree, on every device alike. Only the author of a losing side
acts on it: in one log entry it publishes that content under `conflicts/` and withdraws it from the path. So a
conflict costs no bytes, no device repeats another's work, and nothing disappears before its copy is in the vault.

A device is also the author of what it wrote under ids that it had before (`former`: id -> the last seq that was its
own). Those areas are not its own any more, so here it takes two steps: the content is published under `conflicts/`
like any file, and once it is there, a record of this device supersedes the losing side: a withdrawal, or, where this
device's own record is the winner, that one published again. For a newer record of a device takes the place of its
older one, and what the older one superseded must stay superseded: each joins the vector of the one before it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from claude_syncd.core.model import (
    Base,
    FileClass,
    Kind,
    Local,
    Record,
    Vector,
    base_of,
    covers,
    covers_all,
    heads,
    join,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVICTABLE = frozenset({FileClass.TRANSCRIPT, FileClass.SIDE})
MERGEABLE = frozenset({FileClass.TRANSCRIPT, FileClass.HISTORY, FileClass.SETTINGS, FileClass.TEXT})
"""When both sides changed the engine reads both and merges them, before it asks what to do."""


class Relation(StrEnum):
    """How the file on disk relates to the winning side; the engine reads both to find out.

    A merge of both that took the local file's place is a local change that descends from both; it is UNKNOWN again.
    A session that went on at both sides is forked first, and then one side has all that counts under its name.
    """

    UNKNOWN = "unknown"
    LOCAL_IS_PREFIX = "local-is-prefix"  # the winner has all that the local file has, or that counts of it
    REMOTE_IS_PREFIX = "remote-is-prefix"  # the other way round
    DIVERGED = "diverged"  # no merge: one of them is kept as a conflict


class Action(StrEnum):
    """What to do about one path."""

    NOTHING = "nothing"
    ADOPT = "adopt"  # the base moves to the winner, no byte moves
    UPLOAD = "upload"
    DOWNLOAD = "download"  # the winner replaces the local file
    DELETE = "delete"  # publish a tombstone
    REMOVE = "remove"  # apply a tombstone to the disk
    EVICT = "evict"  # gone here, kept in the vault
    COMPARE = "compare"  # read both sides, merge them if they can be, then ask again with the relation


_PUBLISHING = frozenset({Action.UPLOAD, Action.DELETE})


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about one path.

    `vector`: of the base after ADOPT, DOWNLOAD, REMOVE, EVICT; the ancestors of what UPLOAD and DELETE publish.
    `winner`: the record that ADOPT, DOWNLOAD, REMOVE, EVICT, COMPARE speak of.
    `keep_local`: before the local file is replaced its content becomes a conflict.
    `withdraw`: this device's own losing head, or one of an id that it had before; `keep_withdrawn`: its content
    becomes a conflict. `affirm`: this device's own winning head, which it publishes again to supersede `withdraw`.
    """

    action: Action
    vector: Vector = {}
    winner: Record | None = None
    keep_local: bool = False
    withdraw: Record | None = None
    keep_withdrawn: bool = False
    affirm: Record | None = None


def conflict_path(path: str, sha256: str) -> str:
    """Where the kept side of a conflict on `path` lies in the vault: the same on every device."""
    name = hashlib.sha256(f"{path}\0{sha256}".encode()).hexdigest()[:16]
    return f"conflicts/{name}/{path}"


def sides(versions: Sequence[Record]) -> list[Record]:
    """The heads with content of their own; those of equal content are one, with the join of their vectors
    and the newest mtime. Its dot is that of one of them.
    """
    groups: dict[tuple[Kind, str, int], list[Record]] = defaultdict(list)
    for head in versions:
        if head.kind is not Kind.WITHDRAWN:
            groups[_content(head)].append(head)
    return [
        msgspec.structs.replace(
            max(group, key=lambda r: (r.mtime_ns, r.device)),
            vector=join(*(r.vector for r in group)),
        )
        for group in groups.values()
    ]


def winning(candidates: Sequence[Record], file_class: FileClass) -> Record | None:
    """The side that every device puts into its tree: the newest file. A deletion never beats an edit, except of a
    kept conflict, which nobody edits and whose deletion means that it was resolved.
    """
    preferred = Kind.TOMBSTONE if file_class is FileClass.CONFLICT else Kind.FILE
    return max(candidates, key=lambda r: (r.kind is preferred, r.mtime_ns, r.sha256, r.mode), default=None)


def ancestor(local: Local, newest: Sequence[Record]) -> Base | None:
    """With a lost state: the superseded version that the local file still is. What came after it is no conflict."""
    current = heads(list(newest))
    for record in newest:
        if record not in current and record.kind is Kind.FILE and _content(record) == _content(local):
            return base_of(record, record.vector)
    return None


def reconcile(
    *,
    me: str,
    file_class: FileClass,
    base: Base | None,
    local: Local | None,
    current: Sequence[Record],
    former: Mapping[str, int] = MappingProxyType({}),
    relation: Relation = Relation.UNKNOWN,
    forgotten: Vector | None = None,
) -> Outcome:
    """Decide about one path. `current` are its heads (core.model.heads); `local` is None where there is no file;
    `former` are the ids that this device had before, with the seq of the last log entry that it wrote as each.
    `forgotten`: the user of this device has deleted for good what this covers; what it does not cover lives.
    """
    candidates = sides(current)
    winner = winning(candidates, file_class)
    if base is not None and base.evicted and local is not None and _content(local) != _content(base):
        base = None  # a new file under the name of what was evicted; whoever wrote it had not seen that
    if winner is None:
        return _nothing_in_vault(base, local)
    own = next((h for h in current if h.device == me and h.kind is not Kind.WITHDRAWN), None)
    if forgotten is not None and local is None and _all_covered(current, forgotten, winner):
        outcome = Outcome(action=Action.DELETE, vector=join(base.vector if base is not None else {}, forgotten))
    elif _unchanged(base, local):
        lost = own is not None and _content(own) != _content(winner)
        outcome = _local_unchanged(base, local, winner, file_class, relation, lost=lost)
    elif local is None:
        outcome = _local_deleted(base, winner, file_class, join(*(h.vector for h in current)))
    else:
        published = any(_content(side) == _content(local) for side in candidates)
        outcome = _local_changed(base, local, winner, file_class, relation, published=published)
    if outcome.action is Action.COMPARE:
        return outcome
    if own is not None:
        known = relation is Relation.LOCAL_IS_PREFIX and _has_all_of(base, local, own)
        outcome = _with_own(outcome, own, winner, local, file_class, in_winner=known)
    if outcome.withdraw is not None or outcome.action in _PUBLISHING:
        return outcome  # what is published comes first; what a former id left is seen again with it
    left = next((h for h in current if _is_left(h, former) and _content(h) != _content(winner)), None)
    if left is None:
        return outcome
    prefix = relation is Relation.LOCAL_IS_PREFIX and local is not None and _content(local) == _content(left)
    keep = _can_be_kept(left, file_class) and left.sha256 != winner.sha256 and not prefix
    return msgspec.structs.replace(outcome, withdraw=left, keep_withdrawn=keep, affirm=own)


def meanwhile(*, me: str, base: Base | None, local: Local | None, current: Sequence[Record]) -> Outcome | None:
    """What this device publishes of a file that is not to be replaced now: its content, beside what came in, so that
    it is in the vault and the others know. None where it is there already, or would replace something of this
    device's own that it does not descend from.
    """
    if local is None or _unchanged(base, local) or any(_content(head) == _content(local) for head in current):
        return None
    had = base.vector if base is not None and not base.evicted else {}
    if not all(covers(had, head) for head in current if head.device == me):
        return None
    return Outcome(action=Action.UPLOAD, vector=had)


def _with_own(
    outcome: Outcome, own: Record, winner: Record, local: Local | None, file_class: FileClass, *, in_winner: bool
) -> Outcome:
    """With this device's own head withdrawn where it has lost, or where what is published now takes its place
    without descending from it. `in_winner`: nothing that counts of it is missing in the winner.
    """
    beaten = _content(own) != _content(winner)
    publishes = outcome.action in _PUBLISHING
    if covers(outcome.vector, own) if publishes else not beaten:
        return outcome
    staying = {winner.sha256} if beaten else set()
    if publishes and local is not None:
        staying.add(local.sha256)
    keep = _can_be_kept(own, file_class) and own.sha256 not in staying and not in_winner
    return msgspec.structs.replace(outcome, withdraw=own, keep_withdrawn=keep)


def _has_all_of(base: Base | None, local: Local | None, own: Record) -> bool:
    """Whether the local file is this device's own version, or comes from it. A disk from a backup is older: what the
    winner has of that file says nothing about the version.
    """
    if local is None:
        return False
    return _content(local) == _content(own) or (base is not None and covers(base.vector, own))


def _all_covered(current: Sequence[Record], forgotten: Vector, winner: Record) -> bool:
    """Whether there is something to forget, and nothing that its user had not heard of."""
    return winner.kind is Kind.FILE and all(covers(forgotten, h) for h in current if h.kind is Kind.FILE)


def _is_left(head: Record, former: Mapping[str, int]) -> bool:
    """Whether this device wrote it under an id that it had before."""
    return head.kind is not Kind.WITHDRAWN and head.seq <= former.get(head.device, 0)


def _can_be_kept(side: Record, file_class: FileClass) -> bool:
    return side.kind is Kind.FILE and file_class is not FileClass.CONFLICT


def _nothing_in_vault(base: Base | None, local: Local | None) -> Outcome:
    if local is None:
        return Outcome(action=Action.NOTHING)
    return Outcome(action=Action.UPLOAD, vector=base.vector if base is not None else {})


def _local_unchanged(
    base: Base | None,
    local: Local | None,
    winner: Record,
    file_class: FileClass,
    relation: Relation,
    *,
    lost: bool,
) -> Outcome:
    had = base.vector if base is not None else {}
    if base is not None and _content(base) == _content(winner):
        if covers_all(had, winner.vector):
            return Outcome(action=Action.NOTHING)
        return Outcome(action=Action.ADOPT, vector=join(had, winner.vector), winner=winner)
    if base is not None and covers_all(had, winner.vector) and (local is not None or base.kind is Kind.TOMBSTONE):
        # What came after the winner is nowhere but here: whoever published it is no device of the vault any more.
        return Outcome(action=Action.UPLOAD if local is not None else Action.DELETE, vector=had)
    if winner.kind is Kind.TOMBSTONE:
        action = Action.REMOVE if local is not None else Action.ADOPT
        return Outcome(action=action, vector=winner.vector, winner=winner)
    # Merging published sides is for the author of the losing one; of a session everybody keeps the longer one at once.
    reads = file_class is FileClass.TRANSCRIPT or (lost and file_class in MERGEABLE)
    if local is not None and reads and not covers_all(winner.vector, had):
        if relation is Relation.UNKNOWN:
            return Outcome(action=Action.COMPARE, winner=winner)
        if relation is Relation.REMOTE_IS_PREFIX:
            return Outcome(action=Action.UPLOAD, vector=join(had, winner.vector))
    return Outcome(action=Action.DOWNLOAD, vector=winner.vector, winner=winner)


def _local_deleted(base: Base | None, winner: Record, file_class: FileClass, everything: Vector) -> Outcome:
    had = base.vector if base is not None else {}
    if winner.kind is Kind.TOMBSTONE:
        return Outcome(action=Action.ADOPT, vector=join(had, winner.vector), winner=winner)
    if file_class is FileClass.CONFLICT:
        return Outcome(action=Action.DELETE, vector=join(had, everything))
    no_news = base is not None and (_content(base) == _content(winner) or covers_all(had, winner.vector))
    if not no_news:
        return Outcome(action=Action.DOWNLOAD, vector=winner.vector, winner=winner)
    vector = join(had, winner.vector)
    if file_class in EVICTABLE:
        return Outcome(action=Action.EVICT, vector=vector, winner=winner)
    return Outcome(action=Action.DELETE, vector=vector)


def _local_changed(
    base: Base | None,
    local: Local,
    winner: Record,
    file_class: FileClass,
    relation: Relation,
    *,
    published: bool,
) -> Outcome:
    had = base.vector if base is not None else {}
    if _content(local) == _content(winner):
        return Outcome(action=Action.ADOPT, vector=winner.vector, winner=winner)
    if winner.kind is Kind.TOMBSTONE:
        ended = base is None or (base.kind is Kind.FILE and base.sha256 == local.sha256)
        if file_class is FileClass.CONFLICT and ended:
            return Outcome(action=Action.REMOVE, vector=winner.vector, winner=winner)
        return Outcome(action=Action.UPLOAD, vector=join(had, winner.vector))
    if base is not None and covers_all(had, winner.vector):
        return Outcome(action=Action.UPLOAD, vector=had)
    if local.sha256 == winner.sha256:  # only the mode differs, and a mode is not worth a conflict
        return Outcome(action=Action.DOWNLOAD, vector=winner.vector, winner=winner)
    if file_class in MERGEABLE:
        if relation is Relation.UNKNOWN:
            return Outcome(action=Action.COMPARE, winner=winner)
        if relation is Relation.LOCAL_IS_PREFIX:
            return Outcome(action=Action.DOWNLOAD, vector=winner.vector, winner=winner)
        if relation is Relation.REMOTE_IS_PREFIX:
            return Outcome(action=Action.UPLOAD, vector=join(had, winner.vector))
    if (local.mtime_ns, local.sha256, local.mode) > (
        winner.mtime_ns,
        winner.sha256,
        winner.mode,
    ) and not published:
        # Concurrent on purpose: the winner's author learns that it lost, and keeps its side.
        return Outcome(action=Action.UPLOAD, vector=had)
    return Outcome(action=Action.DOWNLOAD, vector=winner.vector, winner=winner, keep_local=not published)


def _unchanged(base: Base | None, local: Local | None) -> bool:
    if base is None:
        return local is None
    if local is None:
        return base.evicted or base.kind is Kind.TOMBSTONE
    return base.kind is Kind.FILE and not base.evicted and _content(base) == _content(local)


def _content(version: Record | Base | Local) -> tuple[Kind, str, int]:
    kind = Kind.FILE if isinstance(version, Local) else version.kind
    return (kind, version.sha256, version.mode)
