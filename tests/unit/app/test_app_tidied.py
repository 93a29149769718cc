"""What a crash left behind in the tree is cleared away at the next start, and not looked for after a good end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from devices import Device, Vault

from claude_syncd.app.compose import tidied

if TYPE_CHECKING:
    from pathlib import Path


class Crash(Exception):
    """The end of a process, nearly."""


def _used(device: Device) -> None:
    with device.running(), tidied(device.site):
        pass


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """One that ended well and has something of a crash's in its tree nevertheless."""
    made = Device(Vault(), tmp_path, "ann")
    _used(made)
    made.write("agents/.csync-0123456789abcdef.tmp", "half of it")
    return made


def test_after_a_good_end_nothing_is_looked_for(device: Device) -> None:
    _used(device)
    assert device.has("agents/.csync-0123456789abcdef.tmp")


def test_after_a_crash_it_goes_to_the_trash(device: Device) -> None:
    with pytest.raises(Crash), device.running(), tidied(device.site):
        raise Crash
    _used(device)
    assert not device.has("agents/.csync-0123456789abcdef.tmp")
    assert [p.read_text() for p in device.places.trash.rglob("*") if p.is_file()] == ["half of it"]


def test_after_the_loss_of_the_state_it_goes_as_well(device: Device) -> None:
    for path in device.places.state.glob("state.db*"):
        path.unlink()
    _used(device)
    assert not device.has("agents/.csync-0123456789abcdef.tmp")
