"""What a crash leaves behind is cleared away at the next start, whatever became of the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from devices import Device, Vault

from claude_syncd.app.compose import tidied

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.local.stage import Staged


class PowerLost(BaseException):
    """The machine is off."""


@pytest.mark.parametrize("state", ["kept", "as it was synced", "lost"])
async def test_temporary_files_are_cleared_away_after_a_loss_of_power(tmp_path: Path, state: str) -> None:
    ann = Device(Vault(), tmp_path, "ann")
    with ann.running(), tidied(ann.site):
        await ann.start()
        await ann.sync()
    database = ann.places.database
    synced = b""

    def begun() -> Staged:
        with ann.running(), tidied(ann.site):
            nonlocal synced
            synced = database.read_bytes()  # without the newest transactions, which lie beside it
            staged = next(iter(ann.site.appliers.values())).stage("agents/a.md")
            staged.write_at(0, b"half a fi")
            raise PowerLost

    with pytest.raises(PowerLost):
        begun()
    assert list(ann.places.tree.rglob(".csync-*"))
    if state == "lost":
        database.unlink()
    elif state == "as it was synced":
        database.write_bytes(synced)
    with ann.running(), tidied(ann.site):
        assert not list(ann.places.tree.rglob(".csync-*"))
