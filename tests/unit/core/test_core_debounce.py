from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.debounce import Debounce


def test_nothing_to_do_at_first() -> None:
    debounce = Debounce()
    assert not debounce.due(1000)
    assert debounce.wait(1000) is None


def test_due_after_quiet() -> None:
    debounce = Debounce(quiet=2, limit=15)
    debounce.hint(100)
    assert debounce.wait(100) == 2
    debounce.hint(101)
    assert debounce.wait(101) == 2
    assert not debounce.due(102.5)
    assert debounce.due(103)
    assert debounce.wait(103) == 0
    assert debounce.wait(200) == 0


def test_never_later_than_the_limit() -> None:
    debounce = Debounce(quiet=2, limit=15)
    for now in range(100, 115):
        debounce.hint(now)
        assert not debounce.due(now)
    assert debounce.wait(114) == 1
    assert debounce.due(115)


def test_a_limit_below_the_quiet_time_counts() -> None:
    debounce = Debounce(quiet=5, limit=1)
    debounce.hint(0)
    assert debounce.due(1)


def test_a_poke_is_due_at_once_and_stays_due() -> None:
    debounce = Debounce()
    debounce.poke(5)
    assert debounce.due(5)
    debounce.hint(5)
    assert debounce.due(5)
    debounce.hint(6)
    assert debounce.due(6)


def test_a_poke_hastens_what_waits() -> None:
    debounce = Debounce()
    debounce.hint(5)
    debounce.poke(5.5)
    assert debounce.due(5.5)
    assert debounce.wait(5.5) == 0


def test_what_was_taken_is_gone_and_the_next_hint_begins_anew() -> None:
    debounce = Debounce(quiet=2, limit=15)
    debounce.hint(0)
    debounce.taken()
    assert not debounce.due(100)
    assert debounce.wait(100) is None
    debounce.hint(100)
    assert debounce.wait(100) == 2


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["hint", "poke", "taken"])), max_size=30),
    st.integers(0, 5),
    st.integers(0, 20),
)
def test_it_waits_exactly_until_it_is_due_and_no_hint_is_forgotten(
    steps: list[tuple[int, str]], quiet: int, limit: int
) -> None:
    debounce = Debounce(quiet, limit)
    now = 0
    first: int | None = None
    for pause, step in steps:
        now += pause
        if step == "taken":
            debounce.taken()
            first = None
        else:
            debounce.hint(now) if step == "hint" else debounce.poke(now)
            first = now if first is None else first
        wait = debounce.wait(now)
        assert (wait is None) == (first is None)
        assert debounce.due(now) == (wait == 0)
        if wait is not None and first is not None:
            assert wait <= quiet or debounce.due(now)
            assert debounce.due(first + limit)
