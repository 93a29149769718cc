"""A run: a plan drawn from a seed, carried out step by step, and judged. A plan that fails is made smaller."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import sim_crash
from sim_check import check, rest
from sim_clock import SimLoop, run_in
from sim_device import Machine
from sim_store import Weather
from sim_users import ACTIONS
from sim_world import World

from claude_syncd.engine.round import Direction
from claude_syncd.local import claude_lock
from claude_syncd.local import device as device_file
from claude_syncd.vault.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_MACHINES = 5


class Step(NamedTuple):
    """What happens on which machine; `salt` is all that its chances come from."""

    kind: str
    machine: int
    salt: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run may meet."""

    steps: int = 60
    devices: int = 2
    faults: bool = False
    crashes: bool = False
    copies: bool = False  # clones, and restored backups
    conditional: bool = True
    looks_first: bool = False  # where the store ignores conditions, and `init` has noticed
    packs: bool = False  # small limits, so that pushes go in packs
    months: bool = False
    compaction: bool = False


@dataclass(frozen=True)
class Plan:
    """A seed for the weather, and what happens."""

    seed: int
    settings: Settings
    steps: tuple[Step, ...]

    def dumped(self) -> str:
        """As text, for a regression test."""
        return json.dumps({"seed": self.seed, "settings": asdict(self.settings), "steps": self.steps})


def loaded(text: str) -> Plan:
    """What `Plan.dumped` gave."""
    raw = json.loads(text)
    return Plan(raw["seed"], Settings(**raw["settings"]), tuple(Step(*step) for step in raw["steps"]))


@dataclass
class Result:
    """What came of a run."""

    violations: list[str]
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def steps(self) -> int:
        """What people did, rounds, requests, and what befell machines."""
        return sum(self.counts[k] for k in ("actions", "rounds", "requests", "events"))


_PEOPLE = {
    "converse": 16, "take back": 1, "subagent": 3, "edit": 8, "configure": 4, "prompt": 3, "draw": 3, "change mode": 1,
    "rename": 1, "delete": 2, "move session": 1, "sweep": 1, "open session": 2, "close session": 2, "resolve": 1,
}  # fmt: skip
_DEVICES = {"sync": 26, "push": 5, "pull": 4, "finish": 8, "wait": 6, "restart": 1}
_FAULTS = {"offline": 2, "online": 4}
_CRASHES = {"doom": 6, "kill": 1, "power": 2}
_COPIES = {"backup": 2, "restore state": 1, "restore machine": 1, "clone": 1, "lose state": 1}
_MONTHS = {"weeks": 2, "sweep": 2}
_COMPACTION = {"compact": 6, "tidy": 4}
_BOTH = {"half a year": 1}


def drawn_settings(seed: int) -> Settings:
    """Every kind of world comes up."""
    chance = random.Random(seed)
    copies = chance.random() < 0.35
    return Settings(
        steps=chance.randint(30, 90),
        devices=chance.randint(2, 4),
        faults=chance.random() < 0.6,
        crashes=chance.random() < 0.5,
        copies=copies,
        conditional=copies or chance.random() < 0.6,  # copies are told apart by the condition alone
        packs=chance.random() < 0.3,
        months=chance.random() < 0.3,
        compaction=chance.random() < 0.4,
        looks_first=chance.random() < 0.5,
    )


def drawn(seed: int, settings: Settings | None = None) -> Plan:
    """The plan of a seed."""
    settings = settings if settings is not None else drawn_settings(seed)
    weights = dict(_PEOPLE | _DEVICES)
    for wanted, more in (
        (settings.faults, _FAULTS),
        (settings.crashes, _CRASHES),
        (settings.copies, _COPIES),
        (settings.months, _MONTHS),
        (settings.compaction, _COMPACTION),
        (settings.months and settings.compaction, _BOTH),
    ):
        if wanted:
            weights |= more
    chance = random.Random(seed)
    kinds = chance.choices(list(weights), list(weights.values()), k=settings.steps)
    steps = tuple(Step(kind, chance.randrange(MOST_MACHINES), chance.randrange(1 << 30)) for kind in kinds)
    return Plan(seed, settings, steps)


def _weather(settings: Settings, chance: random.Random) -> Weather:
    weather = Weather(latency=chance.choice((0.0, 0.5, 3.0)), conditional=settings.conditional)
    weather.looks_first = settings.looks_first and not settings.conditional
    if settings.faults:
        weather.fails_before = chance.choice((0.0, 0.02, 0.2))
        weather.fails_after = chance.choice((0.0, 0.02, 0.2))
        weather.arrives_late = chance.choice((0.0, 0.05))
        weather.list_lag = chance.choice((0.0, 60.0))
    return weather


def run(plan: Plan) -> Result:
    """Carry it out, in folders that are gone afterwards."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="sim-", dir=shared if shared.is_dir() else None)).resolve()
    chance = random.Random(plan.seed + 2)
    interleaved = chance.random() < 0.5
    try:
        with installed(plan, chance):
            loop = SimLoop(lambda: chance.uniform(0, 0.2) if interleaved and chance.random() < 0.05 else 0.0)
            return run_in(loop, _run(loop, folder, plan))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def installed(plan: Plan, chance: random.Random) -> Iterator[None]:
    """What is real beneath a device but must not be left to chance here."""
    with pytest.MonkeyPatch.context() as patch:
        sim_crash.install(patch)
        for function in (device_file.create, device_file.renewed):
            patch.setitem(_defaults(function), "random", chance.randbytes)
        if plan.settings.packs:
            patch.setitem(_defaults(Writer.__init__), "inline_limit", 3000)
            patch.setitem(_defaults(Writer.__init__), "pack_limit", 6000)
        patch.setattr(gc, "freeze", lambda: None)  # for one daemon in a process, not for the thousands of a run
        patch.setattr(claude_lock, "STALE", -1.0)  # files bear the machine's own time
        yield


def _defaults(function: Callable[..., object]) -> dict[str, Any]:
    """What its keywords are where a caller leaves them out."""
    assert isinstance(function, FunctionType)
    assert function.__kwdefaults__ is not None
    return function.__kwdefaults__


async def _run(loop: SimLoop, folder: Path, plan: Plan) -> Result:
    world = World(loop, folder, plan.seed, _weather(plan.settings, random.Random(plan.seed + 3)), plan.settings.devices)
    try:
        for step in plan.steps:
            await _take(world, step)
            if world.violations:
                break
        else:
            turns = await rest(world, compacting=plan.settings.compaction)
            world.counts["turns"] = turns
            if not world.violations:
                await check(world)
    finally:
        for machine in world.machines:
            await machine.stop()
    world.counts["devices"] = len(world.machines)
    world.counts["requests"] = world.cloud.requests
    world.counts["faults"] = world.cloud.faults
    return Result(world.violations, world.counts)


async def _take(world: World, step: Step) -> None:
    machine = world.machines[step.machine % len(world.machines)]
    chance = random.Random(step.salt)
    if machine.life.dead:
        await machine.stop(power_lost=machine.power_lost)
    if step.kind in ACTIONS:
        world.count("actions")
        ACTIONS[step.kind](machine, chance)
        await asyncio.sleep(chance.choice((0.0, 0.1, 1.0, 10.0)))
        return
    if step.kind not in {"sync", "push", "pull"}:
        world.count("events")
    match step.kind:
        case "sync" | "push" | "pull":
            machine.begin(Direction[step.kind.upper()])
            await asyncio.sleep(chance.choice((0.0, 0.5, 2.0)))
        case "finish":
            await machine.finish()
        case "wait":
            await asyncio.sleep(chance.choice((5.0, 70.0, 600.0)))
        case "weeks":
            await asyncio.sleep(chance.uniform(5, 40) * 86_400)
        case "compact" | "tidy":
            machine.compact(now=step.kind == "compact")
            await asyncio.sleep(chance.choice((0.0, 0.5, 2.0)))
        case "half a year":
            await _half_a_year(world, machine)
        case "restart":
            await machine.stop()
        case "offline" | "online":
            machine.online = step.kind == "online"
        case "doom":
            machine.life.doom_in(chance.choice((1, 5, 20, 60, 150)) + chance.randrange(20))
            machine.power_lost = False
        case "kill":
            await machine.stop()
            world.count("crashes")
        case "power":
            machine.life.doom_in(chance.choice((1, 20, 100)) + chance.randrange(20))
            machine.power_lost = True
        case _:
            await _copied(world, machine, step.kind, chance)


async def _half_a_year(world: World, machine: Machine) -> None:
    """One machine lies in a drawer while the others go on."""
    await machine.stop()
    machine.online = False
    for _ in range(7):
        await asyncio.sleep(30 * 86_400)
        for other in world.machines:
            if other is not machine and not other.life.dead:
                await other.finish()
                other.begin(Direction.SYNC)
                await other.finish()
                other.compact(now=False)
                await other.finish()


async def _copied(world: World, machine: Machine, kind: str, chance: random.Random) -> None:
    """Clones and backups."""
    backup = world.folder / f"backup{machine.number}"
    if kind == "backup":
        shutil.rmtree(backup, ignore_errors=True)
        machine.copy_to(backup)
        world.backups[machine.number] = backup
        return
    if kind == "clone":
        if len(world.machines) < MOST_MACHINES:
            made = Machine(world, len(world.machines), machine.user)
            machine.copy_to(made.home)
            made.rebooted()
            if chance.random() < 0.5:
                made.same_root()
            world.machines.append(made)
            world.count("clones")
        return
    if kind == "lose state":
        await machine.stop()
        for ending in ("", "-wal", "-shm"):
            machine.places.database.with_name(f"state.db{ending}").unlink(missing_ok=True)
        world.count("lost states")
        return
    if machine.number not in world.backups:
        return
    await machine.stop()
    before = [path.read_bytes() for path in machine.files().values()]
    if kind == "restore state":
        machine.take_from(backup, part=".claude-sync")
    else:
        machine.take_from(backup)
        machine.rebooted()
    if chance.random() < 0.5:
        machine.same_root()
    world.goes_with(before)
    world.count("restores")


def shrunk(plan: Plan, *, tries: int = 400) -> Plan:
    """A smaller plan that fails as well: steps are dropped, in ever smaller pieces, as long as it still fails."""
    steps = list(plan.steps)
    size = max(1, len(steps) // 2)
    while tries > 0:
        at = 0
        dropped = False
        while at < len(steps) and tries > 0:
            fewer = steps[:at] + steps[at + size :]
            tries -= 1
            if run(replace(plan, steps=tuple(fewer))).violations:
                steps, dropped = fewer, True
            else:
                at += size
        if size == 1 and not dropped:
            break
        size = max(1, size // 2)
    return replace(plan, steps=tuple(steps))


def told(plan: Plan, violations: Sequence[str]) -> str:
    """A failure as its reader wants it: what broke, the few steps that do it, and how to run them again."""
    lines = [f"seed {plan.seed} breaks a promise:", *violations[:10], "", f"{plan.settings}"]
    lines += [f"  {i:3} d{s.machine} {s.kind} ({s.salt})" for i, s in enumerate(plan.steps)]
    return "\n".join([*lines, "", "as a regression (a line of tests/sim/regressions):", plan.dumped()])
