"""A session that is written here is left alone until it is at rest; what goes on in it is published all the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
from typing import TYPE_CHECKING

import pytest
from devices import SESSION, Device, Vault, settle
from virtual_time import VirtualTimeLoop, in_virtual_time

from claude_syncd.core.model import Kind
from claude_syncd.engine import conflicts
from claude_syncd.engine.round import Direction
from claude_syncd.engine.supervisor import Supervisor
from claude_syncd.engine.timing import Intervals
from claude_syncd.errors import UsageError
from claude_syncd.local.live import rests_at
from claude_syncd.settings import Live

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from claude_syncd.core.model import Record

Pair = tuple[Device, Device]
SECOND = 10**9
REST = 15


def row(name: str, parent: str | None, when: int) -> str:
    fields = {
        "parentUuid": parent,
        "sessionId": SESSION,
        "type": "user",
        "message": {"role": "user", "content": f"says {name}"},
        "uuid": name,
        "timestamp": f"2026-01-01T00:{when:02d}:00.000Z",
    }
    return json.dumps(fields) + "\n"


def sessions(device: Device) -> dict[str, str]:
    """Session id -> its rows, of the one project."""
    folder = (device.places.tree / device.transcript()).parent
    return {path.stem: path.read_text() for path in folder.glob("*.jsonl")}


def now_is(device: Device, seconds: float, after: Path) -> None:
    """Pin the device's clock to so long after the last change of a file."""
    moment = after.stat().st_mtime_ns + int(seconds * SECOND)
    device.site.now_ns = lambda: moment


def published(device: Device, path: str) -> list[Record]:
    """What the devices have published of a path, as this device knows it."""
    return [record for record in device.site.state.newest(path) if record.kind is Kind.FILE]


@pytest.fixture
async def live_pair(vault: Vault, tmp_path: Path, stack: ExitStack) -> Pair:
    """Two devices that have the first row of one session, written long ago."""
    settings = {"live": Live(seconds=REST)}
    ann, bob = (stack.enter_context(Device(vault, tmp_path, name, **settings).running()) for name in ("ann", "bob"))
    for device in (ann, bob):
        await device.start()
    ann.write(ann.transcript(), row("r1", None, 0), age=1000)
    await settle(ann, bob)
    return ann, bob


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, REST), (14.9, 0.1), (REST, None), (3600, None), (-10, REST + 10), (-REST, None), (-3600, None)],
)
def test_a_file_is_at_rest_after_its_time_and_a_wrong_clock_parks_nothing_for_ever(
    age: float, expected: float | None
) -> None:
    now = 10**18
    end = rests_at(now - int(age * SECOND), now, REST * SECOND)
    assert end == (None if expected is None else now + int(expected * SECOND))


async def test_what_comes_in_for_a_growing_session_waits_until_it_is_at_rest(live_pair: Pair) -> None:
    ann, bob = live_pair
    ann.append(ann.transcript(), row("a1", "r1", 1))
    bob.append(bob.transcript(), row("b1", "r1", 2))
    ours = bob.places.tree / bob.transcript()
    await ann.sync()
    now_is(bob, REST - 0.5, ours)
    before = bob.read(bob.transcript())
    assert (await bob.sync()).parked == 1
    assert bob.read(bob.transcript()) == before
    assert (bob.round.pending.parked, bob.round.pending.upload) == (1, 0)
    rests_in = bob.round.rests_in()
    assert rests_in == pytest.approx(0.5, abs=0.2)
    now_is(bob, REST, ours)
    assert (await bob.sync()).parked == 0
    assert bob.round.rests_in() is None
    now_is(ann, REST, ann.places.tree / ann.transcript())
    await settle(ann, bob)
    assert sessions(ann) == sessions(bob)
    assert len(sessions(ann)) == 2
    assert not ann.conflicts()
    assert not bob.conflicts()


async def test_a_parked_session_is_published_and_both_users_are_told(live_pair: Pair) -> None:
    ann, bob = live_pair
    path = ann.site.paths.portable(ann.transcript())
    assert path is not None
    for at in range(1, 4):
        ann.append(ann.transcript(), row(f"a{at}", f"a{at - 1}" if at > 1 else "r1", at))
        bob.append(bob.transcript(), row(f"b{at}", f"b{at - 1}" if at > 1 else "r1", at))
        for device in live_pair:
            now_is(device, 1, device.places.tree / device.transcript())
            await device.sync()
    await ann.sync(Direction.PULL)
    sizes = {record.device: record.size for record in published(ann, path)}
    assert sizes == {d.site.me: (d.places.tree / d.transcript()).stat().st_size for d in live_pair}
    assert len(sessions(ann)) == len(sessions(bob)) == 1
    for device, other in ((ann, "bob"), (bob, "ann")):
        (told,) = [text for key, text in device.site.problems.items() if key.startswith("live:")]
        assert SESSION in told
        assert f"open here and on {other}: if both go on with it, it becomes two sessions" in told
    for device in live_pair:
        now_is(device, REST, device.places.tree / device.transcript())
    await settle(ann, bob)
    assert sessions(ann) == sessions(bob)
    assert len(sessions(ann)) == 2  # three exchanges, and one fork
    assert not [key for d in live_pair for key in d.site.problems if key.startswith("live:")]


async def test_what_this_daemon_put_there_a_moment_ago_does_not_wait(live_pair: Pair) -> None:
    ann, bob = live_pair
    theirs = ann.places.tree / ann.transcript()
    for at in range(1, 4):
        ann.append(ann.transcript(), row(f"a{at}", f"a{at - 1}" if at > 1 else "r1", at))
        await ann.sync()
        now_is(bob, 1, theirs)
        assert (await bob.sync()).downloaded == 1
        assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_session_waits_for_its_subagent(live_pair: Pair) -> None:
    ann, bob = live_pair
    bob.write(f"{bob.transcript().removesuffix('.jsonl')}/subagents/agent-a1.jsonl", row("s1", None, 1), age=0)
    at_work = bob.places.tree / bob.transcript().removesuffix(".jsonl") / "subagents/agent-a1.jsonl"
    now_is(bob, 1, at_work)
    await bob.sync()
    ann.append(ann.transcript(), row("a1", "r1", 1))
    await ann.sync()
    result = await bob.sync()
    assert (result.parked, result.downloaded) == (1, 0)
    assert any("open here and on ann" in text for text in bob.site.problems.values())
    now_is(bob, REST, at_work)
    assert (await bob.sync()).downloaded == 1
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_a_pull_parks_and_publishes_nothing(live_pair: Pair) -> None:
    ann, bob = live_pair
    path = bob.site.paths.portable(bob.transcript())
    assert path is not None
    ann.append(ann.transcript(), row("a1", "r1", 1))
    await ann.sync()
    bob.append(bob.transcript(), row("b1", "r1", 2))
    now_is(bob, 1, bob.places.tree / bob.transcript())
    result = await bob.sync(Direction.PULL)
    assert (result.parked, result.uploaded, result.downloaded) == (1, 0, 0)
    assert [record.device for record in published(bob, path)] == [ann.site.me]


async def test_a_session_of_the_last_seconds_is_not_replaced_by_a_kept_side(live_pair: Pair) -> None:
    _, bob = live_pair
    rel = f"{'ab' * 8}/{bob.site.paths.portable(bob.transcript())}"
    kept = bob.places.conflicts / rel
    kept.parent.mkdir(parents=True)
    kept.write_text(row("k1", None, 0))
    bob.append(bob.transcript(), row("b1", "r1", 2))
    now_is(bob, 1, bob.places.tree / bob.transcript())
    (found,) = conflicts.kept(bob.site)
    with pytest.raises(UsageError, match="a moment ago"):
        conflicts.resolve(bob.site, found, "remote")


def test_a_parked_session_is_looked_at_when_it_is_at_rest_and_not_only_at_the_next_poll(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    settings = {"live": Live(seconds=REST)}
    ann, bob = (stack.enter_context(Device(vault, tmp_path, name, **settings).running()) for name in ("ann", "bob"))

    async def main(loop: VirtualTimeLoop) -> None:
        for device in (ann, bob):
            await device.start()
        ann.write(ann.transcript(), row("r1", None, 0), age=1000)
        await settle(ann, bob)
        ours = bob.places.tree / bob.transcript()
        began = ours.stat().st_ctime_ns
        bob.site.now_ns = lambda: began + int((loop.time() - 1000) * SECOND)
        supervisor = Supervisor(bob.site, Intervals(active=3000, idle=3000, scan=1e6, list=1e6), random.Random(1))
        supervisor._watching.set()  # hints are given by hand here: the kernel's come in real time
        work = asyncio.create_task(supervisor.work())
        while supervisor.rounds == 0:
            await asyncio.sleep(1)
        bob.append(bob.transcript(), row("b1", "r1", 2))
        written = bob.site.now_ns()
        os.utime(ours, ns=(written, written))
        ann.append(ann.transcript(), row("a1", "r1", 1))
        os.utime(ann.places.tree / ann.transcript(), ns=(written + SECOND, written + SECOND))
        await ann.sync()
        began_at = loop.time()
        supervisor.poke()
        while not supervisor.round.parked:
            await asyncio.sleep(0.5)
        assert (await supervisor.status()).pending.parked == 1
        while supervisor.round.parked:
            await asyncio.sleep(0.5)
        assert REST - 1 <= loop.time() - began_at <= REST + 2
        assert len(sessions(bob)) == 2
        work.cancel()

    in_virtual_time(main)
