"""A model of 2 to 4 devices with nothing but `core.model` and `core.reconcile`: whatever they do in whatever order,
they come to rest alike, and nothing that somebody wrote is gone unless somebody who had seen it replaced it.

A content is its rows joined by "|" and serves as its own hash, so it can be read off a failing example.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_syncd.core.model import Base, FileClass, Kind, Local, Record, Vector, covers, heads, join
from claude_syncd.core.reconcile import (
    EVICTABLE,
    MERGEABLE,
    Action,
    Outcome,
    Relation,
    conflict_path,
    meanwhile,
    reconcile,
    sides,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = {
    "tree/a.md": FileClass.TEXT,
    "tree/b": FileClass.OTHER,
    "tree/s.jsonl": FileClass.TRANSCRIPT,
    "tree/t": FileClass.SIDE,
    "tree/h": FileClass.HISTORY,
}
MOST = 5
"""Devices, with the cloned ones."""
ROUNDS = 5
"""Rounds of every device in turn within which all must be at rest."""
Step = tuple[str, int, str, int]
"""What, by which device, to which path, and a small number for what else it takes."""
PUBLISHED = {Action.UPLOAD, Action.DELETE}
INCOMING = {Action.DOWNLOAD, Action.REMOVE}


def class_of(path: str) -> FileClass:
    return FileClass.CONFLICT if path.startswith("conflicts/") else CLASSES[path]


def is_prefix(one: str, other: str) -> bool:
    return other == one or other.startswith(one + "|")


def is_in(path: str, content: str, other: str) -> bool:
    """Whether nothing of a content is missing where the other one is."""
    if class_of(path) is FileClass.HISTORY:
        return {*content.split("|")} <= {*other.split("|")}
    return content == other or (class_of(path) is FileClass.TRANSCRIPT and is_prefix(content, other))


def relation_of(path: str, ours: str, theirs: str) -> Relation:
    if class_of(path) is FileClass.HISTORY:
        return Relation.LOCAL_IS_PREFIX if is_in(path, ours, theirs) else Relation.REMOTE_IS_PREFIX
    if is_prefix(ours, theirs):
        return Relation.LOCAL_IS_PREFIX
    return Relation.REMOTE_IS_PREFIX if is_prefix(theirs, ours) else Relation.DIVERGED


def union(ours: str, theirs: str) -> str:
    return "|".join(sorted({*ours.split("|"), *theirs.split("|")}))


@dataclass
class Vault:
    """Log entries by device. Everything ever published is in it: that is the history."""

    log: dict[str, list[list[Record]]] = field(default_factory=dict)

    def published(self) -> list[Record]:
        return [r for entries in self.log.values() for entry in entries for r in entry]


@dataclass
class Device:
    """One installation: its disk, its state, and what it has polled."""

    vault: Vault
    me: str
    disk: dict[str, Local] = field(default_factory=dict)
    bases: dict[str, Base] = field(default_factory=dict)
    newest: dict[str, dict[str, Record]] = field(default_factory=dict)
    polled: dict[str, int] = field(default_factory=dict)
    former: dict[str, int] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    new_id: Callable[[], str] = lambda: "unused"

    def poll(self) -> None:
        for device in set(self.vault.log) - {self.me}:
            self.read(device)

    def read(self, device: str) -> None:
        entries = self.vault.log.setdefault(device, [])
        for entry in entries[self.polled.get(device, 0) :]:
            self.integrate(entry)
        self.polled[device] = len(entries)

    def integrate(self, entry: list[Record]) -> None:
        for record in entry:
            self.newest.setdefault(record.path, {})[record.device] = record

    def lose_state(self) -> None:
        """As from a lost database."""
        self.bases, self.newest, self.polled = {}, {}, {}
        self.read(self.me)  # its own area is read at start

    def take_new_id(self) -> None:
        """Another machine writes under this device's id."""
        self.former = {**self.former, self.me: self.polled.get(self.me, 0)}
        self.me = self.new_id()

    def clone(self) -> Device:
        """A copy of its disk in another machine."""
        return replace(
            self,
            disk=dict(self.disk),
            bases=dict(self.bases),
            newest={path: dict(records) for path, records in self.newest.items()},
            polled=dict(self.polled),
            live=set(),
        )

    def outcome(self, path: str) -> Outcome:
        local = self.disk.get(path)
        known = heads(list(self.newest.get(path, {}).values()))

        def ask(path: str, local: Local | None, relation: Relation = Relation.UNKNOWN) -> Outcome:
            return reconcile(
                me=self.me,
                file_class=class_of(path),
                base=self.bases.get(path),
                local=local,
                current=known,
                former=self.former,
                relation=relation,
            )

        outcome = ask(path, local)
        if path in self.live and outcome.action in INCOMING | {Action.COMPARE}:
            own = meanwhile(me=self.me, base=self.bases.get(path), local=local, current=known)
            return own if own is not None else Outcome(action=Action.NOTHING)
        if outcome.action is Action.COMPARE:
            assert local is not None
            assert outcome.winner is not None
            if class_of(path) is FileClass.HISTORY:
                self.merge(path, local, outcome.winner)
            local = self.disk[path]
            outcome = ask(path, local)
            if outcome.action is Action.COMPARE:
                assert outcome.winner is not None
                outcome = ask(path, local, relation_of(path, local.sha256, outcome.winner.sha256))
            assert outcome.action is not Action.COMPARE
        return outcome

    def merge(self, path: str, local: Local, winner: Record) -> None:
        """What both have takes the local file's place, and is a local change that descends from both."""
        if is_in(path, local.sha256, winner.sha256) or is_in(path, winner.sha256, local.sha256):
            return
        both = union(local.sha256, winner.sha256)
        had = self.bases[path].vector if path in self.bases else {}
        own = self.newest.get(path, {}).get(self.me)
        vector = join(had, winner.vector, own.vector if own is not None else {})
        newer = local if (local.mtime_ns, local.sha256) > (winner.mtime_ns, winner.sha256) else winner
        mtime_ns = max(local.mtime_ns, winner.mtime_ns)
        self.disk[path] = Local(size=len(both), sha256=both, mtime_ns=mtime_ns, mode=newer.mode)
        self.bases[path] = Base(
            kind=Kind.FILE,
            vector=vector,
            size=winner.size,
            mtime_ns=winner.mtime_ns,
            mode=winner.mode,
            sha256=winner.sha256,
        )

    def plan(self) -> dict[str, Outcome]:
        paths = sorted({*self.disk, *self.bases, *self.newest})
        plan = {path: self.outcome(path) for path in paths}
        return {p: o for p, o in plan.items() if o.action is not Action.NOTHING or o.withdraw is not None}

    def step(self, *, pull: bool, push: bool, only: set[str] | None = None) -> bool:
        """Plan and act once, in the engine's order; with `only` cut off after these paths. Whether there was work."""
        plan = {p: o for p, o in self.plan().items() if only is None or p in only}
        waiting = {p: o for p, o in plan.items() if self.has_to_keep(p, o)}
        if pull:
            for path, outcome in waiting.items():
                self.keep(path, outcome)
                del plan[path]
        # A losing side is published under its new name before it is replaced.
        self.push({p: o for p, o in plan.items() if o.withdraw and o.action not in PUBLISHED and p not in waiting})
        for path, outcome in plan.items():
            if outcome.action in INCOMING and pull:
                self.apply(path, outcome)
            elif outcome.action in {Action.ADOPT, Action.EVICT}:
                self.rebase(path, outcome)
        if push:
            self.push({p: o for p, o in plan.items() if o.action in PUBLISHED})
        return bool(plan or waiting)

    def has_to_keep(self, path: str, outcome: Outcome) -> bool:
        """Whether a losing side of a former id is not in the vault under its new name yet."""
        lost = outcome.withdraw
        if lost is None or lost.device == self.me or not outcome.keep_withdrawn:
            return False
        return not any(h.kind is Kind.FILE for h in self.heads(conflict_path(path, lost.sha256)))

    def keep(self, path: str, outcome: Outcome) -> None:
        """Fetch it to where kept sides lie; from there it is published like any file."""
        lost = outcome.withdraw
        assert lost is not None
        kept = conflict_path(path, lost.sha256)
        content = Local(size=lost.size, sha256=lost.sha256, mtime_ns=lost.mtime_ns, mode=lost.mode)
        self.keep_aside(kept, content)

    def keep_aside(self, kept: str, content: Local) -> None:
        self.disk.setdefault(kept, content)
        known = self.heads(kept)
        if known and not any(h.kind is Kind.FILE for h in known):
            # An earlier conflict of the same contents has ended; this one has begun after that.
            self.bases[kept] = Base(kind=Kind.TOMBSTONE, vector=join(*(h.vector for h in known)))

    def heads(self, path: str) -> list[Record]:
        return heads(list(self.newest.get(path, {}).values()))

    def sync(self) -> bool:
        if len(self.vault.log.get(self.me, [])) > self.polled.get(self.me, 0):  # looked for now and then
            self.take_new_id()
        self.poll()
        worked = self.step(pull=True, push=True)
        for _ in range(3):  # what was published or kept aside makes work of its own
            self.step(pull=True, push=True)
        return worked

    def apply(self, path: str, outcome: Outcome) -> None:
        winner = outcome.winner
        assert winner is not None
        if outcome.keep_local:
            local = self.disk[path]
            self.keep_aside(conflict_path(path, local.sha256), local)
        if winner.kind is Kind.FILE:
            self.disk[path] = Local(size=winner.size, sha256=winner.sha256, mtime_ns=winner.mtime_ns, mode=winner.mode)
        else:
            self.disk.pop(path, None)
        self.rebase(path, outcome)

    def rebase(self, path: str, outcome: Outcome) -> None:
        winner = outcome.winner
        assert winner is not None
        self.bases[path] = Base(
            kind=winner.kind,
            vector=outcome.vector,
            size=winner.size,
            mtime_ns=winner.mtime_ns,
            mode=winner.mode,
            sha256=winner.sha256,
            evicted=winner.kind is Kind.FILE and path not in self.disk,
        )

    def push(self, plan: dict[str, Outcome]) -> None:
        """One log entry."""
        entries = self.vault.log.setdefault(self.me, [])
        seq = self.polled.get(self.me, 0) + 1
        if plan and len(entries) >= seq:  # its name is taken: nothing goes up, and all is planned anew
            self.take_new_id()
            return
        entry: dict[str, Record] = {}
        for path, outcome in plan.items():
            own = self.newest.get(path, {}).get(self.me)
            before = own.vector if own is not None else {}
            if outcome.action in PUBLISHED:
                vector = join(outcome.vector, before, {self.me: seq})
                record = self.record(path, seq, vector, self.disk.get(path))
                entry[path] = record
                self.bases[path] = Base(
                    kind=record.kind,
                    vector=record.vector,
                    size=record.size,
                    mtime_ns=record.mtime_ns,
                    mode=record.mode,
                    sha256=record.sha256,
                )
            lost = outcome.withdraw
            if lost is None:
                continue
            vector = join(lost.vector, before, {self.me: seq})
            if outcome.affirm is not None:
                entry[path] = msgspec.structs.replace(outcome.affirm, seq=seq, vector=vector)
            elif path not in entry:
                entry[path] = Record(path=path, kind=Kind.WITHDRAWN, device=self.me, seq=seq, vector=vector)
            kept = conflict_path(path, lost.sha256)
            known = self.heads(kept)
            if (
                outcome.keep_withdrawn
                and lost.device == self.me
                and kept not in entry
                and not any(h.kind is Kind.FILE for h in known)
            ):
                own_kept = [r for r in self.newest.get(kept, {}).values() if r.device == self.me or r in known]
                vector = join({self.me: seq}, *(r.vector for r in own_kept))
                entry[kept] = msgspec.structs.replace(lost, path=kept, seq=seq, vector=vector)
        if entry:
            entries.append(list(entry.values()))
            self.read(self.me)

    def record(self, path: str, seq: int, vector: Vector, local: Local | None) -> Record:
        if local is None:
            # Later than any edit, and still it beats none.
            return Record(path=path, kind=Kind.TOMBSTONE, device=self.me, seq=seq, vector=vector, mtime_ns=9)
        return Record(
            path=path,
            kind=Kind.FILE,
            device=self.me,
            seq=seq,
            vector=vector,
            size=local.size,
            mtime_ns=local.mtime_ns,
            mode=local.mode,
            sha256=local.sha256,
        )


class World:
    """The devices, and what their users did."""

    def __init__(self, count: int) -> None:
        self.vault = Vault()
        self.words = itertools.count()
        self.ids = itertools.count()
        self.devices = [Device(self.vault, self.new_id(), new_id=self.new_id) for _ in range(count)]
        self.written: dict[str, str] = {}  # content -> path
        self.replaced: set[str] = set()  # contents that a user who had them replaced or deleted
        self.vanished: dict[tuple[int, str], str] = {}

    def new_id(self) -> str:
        return f"device{next(self.ids)}"

    def clone(self, device: Device) -> None:
        if len(self.devices) < MOST:
            made = device.clone()
            self.devices.append(made)
            self.vanished |= {(id(made), p): c for (i, p), c in self.vanished.items() if i == id(device)}

    def write(self, device: Device, path: str, mtime: int, *, append: bool) -> None:
        old = device.disk.get(path)
        word = f"w{next(self.words)}"
        content = f"{old.sha256}|{word}" if append and old is not None else word
        had = old.sha256 if old is not None else self.vanished.get((id(device), path))
        if had is not None:
            self.replaced.add(had)
        mode = old.mode if old is not None else 0o644
        device.disk[path] = Local(size=len(content), sha256=content, mtime_ns=mtime, mode=mode)
        self.written[content] = path

    def chmod(self, device: Device, path: str) -> None:
        old = device.disk.get(path)
        if old is not None:
            device.disk[path] = msgspec.structs.replace(old, mode=old.mode ^ 0o111)

    def delete(self, device: Device, path: str) -> None:
        old = device.disk.pop(path, None)
        if old is None:
            return
        in_vault = any(r.sha256 == old.sha256 and r.path == path for r in self.vault.published())
        # A session that vanishes is not deleted; before it was ever pushed there is nothing to keep.
        if class_of(path) not in EVICTABLE or not in_vault:
            self.replaced.add(old.sha256)
        self.vanished[id(device), path] = old.sha256

    def resolve(self, device: Device, at: int) -> None:
        """The user is done with a kept side."""
        kept = sorted(path for path in device.disk if path.startswith("conflicts/"))
        if kept:
            self.delete(device, kept[at % len(kept)])

    def settle(self) -> int:
        """Rounds of all devices until none has anything to do, when no session goes on any more."""
        for device in self.devices:
            device.live.clear()
        for number in range(ROUNDS):
            worked = [device.sync() for device in self.devices]
            if not any(worked):
                return number
        pending = {device.me: device.plan() for device in self.devices}
        raise AssertionError(f"no rest after {ROUNDS} rounds: {pending}")

    def tree(self, device: Device) -> dict[str, tuple[str, int]]:
        """What is on its disk, or evicted from it."""
        evicted = {p: (b.sha256, b.mode) for p, b in device.bases.items() if b.evicted}
        return evicted | {p: (f.sha256, f.mode) for p, f in device.disk.items()}

    def check(self) -> None:
        first = self.tree(self.devices[0])
        for device in self.devices[1:]:
            assert self.tree(device) == first
        visible = {content for content, _ in first.values()}
        for path in self.devices[0].newest:
            assert len(sides(self.devices[0].heads(path))) <= 1, f"{path} has more than one head"
        for content, path in self.written.items():
            if content in self.replaced:
                continue
            # A merge that somebody replaced had this in it.
            if class_of(path) is FileClass.HISTORY and any(is_in(path, content, other) for other in self.replaced):
                continue
            assert any(is_in(path, content, other) for other in visible), f"{content!r} of {path} is lost"


def steps(kinds: list[str]) -> st.SearchStrategy[list[Step]]:
    """What the devices do, all to the same one or two files, so that it matters to each other."""
    some = st.lists(st.sampled_from(sorted(CLASSES)), min_size=1, max_size=2)
    return some.flatmap(
        lambda paths: st.lists(
            st.tuples(st.sampled_from(kinds), st.integers(0, 3), st.sampled_from(paths), st.integers(1, 4)),
            max_size=40,
        )
    )


def run(world: World, taken: list[Step]) -> None:
    for step, number, path, some in taken:
        device = world.devices[number % len(world.devices)]
        match step:
            case "write" | "append":
                world.write(device, path, some, append=step == "append")
            case "delete":
                world.delete(device, path)
            case "chmod":
                world.chmod(device, path)
            case "resolve":
                world.resolve(device, some)
            case "open":  # a session that goes on here: nothing replaces it
                if class_of(path) in EVICTABLE:
                    device.live.add(path)
            case "close":
                device.live.discard(path)
            case "sync":
                device.sync()
            case "poll":
                device.poll()
            case "pull" | "push":
                device.step(pull=step == "pull", push=step == "push")
            case "cut":  # killed in the middle of a round
                device.poll()
                device.step(pull=some != 2, push=some != 3, only={path})
            case "new id":
                device.take_new_id()
            case "clone":
                world.clone(device)
            case "restart":
                device.read(device.me)
            case _:
                device.lose_state()


EVERYTHING = ["write", "append", "delete", "chmod", "resolve", "sync", "sync", "poll", "pull", "push", "cut", "lose"]
CHANGING = [*EVERYTHING, "new id", "clone", "restart"]
LIVE = [*CHANGING, "open", "open", "close", "append"]
patient = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(count=st.integers(2, 4), taken=st.one_of(steps(EVERYTHING), steps(CHANGING), steps(LIVE)))
def test_devices_come_to_rest_alike_and_lose_nothing(count: int, taken: list[Step]) -> None:
    world = World(count)
    run(world, taken)
    world.settle()
    world.check()
    published = world.vault.published()
    world.settle()
    assert world.vault.published() == published


@patient
@given(count=st.integers(2, 4), taken=steps(["write", "append", "chmod", "delete"]))
def test_devices_used_one_after_the_other_never_conflict(count: int, taken: list[Step]) -> None:
    world = World(count)
    for step, number, path, some in taken:
        device = world.devices[number % count]
        device.sync()
        base = device.bases.get(path)
        if base is not None and base.evicted and step != "delete":
            continue  # a new file under the name of an evicted one was not made by somebody who had seen that
        run(world, [(step, number, path, some)])
        expected = world.tree(device)
        if step == "delete" and class_of(path) not in EVICTABLE:
            expected.pop(path, None)
        device.sync()
        assert {p: f for p, f in world.tree(device).items() if p in expected} == expected
    world.settle()
    assert not any(path.startswith("conflicts/") for path in world.tree(world.devices[0]))
    world.check()


def test_what_a_former_id_lost_stays_lost_when_its_device_writes_again() -> None:
    world = World(2)
    ours, theirs = world.devices
    world.write(ours, "tree/a.md", 2, append=False)
    ours.step(pull=False, push=True)
    world.write(theirs, "tree/a.md", 4, append=False)
    theirs.step(pull=False, push=True)
    ours.take_new_id()
    world.settle()
    assert ours.disk["tree/a.md"].sha256 == "w1"
    # Older by its clock than the side that has lost: only the vectors tell that it is newer.
    world.write(ours, "tree/a.md", 1, append=False)
    world.settle()
    assert theirs.disk["tree/a.md"].sha256 == "w2"
    world.check()


def test_a_winner_is_not_withdrawn_for_the_sake_of_what_its_device_lost_before() -> None:
    world = World(2)
    ours, _ = world.devices
    world.write(ours, "tree/s.jsonl", 2, append=False)
    ours.step(pull=False, push=True)
    ours.take_new_id()
    ours.lose_state()
    world.write(ours, "tree/s.jsonl", 4, append=False)
    ours.step(pull=False, push=True)
    world.delete(ours, "tree/s.jsonl")  # evicted: nothing here could publish it again
    world.settle()
    world.check()
    assert [h.sha256 for h in ours.heads("tree/s.jsonl")] == ["w1"]
    assert conflict_path("tree/s.jsonl", "w0") in world.tree(ours)


# Every small combination.

ME, OTHER = "a", "b"


def file(content: str, mtime: int, mode: int = 0o644) -> Local:
    return Local(size=1, sha256=content, mtime_ns=mtime, mode=mode)


def some_heads() -> list[list[Record]]:
    """None, one or two concurrent heads, by this device and by another one."""
    versions = [(Kind.FILE, "x", 1), (Kind.FILE, "x", 2), (Kind.FILE, "y", 1), (Kind.FILE, "y", 2)]
    versions += [(Kind.TOMBSTONE, "", 9), (Kind.WITHDRAWN, "", 0)]

    def by(device: str, version: tuple[Kind, str, int]) -> Record:
        kind, content, mtime = version
        mode = 0o644 if kind is Kind.FILE else 0
        return Record(
            path="tree/p",
            kind=kind,
            device=device,
            seq=2,
            vector={device: 2},
            size=len(content),
            sha256=content,
            mtime_ns=mtime,
            mode=mode,
        )

    mine = [by(ME, v) for v in versions]
    theirs = [by(OTHER, v) for v in versions]
    return [[], *([m] for m in mine), *([t] for t in theirs), *([m, t] for m in mine for t in theirs)]


def some_bases() -> list[Base | None]:
    vectors: list[Vector] = [{}, {ME: 1}, {OTHER: 1}, {ME: 2}, {OTHER: 2}, {ME: 2, OTHER: 2}]
    bases: list[Base | None] = [None]
    for vector in vectors:
        bases.append(Base(kind=Kind.TOMBSTONE, vector=vector))
        for content in "xy":
            kept = Base(kind=Kind.FILE, vector=vector, size=1, sha256=content, mtime_ns=1, mode=0o644)
            bases += [kept, msgspec.structs.replace(kept, evicted=True)]
    return bases


LOCALS = [None, file("x", 1), file("x", 1, 0o755), file("y", 2), file("z", 1), file("z", 3)]
RELATIONS = dict.fromkeys(MERGEABLE, tuple(Relation))


@pytest.mark.parametrize("file_class", FileClass)
def test_every_combination_has_one_outcome_that_destroys_nothing(file_class: FileClass) -> None:
    for known, base, local in itertools.product(some_heads(), some_bases(), LOCALS):
        for relation in RELATIONS.get(file_class, (Relation.UNKNOWN,)):

            def ask(
                base: Base | None = base,
                local: Local | None = local,
                known: list[Record] = known,
                relation: Relation = relation,
            ) -> Outcome:
                return reconcile(me=ME, file_class=file_class, base=base, local=local, current=known, relation=relation)

            outcome = ask()
            assert outcome == ask(known=known[::-1])
            check_outcome(outcome, file_class, base, local, known, relation)
            if outcome.action in INCOMING | {Action.ADOPT, Action.EVICT}:
                after = settled(outcome, local)
                assert ask(base=after[0], local=after[1]).action is Action.NOTHING


def test_what_is_published_of_a_parked_file_supersedes_only_what_it_descends_from() -> None:
    for known, base, local in itertools.product(some_heads(), some_bases(), LOCALS):
        outcome = meanwhile(me=ME, base=base, local=local, current=known)
        had = base.vector if base is not None and not base.evicted else {}
        if outcome is None:
            in_vault = local is None or any((h.sha256, h.mode) == (local.sha256, local.mode) for h in known)
            as_it_was = (
                base is not None and local is not None and (base.sha256, base.mode) == (local.sha256, local.mode)
            )
            assert in_vault or as_it_was or any(h.device == ME and not covers(had, h) for h in known)
            continue
        assert outcome.action is Action.UPLOAD
        assert local is not None
        new = Record(
            path="tree/p",
            kind=Kind.FILE,
            device=ME,
            seq=3,
            vector=join(outcome.vector, {ME: 3}),
            size=local.size,
            sha256=local.sha256,
            mtime_ns=local.mtime_ns,
            mode=local.mode,
        )
        after = heads([*(h for h in known if h.device != ME), new])
        assert new in after
        # Nobody's version goes unless this content came from it.
        assert all(h in after or covers(had, h) for h in known)


def check_outcome(
    outcome: Outcome,
    file_class: FileClass,
    base: Base | None,
    local: Local | None,
    known: list[Record],
    relation: Relation,
) -> None:
    action, winner = outcome.action, outcome.winner
    if action in INCOMING | {Action.ADOPT, Action.EVICT, Action.COMPARE}:
        assert winner is not None
        assert winner.kind is not Kind.WITHDRAWN
    if action is Action.COMPARE:
        assert file_class in MERGEABLE
        assert relation is Relation.UNKNOWN
        assert local is not None
    if action is Action.UPLOAD:
        assert local is not None
    if action in {Action.DELETE, Action.EVICT}:
        assert local is None
    if action is Action.EVICT:
        assert file_class in EVICTABLE
    if action is Action.DELETE:  # and so a session's vanishing never makes a tombstone
        assert file_class not in EVICTABLE or (base is not None and base.kind is Kind.TOMBSTONE)
    if outcome.withdraw is not None:
        assert outcome.withdraw.device == ME
        assert outcome.withdraw in known
    if action in INCOMING and local is not None:
        assert winner is not None
        in_vault = any(h.kind is Kind.FILE and h.sha256 == local.sha256 for h in known)
        as_it_was = base is not None and base.kind is Kind.FILE and base.sha256 == local.sha256
        assert (
            in_vault
            or as_it_was
            or outcome.keep_local
            or relation is Relation.LOCAL_IS_PREFIX
            or file_class is FileClass.CONFLICT
        )
    if outcome.keep_withdrawn:
        assert outcome.withdraw is not None
        assert outcome.withdraw.kind is Kind.FILE


def settled(outcome: Outcome, local: Local | None) -> tuple[Base, Local | None]:
    """Base and file after an outcome that publishes nothing."""
    winner = outcome.winner
    assert winner is not None
    if outcome.action in INCOMING:
        local = file(winner.sha256, winner.mtime_ns, winner.mode) if winner.kind is Kind.FILE else None
    evicted = winner.kind is Kind.FILE and local is None
    base = Base(
        kind=winner.kind,
        vector=outcome.vector,
        size=winner.size,
        sha256=winner.sha256,
        mtime_ns=winner.mtime_ns,
        mode=winner.mode,
        evicted=evicted,
    )
    return base, local
