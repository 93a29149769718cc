"""What must hold once people rest and the weather is fine: the machines come to rest alike, and nothing is missing."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from typing import TYPE_CHECKING

from sim_crash import RUNNING
from sim_device import Machine
from sim_users import close_session
from sim_world import WORD

from claude_syncd.core.model import Kind, heads
from claude_syncd.core.reconcile import sides
from claude_syncd.errors import Held, SyncError

if TYPE_CHECKING:
    from sim_world import World

MOST_TURNS = 8
"""So many turns, of one round on each machine, bring any world to rest."""


async def rest(world: World, *, compacting: bool) -> int:
    """Everybody stops, the weather clears up; rounds of all machines in turn until a whole turn does nothing. How many
    turns that took.
    """
    world.cloud.weather.clear_up()
    for machine in world.machines:
        machine.online = True
        machine.life.doom = None
        close_session(machine, world.chance)
        await machine.finish()
        if machine.life.dead:
            await machine.stop()
    for turn in range(1, MOST_TURNS + 1):
        world.loop.skip(120.0)  # torn lines are taken once nobody has written for a while
        results = [await _turn(machine) for machine in world.machines]
        if compacting:
            for machine in world.machines:
                machine.compact(now=turn == 1)
                await machine.finish()
        if not any(results):
            return turn
    for machine in world.machines:
        world.violation(f"d{machine.number} does not come to rest: {machine.trouble or _pending(machine)}")
    return MOST_TURNS


async def _turn(machine: Machine) -> bool:
    """Whether there was anything to do."""
    RUNNING.set(machine.life)
    try:
        done = await machine.sync(thorough=True)
    except Held:
        await machine.round.accept()
        return True
    except SyncError as error:
        machine.trouble = f"{type(error).__name__}: {error}"
        return True
    except Exception:  # noqa: BLE001 - as the daemon would
        machine.trouble = traceback.format_exc(limit=-4)
        return True
    finally:
        RUNNING.set(None)
    return bool(done.uploaded or done.downloaded or done.deleted or done.conflicts or done.parked)


def _pending(machine: Machine) -> str:
    return f"todo {machine.site.state.todo()[:3]}, dirty {sorted(machine.round.dirty)[:3]}"


async def check(world: World) -> None:
    """Note every violation."""
    fresh = Machine(world, len(world.machines), "zoe")
    fresh.set_up()
    world.machines.append(fresh)
    for _ in range(3):
        await _turn(fresh)
    for machine in world.machines[:-1]:
        await _turn(machine)  # a new device has joined: that changes nothing
    _same(world)
    _heads(world)
    _reachable(world, fresh)
    _objects(world, fresh)
    _threads(world, fresh)
    for machine in world.machines:
        for key, what in machine.site.problems.items():
            if key.startswith("live:"):
                continue  # a warning, which is taken back when the path is looked at next
            world.violation(f"d{machine.number} has a problem: {what}")
        leftovers = [
            os.path.relpath(f"{folder}/{name}", machine.home)
            for folder, _, names in os.walk(machine.home)
            for name in names
            if name.startswith(".csync-") and "/trash/" not in folder
        ]
        if leftovers:
            world.violation(f"d{machine.number}: temporary files are left: {leftovers}")


def contents(machine: Machine) -> dict[str, tuple[str, int, int] | None]:
    """Portable path -> hash, mode and time of what is on the disk; None for what is evicted."""
    site = machine.site
    found: dict[str, tuple[str, int, int] | None] = {}
    for rel, path in machine.files().items():
        top, _, below = rel.partition("/")
        if top == ".claude":
            if not site.rules.selects(below):
                continue
            portable = site.paths.portable(below)
        else:
            portable = f"conflicts/{rel.removeprefix('.claude-sync/conflicts/')}"
        if portable is None:
            machine.world.violation(f"d{machine.number}: {rel} has no portable path")
            continue
        status = path.stat()
        content = path.read_bytes()
        if below in {"settings.json", "history.jsonl"}:  # the form of each device's own is another one
            content = b" ".join(sorted(WORD.findall(content)))
        digest = hashlib.sha256(content).hexdigest()[:12]
        found[portable] = (digest, status.st_mode & 0o777, status.st_mtime_ns)
    for known in site.state.paths():
        tracked = site.state.tracked(known)
        if known not in found and tracked is not None and tracked.base.evicted:
            found[known] = None
    return found


def _same(world: World) -> None:
    all_of_them = [contents(machine) for machine in world.machines]
    for path in sorted(set().union(*all_of_them)):
        versions = {}
        for machine, its in zip(world.machines, all_of_them, strict=True):
            if path not in its:
                world.violation(f"d{machine.number} lacks {path}")
            elif its[path] is not None:
                versions[machine.number] = its[path]
        if len({v[:2] for v in versions.values() if v is not None}) > 1:
            world.violation(f"{path} differs: {versions}")


def _heads(world: World) -> None:
    machine = world.machines[0]
    for path in machine.site.state.paths():
        left = sides(heads(machine.site.state.newest(path)))
        if len(left) > 1:
            world.violation(f"{path} has {len(left)} heads")


def _reachable(world: World, fresh: Machine) -> None:
    there = {w for path in fresh.files().values() for w in WORD.findall(path.read_bytes())}
    for word in sorted(set(world.written) - world.removed - there):
        history = "it is in the vault" if word in world.in_vault() else "it was never in the vault"
        world.violation(f"{word.decode()} of {world.written[word]} is lost; {history}")


def _threads(world: World, fresh: Machine) -> None:
    """Each session is one thread: of two in one file Claude Code would show one."""
    for path in sorted((fresh.places.tree / "projects").glob("*/*.jsonl")):
        last = None
        for line in path.read_bytes().splitlines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if "uuid" not in fields:
                continue
            if fields["parentUuid"] != last:
                world.violation(f"{path.name} holds more than one thread")
                break
            last = fields["uuid"]


def _objects(world: World, fresh: Machine) -> None:
    """No object is referenced and missing."""
    state = fresh.site.state
    for path in state.paths():
        for record in state.newest(path):
            if record.kind is Kind.FILE:
                for part in state.slices(path, record.device):
                    if part.object not in world.cloud.objects:
                        world.violation(f"{path} refers to {part.object}, which is not there")
