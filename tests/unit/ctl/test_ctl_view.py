from __future__ import annotations

import pytest

from claude_syncd.core.status import Pending
from claude_syncd.ctl.view import plain, view
from claude_syncd.errors import SyncError


def test_the_fields_of_an_answer_are_attributes_all_the_way_down() -> None:
    answer = view({"pending": {"upload": 3}, "devices": [{"name": "ann", "last_seen": None}], "conflicts": 0})
    assert answer.pending.upload == 3
    assert [device.name for device in answer.devices] == ["ann"]
    assert answer.devices[0].last_seen is None
    assert answer.conflicts == 0


def test_an_answer_of_another_version_says_what_to_do() -> None:
    with pytest.raises(SyncError, match="no 'approvals'") as told:
        _ = view({"conflicts": 0}).approvals
    assert "service stop" in told.value.hint


def test_views_and_structs_are_the_same_in_json() -> None:
    fields = {"upload": 1, "download": 2, "parked": 3}
    assert plain(view(fields)) == plain(Pending(**fields)) == fields
