"""Devices whose vault is in two stores: outages, stores that each reach one only, and what status says."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest
from devices import Vault, settle
from mirroring import Mirroring, Places
from virtual_time import VirtualTimeLoop, in_virtual_time

from claude_syncd.engine import report
from claude_syncd.engine.keep_mirrored import keep_mirrored
from claude_syncd.errors import StoreUnavailable

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path


@pytest.fixture
def places() -> Places:
    return Places()


@pytest.fixture
def ann(places: Places, vault: Vault, tmp_path: Path, stack: ExitStack) -> Mirroring:
    return stack.enter_context(Mirroring(places, vault, tmp_path, "ann").running())


@pytest.fixture
def bob(places: Places, vault: Vault, tmp_path: Path, stack: ExitStack) -> Mirroring:
    return stack.enter_context(Mirroring(places, vault, tmp_path, "bob").running())


async def test_an_outage_during_pushes_is_caught_up(places: Places, ann: Mirroring, bob: Mirroring) -> None:
    for device in (ann, bob):
        await device.start()
    ann.two.weather = "down"
    for number in range(5):
        ann.write(f"agents/{number}.md", f"{number}\n")
        assert (await ann.sync()).uploaded == 1
    await settle(ann, bob)
    assert bob.tree() == ann.tree()
    stores = ann.status().stores
    assert [(one.url, one.state) for one in stores] == [("memory://0", "ok"), ("memory://1", "unreachable")]
    assert stores[1].behind >= 5
    assert "memory://1 is out of reach" in ann.status().problems[0].message
    assert ann.status().state == "idle"
    ann.two.weather = "up"
    await ann.catch_up()
    await bob.catch_up()
    assert places.alike
    assert [(one.state, one.behind) for one in ann.status().stores] == [("ok", 0), ("ok", 0)]
    assert ann.status().problems == []


async def test_devices_that_reach_one_store_each_come_together_later(
    places: Places, ann: Mirroring, bob: Mirroring
) -> None:
    for device in (ann, bob):
        await device.start()
    ann.two.weather = bob.one.weather = "down"
    for device in (ann, bob):
        for number in range(3):
            device.write(f"agents/{device.home.name}-{number}.md", f"{number}\n")
            await device.sync()
    assert not any(bob.has(f"agents/ann-{number}.md") for number in range(3))
    ann.two.weather = bob.one.weather = "up"
    await asyncio.gather(ann.catch_up(), bob.catch_up())
    await settle(ann, bob)
    assert len(ann.tree()) == 6
    assert ann.tree() == bob.tree()
    await asyncio.gather(ann.catch_up(), bob.catch_up())
    assert places.alike


async def test_a_store_that_lost_everything_is_filled_by_its_devices(
    places: Places, ann: Mirroring, bob: Mirroring
) -> None:
    for device in (ann, bob):
        await device.start()
        device.write(f"agents/{device.home.name}.md", "text\n")
    await settle(ann, bob)
    places.objects[0].clear()
    bob.write("CLAUDE.md", "more\n")
    await settle(ann, bob)
    assert ann.read("CLAUDE.md") == "more\n"
    await ann.catch_up()
    await bob.catch_up()
    assert places.alike


async def test_a_store_that_was_rolled_back_is_told_of(places: Places, ann: Mirroring, bob: Mirroring) -> None:
    for device in (ann, bob):
        await device.start()
    older = dict(places.objects[1])
    ann.write("CLAUDE.md", "new\n")
    await settle(ann, bob)
    await bob.catch_up()
    places.objects[1].clear()
    places.objects[1].update(older)
    await bob.sync()
    await bob.catch_up()
    assert bob.read("CLAUDE.md") == "new\n"
    assert bob.status().stores[1].state == "disagrees"
    assert "older state" in bob.status().problems[0].message
    await ann.catch_up()
    await bob.catch_up()
    assert places.alike
    assert bob.status().problems == []


async def test_what_is_damaged_is_not_copied(places: Places, ann: Mirroring) -> None:
    await ann.start()
    ann.two.weather = "down"
    ann.write("CLAUDE.md", "text\n")
    ann.write("agents/big.md", os.urandom(9_000_000))
    await ann.sync()
    ann.two.weather = "up"
    sound = dict(places.objects[0])
    missing = sound.keys() - places.objects[1].keys()
    assert {name.split("/")[2] for name in missing if "/" in name and name.startswith("devices/")} == {"log", "packs"}
    for at in (2, 500, -5):
        for name in missing:
            spoilt = bytearray(sound[name])
            spoilt[at] ^= 1
            places.objects[0][name] = bytes(spoilt)
        await ann.catch_up()
        assert not places.objects[1].keys() & missing
        assert all(f"its {name} is damaged" in ann.status().problems[0].message for name in missing)
    places.objects[0].update(sound)
    await ann.catch_up()
    assert places.alike
    assert [one.state for one in ann.status().stores] == ["ok", "ok"]


async def test_a_device_that_lost_its_state_waits_for_every_store(
    places: Places, vault: Vault, tmp_path: Path, ann: Mirroring
) -> None:
    await ann.start()
    ann.one.weather = "down"
    ann.write("CLAUDE.md", "text\n")
    await ann.sync()  # only the second store has the end of the log
    ann.one.weather = "up"
    ann.site.state.close()
    for path in ann.places.state.glob("state.db*"):
        path.unlink()
    with ann.running():
        ann.two.weather = "down"
        with pytest.raises(StoreUnavailable):
            await ann.round.prepare()
        ann.two.weather = "up"
        await ann.round.prepare()
        assert ann.site.state.positions()[ann.site.me].seq == 1


def test_the_daemon_catches_up_by_itself(places: Places, vault: Vault, tmp_path: Path) -> None:
    async def story(_: VirtualTimeLoop) -> None:
        with Mirroring(places, vault, tmp_path, "ann", noting=False).running() as ann:
            told: list[str] = []

            async def tell() -> None:
                told.append(ann.status().stores[1].state)

            await ann.start()
            ann.two.weather = "down"
            keeping = asyncio.create_task(keep_mirrored(ann.site, 1800.0, random.Random(1), tell))
            ann.write("CLAUDE.md", "text\n")
            await ann.sync()
            await asyncio.sleep(3600)
            tries = ann.two.asked.count(("get", "vault.json"))
            assert 5 <= tries <= 20  # it backs off
            ann.two.weather = "up"
            await asyncio.sleep(1000)
            assert places.alike
            # What is missed while all is up is copied soon.
            lost = next(name for name in places.objects[1] if "/log/" in name)
            del places.objects[1][lost]
            assert ann.site.mirror is not None
            ann.site.mirror.wanted.set()
            await asyncio.sleep(10)
            assert places.alike
            before = len(ann.two.asked)
            await asyncio.sleep(3600)
            assert len(ann.two.asked) - before <= 6  # two comparisons
            # Nothing is asked while the user has paused.
            ann.site.state.set_meta(report.PAUSED_UNTIL, report.FOREVER)
            await asyncio.sleep(2000)
            before = len(ann.two.asked)
            await asyncio.sleep(7200)
            assert len(ann.two.asked) == before
            assert told[:1] == ["unreachable"]
            assert told[-1] == "ok"
            keeping.cancel()

    in_virtual_time(story)


async def test_requests_are_counted_for_each_store(ann: Mirroring) -> None:
    await ann.start()
    ann.two.weather = "down"
    ann.write("CLAUDE.md", "text\n")
    result = await ann.sync()
    assert result.requests.put == 1
    each = ann.site.counter.each()
    assert each["memory://0"].put == 2
    assert each["memory://1"].put == 1  # the roster
    text = report.metrics(ann.site, ann.status(), rounds=1, loop_lag_seconds=0.0)
    assert 'claude_syncd_store_requests_total{store="memory://0",kind="put"} 2' in text
    assert 'claude_syncd_store_behind{store="memory://1"} 1' in text
