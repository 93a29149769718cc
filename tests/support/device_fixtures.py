"""Fixtures around `devices`; a conftest imports those that it wants."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from devices import Device, Vault


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
async def pair(vault: Vault, tmp_path: Path, stack: ExitStack) -> tuple[Device, Device]:
    """Two devices of one vault, both started."""
    ann, bob = (stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob"))
    await ann.start()
    await bob.start()
    return ann, bob
