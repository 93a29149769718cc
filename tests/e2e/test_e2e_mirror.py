"""Two machines whose vault is in two stores, with their daemons: one store goes away and comes back."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest
from faults import CLEAN, REFUSED
from lab import set_up
from machines import settle, start_all, sync_all
from realistic_tree import quick_tree
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab
    from machines import Machine
    from vaults import FolderVault, S3Vault

pytestmark = pytest.mark.long


def stored(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(("tmp/", "probe/"))}


def states(machine: Machine) -> list[str]:
    return [one["state"] for one in machine.json("status")["stores"]]


def whole(machine: Machine) -> bool:
    return states(machine) == ["ok", "ok"]


def bring_together(*machines: Machine) -> None:
    """By hand, which is quicker than by itself: first who has something to copy, then who only looks."""
    for machine in machines:
        machine.sync()
        wait_until(partial(whole, machine), 60, "both stores are whole", machines)


@pytest.fixture
def also(short_folder: Path) -> Path:
    return short_folder / "also"


@pytest.fixture
def pair(folder_lab: Lab, also: Path) -> tuple[Machine, Machine]:
    """Two machines with the same tree, whose vault is in two folders."""
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    quick_tree(a.tree, a.home)
    folder_lab.prepare()
    set_up([a, b], sync=False)
    for machine in (a, b):
        machine.ctl("init", "--also", "--folder", str(also))
    sync_all([a, b])
    return a, b


def test_one_store_away_delays_nothing_and_is_caught_up(
    pair: tuple[Machine, Machine], folder_vault: FolderVault, also: Path
) -> None:
    a, b = pair
    start_all([a, b])
    for number, store in enumerate((also, folder_vault.folder)):
        away = store.with_name("away")
        store.rename(away)
        (a.tree / f"rules/{number}.md").write_text("# Written while a store was gone\n")
        wait_until((b.tree / f"rules/{number}.md").exists, 30, "B gets what A wrote", [a, b])
        wait_until(lambda: "unreachable" in states(a), 30, "A says that a store is away", [a])
        assert a.json("status")["state"] in {"idle", "syncing"}
        if number:
            a.kill()  # and a power cut on top of it
            away.rename(store)
            a.start()
        else:
            away.rename(store)
        bring_together(a, b)
    settle([a, b])
    wait_until(lambda: stored(folder_vault.folder) == stored(also), 60, "both stores are alike", [a, b])
    a.stop()
    b.stop()


def test_a_daemon_checks_both_stores_and_reads_from_the_one_that_is_whole(
    pair: tuple[Machine, Machine], folder_vault: FolderVault, also: Path
) -> None:
    a, b = pair
    start_all([a, b])
    bring_together(a, b)
    assert a.json("check", "--read-data")["findings"] == []
    spoilt = {}
    for entry in folder_vault.folder.glob("devices/*/log/*"):
        spoilt[entry] = entry.read_bytes()
        entry.write_bytes(spoilt[entry][:-1] + bytes([spoilt[entry][-1] ^ 1]))
    done = a.ctl("check", "--json", check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert {one["object"] for one in report["findings"]} == {
        str(entry.relative_to(folder_vault.folder)) for entry in spoilt
    }
    assert {one["store"] for one in report["findings"]} == {f"file://{folder_vault.folder}"}
    assert [store["damaged"] for store in report["stores"]] == [len(spoilt), 0]
    assert states(a) == ["disagrees", "ok"]
    for entry in spoilt:
        entry.unlink()
    bring_together(a, b)
    assert {entry: entry.read_bytes() for entry in spoilt} == spoilt
    assert a.json("check", "--read-data")["findings"] == []
    a.stop()
    b.stop()


def test_a_folder_with_a_bucket_beside_it(folder_lab: Lab, folder_vault: FolderVault, s3_vault: S3Vault) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    quick_tree(a.tree, a.home)
    for machine in (a, b):
        machine.init()
        machine.environment |= s3_vault.environment
        machine.ctl("init", "--also", *s3_vault.flags)
        for name in s3_vault.environment:
            del machine.environment[name]
    sync_all([a, b])
    assert s3_vault.wire is not None
    start_all([a, b])
    s3_vault.wire.set(REFUSED)
    (a.tree / "rules/offline.md").write_text("# Written while the bucket was out of reach\n")
    wait_until((b.tree / "rules/offline.md").exists, 30, "B gets what A wrote", [a, b])
    wait_until(lambda: "unreachable" in states(a), 60, "A says that the bucket is away", [a])
    s3_vault.wire.set(CLEAN)
    bring_together(a, b)
    a.stop()
    b.stop()
    sync_all([a, b])
    assert stored(folder_vault.folder) == s3_vault.stored()
