"""Each planted mistake is found by the seeds that are named here, and by others: without it they break no promise."""

from __future__ import annotations

import re

import pytest
from sim_mutations import MUTATIONS
from sim_run import Settings, drawn, run

_MISSING = re.compile(r"is lost; it|lacks tree/|tree/\S+ differs")
FOUND = {
    "base_moved_too_early": (
        Settings(steps=70, devices=3, crashes=True, faults=True, packs=True),
        (113, 147, 154, 159),
        _MISSING,
    ),
    "hashed_after_the_upload": (Settings(steps=70, devices=2), (101, 103, 105), _MISSING),
    "tombstone_beats_edit": (Settings(steps=70, devices=3), (105, 107, 130), _MISSING),
    "union_instead_of_fork": (Settings(steps=70, devices=2), (100, 103, 104), re.compile("more than one thread")),
    "losing_side_not_kept": (Settings(steps=70, devices=3), (101, 103, 106), _MISSING),
    "compaction_without_grace": (
        Settings(steps=90, devices=3, compaction=True, packs=True, months=True),
        (100, 101, 102),
        _MISSING,
    ),
}
"""In which worlds, with which seeds, and by which broken promise: that it crashes would be no proof."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_engine_is_caught(name: str) -> None:
    settings, seeds, broken = FOUND[name]
    plan = drawn(seeds[0], settings)
    assert run(plan).violations == []
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[name](patch)
        assert any(broken.search(told) for seed in seeds for told in run(drawn(seed, settings)).violations)
