"""What one member of a mirror lacks, and where it comes from: decided from listings, without a store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_syncd.store.member import log_place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

HEADER: Final = "vault.json"
KEYS: Final = "keys/"
_AREAS: Final = "devices/"
_OBJECT: Final = re.compile(
    r"vault\.json|keys/[a-z0-9-]{1,64}\.age|roster/[0-9]{6}"
    r"|devices/[0-9a-f]{32}/(?:(?:log|checkpoints)/[0-9]{12}|packs/[0-9a-f]{64})"
)
_ORDER: Final = (HEADER, KEYS, "roster/")


@dataclass(frozen=True, slots=True)
class View:
    """One member that answered: the sizes of its objects by name, and what it is noted to have missed."""

    sizes: Mapping[str, int]
    missed: Mapping[str, bool]

    @property
    def emptied(self) -> bool:
        """Whether it has neither header nor keys: it is new, or has lost everything."""
        return HEADER not in self.sizes and not any(name.startswith(KEYS) for name in self.sizes)


@dataclass(frozen=True, slots=True)
class Step:
    """Make the member number `target` have `name` as the member `source` has it; `source` None: have it deleted."""

    name: str
    target: int
    source: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be done, in order; for each member the names that it lacks; and notes that have come true."""

    steps: tuple[Step, ...]
    lacking: tuple[frozenset[str], ...]
    settled: tuple[frozenset[str], ...]


def compare(views: Sequence[View], areas: Collection[str]) -> Comparison:
    """Compare the members that answered. `areas`: ids of the devices whose areas are this device's own.

    A name that a member has missed is copied from one that has not, or deleted as noted. Otherwise what one member has
    is copied to those that lack it, where it is this device's business: its own areas, the roster, a missing header,
    and the keys of a place that has none.
    """
    steps: list[Step] = []
    lacking: list[set[str]] = [set() for _ in views]
    settled: list[set[str]] = [set() for _ in views]
    everything = {name for view in views for name in view.sizes if is_object(name)}
    for name in sorted(everything.union(*(view.missed for view in views)), key=in_order):
        fresh = [number for number, view in enumerate(views) if name not in view.missed]
        source = next((number for number in fresh if name in views[number].sizes), None)
        for target, view in enumerate(views):
            deleted = view.missed.get(name)
            if deleted and source is None:
                if name in view.sizes:
                    steps.append(Step(name, target, None))
                else:
                    settled[target].add(name)
            elif deleted is not None and source is not None:
                steps.append(Step(name, target, source))
            elif deleted is None and source is not None and name not in view.sizes:
                lacking[target].add(name)
                if _own(name, areas) or (view.emptied and name.startswith(KEYS)):
                    steps.append(Step(name, target, source))
    return Comparison(tuple(steps), tuple(map(frozenset, lacking)), tuple(map(frozenset, settled)))


def resized(views: Sequence[View]) -> dict[str, list[int]]:
    """Names in areas under which members have objects of different sizes, with the members that have one. Two roster
    entries of one number are two devices that joined at the same moment: both are found by their areas.
    """
    sizes: dict[str, dict[int, int]] = {}
    for number, view in enumerate(views):
        for name, size in view.sizes.items():
            if name.startswith(_AREAS) and is_object(name) and name not in view.missed:
                sizes.setdefault(name, {})[number] = size
    return {name: list(found) for name, found in sizes.items() if len(set(found.values())) > 1}


def ends(view: View) -> dict[str, int]:
    """How far each device's log reaches, by its entries and checkpoints."""
    found: dict[str, int] = {}
    for name in view.sizes:
        place = log_place(name)
        if place is not None:
            found[place[0]] = max(place[1], found.get(place[0], 0))
    return found


def is_object(name: str) -> bool:
    """Whether a vault has objects of that name; others in the same place are none of our business."""
    return _OBJECT.fullmatch(name) is not None


def is_mutable(name: str) -> bool:
    """Whether what stands under the name may be overwritten."""
    return not name.startswith((_AREAS, "roster/"))


def in_order(name: str) -> tuple[int, str]:
    """A key to sort names by: what others refer to comes first, each log in order and last."""
    for number, prefix in enumerate(_ORDER):
        if name.startswith(prefix):
            return number, name
    return len(_ORDER) + ("/log/" in name), name


def _own(name: str, areas: Collection[str]) -> bool:
    if name.startswith(_AREAS):
        return name.split("/", 2)[1] in areas
    return not name.startswith(KEYS)
