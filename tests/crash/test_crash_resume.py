"""A push or pull of much that was cut off goes on where it was, and what was begun does no harm."""

from __future__ import annotations

import signal
import subprocess
from random import Random
from typing import TYPE_CHECKING

from machines import differences, sync_all
from realistic_text import Conversation
from realistic_tree import EPOCH, small_tree
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab import Lab
    from machines import Machine
    from vaults import FolderVault


def _killed_when(machine: Machine, command: str, condition: Callable[[], object]) -> None:
    """Run `command` and SIGKILL it as soon as `condition` is true (or it has ended)."""
    process = subprocess.Popen(
        [machine.command(), command, "-q"], env=machine.environment, cwd=machine.home,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: condition() or process.poll() is not None, 60, f"the {command} got that far", [machine])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _incompressible(machine: Machine, megabytes: int) -> None:
    """Sessions that do not shrink, so that there is much to push."""
    random = Random(5)
    for number in range(megabytes // 4):
        session = f"0aafeadc-4444-4000-8000-{number:012d}"
        talk = Conversation(random, str(machine.home / "dev/app"), session, EPOCH)
        path = machine.file(f"projects/~-dev-app/{session}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(talk.user(random.randbytes(50_000).hex()) for _ in range(40)))


def test_a_push_that_was_cut_off_goes_on(folder_lab: Lab, folder_vault: FolderVault) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    small_tree(a.tree, a.home, 100)
    _incompressible(a, 80)
    folder_lab.prepare()
    a.init()
    _killed_when(a, "push", lambda: list(folder_vault.folder.glob("devices/*/packs/*")))
    there = {path: path.stat().st_size for path in folder_vault.folder.glob("devices/*/packs/*")}
    assert there, "the push ended before it had a pack"
    done = a.json("push")
    for path, size in there.items():
        assert path.stat().st_size == size
    total = sum(path.stat().st_size for path in folder_vault.folder.glob("devices/*/packs/*"))
    assert done["bytes_up"] < total * 1.1
    b.init()
    sync_all([b, a])
    assert differences([a, b]) == []


def test_a_pull_that_was_cut_off_goes_on(folder_lab: Lab) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    small_tree(a.tree, a.home, 300)
    folder_lab.prepare()
    a.init()
    a.json("push")
    complete = a.snapshot()
    b.init()
    _killed_when(b, "pull", lambda: len(list(b.tree.rglob("*"))) > 50)
    for path, state in b.snapshot().items():
        assert state == complete[path], f"{path} is not whole"
    sync_all([b, a])
    assert differences([a, b]) == []
    assert b.snapshot() == complete
    # Nothing half written stays.
    assert not [p for p in b.tree.rglob("*") if p.is_file() and ".tmp" in p.name and "compact" not in p.name]
