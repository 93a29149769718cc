"""Each planted mistake is found by the seeds that are named here, and by others: without it they break no promise."""

from __future__ import annotations

import pytest
from sim_mutations import MUTATIONS
from sim_run import Settings, drawn, run

FOUND = {
    "base_moved_too_early": (Settings(steps=70, devices=3, crashes=True, faults=True, packs=True), (107, 113, 130)),
    "hashed_after_the_upload": (Settings(steps=70, devices=2), (101, 103, 105)),
    "tombstone_beats_edit": (Settings(steps=70, devices=3), (105, 107, 130)),
    "union_instead_of_fork": (Settings(steps=70, devices=2), (100, 103, 104)),
    "losing_side_not_kept": (Settings(steps=70, devices=3), (101, 103, 106)),
    "compaction_without_grace": (
        Settings(steps=90, devices=3, compaction=True, packs=True, months=True),
        (100, 101, 102),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_engine_is_caught(name: str) -> None:
    settings, seeds = FOUND[name]
    plan = drawn(seeds[0], settings)
    assert run(plan).violations == []
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[name](patch)
        assert any(run(drawn(seed, settings)).violations for seed in seeds)
