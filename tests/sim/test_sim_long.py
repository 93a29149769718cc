"""The simulation for as long as SIMULATION_STEPS says, in items that run side by side."""

from __future__ import annotations

import os

import pytest
from test_sim import FIRST, steps_from

STEPS = int(os.environ.get("SIMULATION_STEPS") or 200_000)
ITEMS = 8


@pytest.mark.long
@pytest.mark.parametrize("item", range(ITEMS))
def test_nothing_is_lost_in_many_worlds(item: int) -> None:
    assert steps_from(FIRST + (item + 10) * 10**9, STEPS // ITEMS)["worlds"] > 0
