"""Devices at work, in fair weather and foul: see docs/reliability.md. Seeds are fresh in every run, and printed."""

from __future__ import annotations

import os
from collections import Counter
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


def steps_from(seed: int, wanted: int) -> Counter[str]:
    """Fresh worlds from `seed` on until so many steps are done; what happened in them."""
    done, counts = 0, Counter[str]()
    while done < wanted:
        result = judged(seed + counts["worlds"])
        done += result.steps
        counts += result.counts
        counts["worlds"] += 1
    counts["steps"] = done
    print(dict(counts))  # `pytest -rP` shows it
    return counts


@pytest.mark.parametrize("item", range(ITEMS))
def test_nothing_is_lost_and_all_come_to_rest_alike(item: int) -> None:
    assert steps_from(FIRST + item * 10**9, 10_000 // ITEMS)["worlds"] > 0


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda p: p.stem)
def test_what_once_broke_a_promise_holds(path: Path) -> None:
    plan = loaded(path.read_text())
    assert run(plan).violations == []


def test_one_seed_is_one_run() -> None:
    one, other = run(drawn(11)), run(drawn(11))
    assert one.counts == other.counts
    assert one.violations == other.violations == []
