from __future__ import annotations

import pytest

from claude_syncd.core.status import DeviceInfo, Problem, RunResult, State, Status, VaultInfo
from claude_syncd.ctl.show import result_text, size, status_lines, when

NOON = 1769860800.0
"""2026-01-31T12:00:00Z"""


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, "never"),
        ("2026-01-31T12:00:00Z", "just now"),
        ("2026-01-31T11:59:20Z", "40 seconds ago"),
        ("2026-01-31T11:59:00Z", "1 minute ago"),
        ("2026-01-31T12:00:00+02:00", "2 hours ago"),
        ("2026-01-31T09:00:00", "3 hours ago"),
        ("2026-01-01T12:00:00.123456Z", "29 days ago"),
        ("2026-01-31T14:00:00Z", "in 2 hours"),
        ("yes\x1b[2J", "yes\\x1b[2J"),
    ],
)
def test_times_are_told_from_now(moment: str | None, text: str) -> None:
    assert when(moment, NOON) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5 * 10**9, "5.0 GB"),
        (10**18, "1000000 TB"),
    ],
)
def test_sizes_are_short(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (RunResult(), "nothing to push"),
        (RunResult(uploaded=1), "1 file uploaded"),
        (RunResult(uploaded=1200, deleted=2), "1,200 files uploaded, 2 files deleted"),
        (RunResult(conflicts=1), "1 conflict (see `claude-syncctl conflicts`)"),
        (RunResult(parked=2), "2 files parked until their sessions end"),
    ],
)
def test_a_run_in_one_line(result: RunResult, text: str) -> None:
    assert result_text("push", result) == text


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_its_words_and_each_error_is_told_once(state: State) -> None:
    status = Status(
        state=state,
        version="1",
        device=DeviceInfo(id="a" * 32, name="lap\ntop"),
        vault=VaultInfo(id="b", store="file:///x"),
        last_error="it broke",
        problems=[Problem(message="it broke", hint="mend it")],
        daemon=False,
    )
    lines = status_lines(status, NOON, lambda text, _: text)
    assert lines[0].endswith("(no daemon is running)")
    assert lines[2] == "device    lap\\ntop (aaaaaaaa)"
    assert lines[-2:] == ["problem: it broke", "hint: mend it"]
    assert sum("it broke" in line for line in lines) == 1
