"""Time as a device has lived through it."""

from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.elapsed import AWAY, Elapsed, passed

NOW = 1_760_000_000 * 10**9
YEAR = 365 * 86_400


def test_while_it_runs_each_second_counts_once() -> None:
    at = passed(Elapsed(), wall_ns=NOW, running=0)
    assert at.seconds == 0
    at = passed(at, wall_ns=NOW + 60 * 10**9, running=60)
    assert at.seconds == 60


def test_an_absence_counts_a_day_at_the_most() -> None:
    at = Elapsed(seconds=5, latest_ns=NOW)
    assert passed(at, wall_ns=NOW + 3600 * 10**9, running=0).seconds == 5 + 3600
    assert passed(at, wall_ns=NOW + YEAR * 10**9, running=0).seconds == 5 + AWAY


def test_a_clock_that_goes_back_and_forth_counts_once() -> None:
    at = Elapsed(seconds=0, latest_ns=NOW)
    for _ in range(10):
        at = passed(at, wall_ns=NOW + YEAR * 10**9, running=1)
        at = passed(at, wall_ns=NOW - YEAR * 10**9, running=1)
    assert at.seconds == AWAY + 20


@given(st.lists(st.tuples(st.integers(-YEAR, YEAR), st.integers(0, 10_000))))
def test_it_never_goes_back_and_never_runs_far_ahead(steps: list[tuple[int, int]]) -> None:
    at, wall, lived, jumps = Elapsed(latest_ns=NOW), NOW, 0, 0
    for moved, running in steps:
        wall += moved * 10**9
        jumps += wall > at.latest_ns
        after = passed(at, wall_ns=wall, running=running)
        lived += running
        assert at.seconds + running <= after.seconds <= at.seconds + running + AWAY
        assert lived <= after.seconds <= lived + jumps * AWAY + 1
        at = after
