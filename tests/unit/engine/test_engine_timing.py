import random

from claude_syncd.engine.timing import ACTIVE_FOR, Intervals, Schedule

TIMES = Intervals(active=5.0, idle=60.0)


def schedule(now: float = 0.0) -> Schedule:
    return Schedule(TIMES, random.Random(1), now)


def test_the_first_poll_is_due_at_once() -> None:
    assert schedule().due(0.0)


def test_it_polls_often_while_others_are_active_and_backs_off_with_jitter() -> None:
    times = schedule()
    times.polled(0.0, news=True)
    wait = times.wait(0.0)
    assert wait is not None
    assert 4.0 <= wait <= 6.0
    now, waits = ACTIVE_FOR + 1, []
    for _ in range(6):
        times.polled(now, news=False)
        wait = times.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits[0] < waits[-1]
    assert 48.0 <= waits[-1] <= 72.0


def test_failures_back_off_and_obey_the_server() -> None:
    times = schedule()
    times.failed(0.0)
    first = times.wait(0.0)
    assert times.failing
    for _ in range(10):
        times.failed(0.0)
    last = times.wait(0.0)
    assert first is not None
    assert last is not None
    assert first < 3.0 < last <= 72.0
    times.failed(0.0, retry_after=300.0)
    assert times.wait(0.0) == 300.0
    times.polled(0.0, news=False)
    assert not times.failing


def test_what_is_known_to_be_due_is_not_left_to_the_next_poll_but_for_a_store_that_fails() -> None:
    times = schedule()
    times.polled(ACTIVE_FOR + 1, news=False)
    now = ACTIVE_FOR + 1
    times.wake(now, 2.0)
    assert times.wait(now) == 2.0
    assert times.due(now + 2.0)
    times.wake(now, None)
    assert not times.due(now + 2.0)
    times.wake(now, 1000.0)  # later than the next poll
    assert times.due(now + 72.0)
    for _ in range(5):
        times.failed(now)
    times.wake(now, 2.0)
    assert not times.due(now + 2.0)


def test_a_lasting_error_waits_for_the_user() -> None:
    times = schedule()
    times.stop()
    assert times.wait(1e9) is None
    assert not times.due(1e9)
    times.soon(10.0)
    assert times.due(10.0)
