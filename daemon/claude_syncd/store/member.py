"""One of the stores that together hold a vault: what is known of it, and what of that outlives the process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from claude_syncd.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claude_syncd.errors import StoreError, SyncError
    from claude_syncd.store.base import Store

MAX_NAMES: Final = 1_000_000
_TOLD: Final = 3
_GAVE: Final = 1024  # more objects than anybody reads at once
SEE: Final = "see docs/operations.md, More than one store"

StateWord = Literal["ok", "behind", "unreachable", "disagrees"]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one store is. `behind`: objects that it lacks. `problem`: what is wrong with it, for the user, and `hint`
    what to do; empty where nothing is.
    """

    url: str
    state: StateWord = "ok"
    behind: int = 0
    problem: str = ""
    hint: str = ""


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one store between two runs.

    `missed`: names whose newest change it has not got, and whether that was a deletion. `furthest`: the newest entry
    of each device's log that it has served.
    """

    missed: Annotated[dict[_Name, bool], msgspec.Meta(max_length=MAX_NAMES)] = {}
    furthest: Annotated[dict[_Name, _Count], msgspec.Meta(max_length=65_536)] = {}
    foreign: bool = False
    state: StateWord = "ok"
    behind: _Count = 0
    problem: _Text = ""
    hint: _Text = ""


class _Notes(msgspec.Struct, frozen=True):
    stores: Annotated[dict[_Text, Remembered], msgspec.Meta(max_length=64)] = {}


_decoder = msgspec.json.Decoder(_Notes)


@dataclass(slots=True, eq=False)
class Member:
    """One store among several.

    `down`: the error that it last answered with; None while it is up. `missed`, `furthest`: see Remembered.
    `lacking`: immutable objects that it is known not to have. `odd`: what it serves that can't be, a sentence each.
    `doubted`: objects of which it gave what is not authentic. `foreign`: it holds another vault, and is
    left alone. `owed`: bytes under way to it that nobody waits for.
    """

    store: Store
    missed: dict[str, bool] = field(default_factory=dict)
    furthest: dict[str, int] = field(default_factory=dict)
    down: StoreError | None = None
    lacking: set[str] = field(default_factory=set)
    odd: dict[str, str] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    foreign: bool = False
    owed: int = 0
    known: bool = False
    before: Remembered = field(default_factory=Remembered)

    @property
    def address(self) -> str:
        """Where it is."""
        return self.store.address

    def reaches(self, name: str) -> None:
        """Note that it has the object `name`."""
        self.lacking.discard(name)
        place = log_place(name)
        if place is not None and place[1] > self.furthest.get(place[0], 0):
            self.furthest[place[0]] = place[1]

    def damaged(self, name: str) -> None:
        """Note that what it has of the object `name` is not authentic: others are asked first from now on."""
        self.doubted.add(name)
        self.odd[name] = _damaged(name)

    def whole(self, name: str) -> None:
        """Note that its object `name` was verified to the last byte."""
        self.doubted.discard(name)
        if self.odd.get(name) == _damaged(name):
            del self.odd[name]

    def standing(self) -> Standing:
        """How it is; as it was in the last run until something is known in this one."""
        behind = len(self.lacking | self.missed.keys())
        odd = ["it holds another vault, and is left alone"] if self.foreign else list(self.odd.values())
        if odd:
            what = "; ".join(odd[:_TOLD])
            return Standing(self.address, "disagrees", behind, f"{self.address}: {what}", SEE)
        if self.down is not None:
            problem = f"{self.address} is out of reach: {self.down}; it is brought up to date once it answers"
            return Standing(self.address, "unreachable", behind or self.before.behind, problem, self.down.hint)
        if not self.known:
            last, behind = self.before, max(behind, self.before.behind)
            state = "behind" if behind and last.state == "ok" else last.state
            return Standing(self.address, state, behind, last.problem, last.hint)
        return Standing(self.address, "behind" if behind else "ok", behind)


def _damaged(name: str) -> str:
    return f"its {name} is damaged"


class Givers:
    """Who gave which object last, so that who gave one that is not authentic is known when that is found out."""

    def __init__(self) -> None:
        self._gave: OrderedDict[str, Member] = OrderedDict()

    def note(self, name: str, member: Member) -> None:
        """It gave the object `name` just now."""
        self._gave[name] = member
        self._gave.move_to_end(name)
        while len(self._gave) > _GAVE:
            self._gave.popitem(last=False)

    def doubt(self, name: str, error: SyncError, members: Sequence[Member]) -> bool:
        """What came of this object last can't be read: who gave it is to be asked last for it from now on, and has it
        in its standing if it is not authentic. Whether another of `members` may have the object.
        """
        giver = self._gave.pop(name, None)
        if giver is None:
            return False
        again = name in giver.doubted
        if isinstance(error, IntegrityError):
            giver.damaged(name)
        else:  # of another version, or of a key that this device has not got yet: damage only if another has it whole
            giver.doubted.add(name)
        if not again and any(name not in one.doubted | one.missed.keys() for one in members):
            return True
        for one in members:
            one.doubted.discard(name)  # the next time all are asked anew: one may be mended meanwhile
        return False


def log_place(name: str) -> tuple[str, int] | None:
    """Device and seq of a log entry's or checkpoint's name; None for any other name."""
    parts = name.split("/")
    if len(parts) == 4 and parts[0] == "devices" and parts[2] in {"log", "checkpoints"} and parts[3].isdecimal():
        return parts[1], int(parts[3])
    return None


def members_of(stores: Iterable[Store], notes: bytes | None) -> tuple[Member, ...]:
    """The stores with what was noted about them; notes that can't be read say nothing."""
    known: dict[str, Remembered] = {}
    if notes:
        try:
            known = _decoder.decode(notes).stores
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            known = {}
    made = []
    for store in stores:
        before = known.get(store.address, Remembered())
        known_before = Member(store, dict(before.missed), dict(before.furthest), before=before)
        known_before.foreign = before.foreign
        made.append(known_before)
    return tuple(made)


def notes_of(members: Iterable[Member]) -> bytes:
    """What `members_of` takes the next time."""
    kept = {}
    for member in members:
        now = member.standing()
        kept[member.address] = Remembered(
            missed=dict(sorted(member.missed.items())),
            furthest=dict(sorted(member.furthest.items())),
            foreign=member.foreign,
            state=now.state,
            behind=now.behind,
            problem=now.problem[:4096],
            hint=now.hint[:4096],
        )
    return msgspec.json.encode(_Notes(kept))
