"""Two devices push to one repository at the same moment, again and again: every push of both lands, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from devices import settle
from git_place import git
from remote_devices import RemoteDevice, new_place

from claude_syncd.engine.round import Direction

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from devices import Vault
    from faults import FaultProxy
    from git_http import GitHttpServer


@pytest.mark.parametrize("pushes", [4, pytest.param(50, marks=pytest.mark.long)])
async def test_two_devices_push_at_the_same_moment(
    pushes: int, git_host: tuple[GitHttpServer, FaultProxy], vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    before = set(git_host[0].folder.iterdir())
    place = await new_place(*git_host, patience=60.0)  # nothing is broken here, only busy
    (folder,) = set(git_host[0].folder.iterdir()) - before
    devices = [RemoteDevice(vault, tmp_path, name, place) for name in ("ann", "bob")]
    for device in devices:
        stack.enter_context(device.running())
        await device.start()
    for number in range(pushes):
        for device in devices:
            device.write(f"rules/{device.site.name}-{number:02}.md", f"# Rule {number} of {device.site.name}\n")
        done = await asyncio.gather(*(device.sync(Direction.PUSH) for device in devices))
        assert [result.uploaded for result in done] == [1, 1]
    ids = [device.site.me for device in devices]
    stored = git("ls-tree", "-r", "--name-only", "claude-sync", repository=folder / "vault.git").split()
    logs = {f"devices/{ident}/log/{seq:012}" for ident in ids for seq in range(1, pushes + 1)}
    assert set(stored) == {"roster/000001", "roster/000002", *logs}
    # A commit for each that joined and for each push; who lost a race pushed the same once more.
    commits = int(git("rev-list", "--count", "claude-sync", repository=folder / "vault.git"))
    assert commits == 2 + 2 * pushes
    # What is asked within a moment of the last question gets the same answer.
    async with asyncio.timeout(60):
        while len(devices[0].tree()) + len(devices[1].tree()) < 4 * pushes:
            await settle(*devices)
    assert devices[0].tree() == devices[1].tree()
    assert len(devices[0].tree()) == 2 * pushes
    assert [device.conflicts() for device in devices] == [{}, {}]
