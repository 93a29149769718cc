"""Devices at work, in fair weather and foul: see docs/reliability.md. Seeds are fresh in every run, and printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sim_run import Result, drawn, loaded, run, shrunk, told

FIRST = int(os.environ["SIMULATION_SEED"])
"""Each item begins somewhere else above it (conftest.py); set it to run a failure again."""
ITEMS = 4
REGRESSIONS = sorted(Path(__file__).with_name("regressions").glob("*.json"))


def judged(seed: int) -> Result:
    """Run a seed. A failure is made smaller before it is told."""
    plan = drawn(seed)
    result = run(plan)
    if result.violations:
        smaller = shrunk(plan)
        pytest.fail(told(smaller, run(smaller).violations), pytrace=False)
    return result


def steps_from(seed: int, wanted: int) -> int:
    """Fresh worlds from `seed` on until so many steps are done; how many worlds that took."""
    done = worlds = 0
    while done < wanted:
        done += judged(seed + worlds).steps
        worlds += 1
    return worlds


@pytest.mark.parametrize("item", range(ITEMS))
def test_nothing_is_lost_and_all_come_to_rest_alike(item: int) -> None:
    assert steps_from(FIRST + item * 10**9, 10_000 // ITEMS) > 0


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda p: p.stem)
def test_what_once_broke_a_promise_holds(path: Path) -> None:
    plan = loaded(path.read_text())
    assert run(plan).violations == []


def test_one_seed_is_one_run() -> None:
    one, other = run(drawn(11)), run(drawn(11))
    assert one.counts == other.counts
    assert one.violations == other.violations == []
