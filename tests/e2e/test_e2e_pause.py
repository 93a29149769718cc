"""A paused daemon waits; it does not spin. What is counted is how often its threads woke up, as the kernel tells it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from realistic_tree import quick_tree
from waiting import wait_until

if TYPE_CHECKING:
    from lab import Lab
    from machines import Machine
    from vaults import FolderVault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def wake_ups(machine: Machine) -> int:
    """How often the threads of the daemon have waited for something, until now."""
    assert machine.daemon is not None
    found = 0
    for status in Path(f"/proc/{machine.daemon.pid}/task").glob("*/status"):
        line = next(x for x in status.read_text().splitlines() if x.startswith("voluntary_ctxt_switches"))
        found += int(line.split()[1])
    return found


def test_a_paused_daemon_does_not_spin(folder_lab: Lab, folder_vault: FolderVault) -> None:
    a = folder_lab.machine("a")
    quick_tree(a.tree, a.home)
    folder_lab.prepare()
    a.init()
    a.start()
    a.json("sync")
    a.ctl("pause", "--for", "2s")
    assert a.json("status")["state"] == "paused"
    (a.tree / "rules/new.md").write_text("# New\n")
    entries = set(folder_vault.folder.glob("devices/*/log/*"))
    before = wake_ups(a)
    # The pause ends by itself, and then the daemon pushes: that is what is waited for, at the store.
    wait_until(lambda: set(folder_vault.folder.glob("devices/*/log/*")) > entries, 60, "A pushes after its pause", [a])
    woken = wake_ups(a) - before
    assert woken < 600, "a loop that asks every millisecond wakes up thousands of times in two seconds"
    a.stop()
