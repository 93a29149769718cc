"""Files that change while a round works on them: it looks once more, and does not pass over in silence what is left."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from devices import Device, settle

from claude_syncd.engine import round as rounds
from claude_syncd.engine.round import Direction, Limits
from claude_syncd.engine.supervisor import Supervisor
from claude_syncd.engine.timing import Intervals
from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Pair = tuple[Device, Device]
NOTE = "agents/x.md"


@pytest.fixture
async def edited(pair: Pair) -> Pair:
    """Both have the file, and ann has edited it since."""
    ann, bob = pair
    ann.write(NOTE, "one\n", age=500)
    await settle(ann, bob)
    ann.write(NOTE, "two\n", age=400)
    return pair


def before(step: str, monkeypatch: pytest.MonkeyPatch, times: int, act: Callable[[int], object]) -> None:
    """Have `act` called right before that step of a round, so many times."""
    real: Callable[..., Awaitable[Any]] = getattr(rounds, step)
    left = iter(range(times))

    async def acting(*arguments: Any) -> Any:
        if (number := next(left, None)) is not None:
            act(number)
        return await real(*arguments)

    monkeypatch.setattr(rounds, step, acting)


async def test_what_was_touched_while_it_came_in_is_there_after_one_round(
    edited: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = edited
    await ann.sync()
    before("receive", monkeypatch, 1, lambda _: bob.touch(NOTE, age=300))
    assert (await bob.sync()).downloaded == 1
    assert bob.read(NOTE) == "two\n"


async def test_what_came_in_for_a_file_that_moves_is_parked(edited: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = edited
    await ann.sync()
    with monkeypatch.context() as patch:
        before("receive", patch, 9, lambda number: bob.touch(NOTE, age=300 + number))
        result = await bob.sync()
    assert (result.parked, result.downloaded) == (1, 0)
    assert (bob.round.pending.parked, bob.round.pending.download) == (1, 0)
    assert not bob.round.unsettled
    result = await bob.sync()
    assert (result.parked, result.downloaded) == (0, 1)


async def test_what_was_edited_while_it_was_to_be_merged_is_merged_in_the_same_round(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = pair
    lines = [f"line {n}\n" for n in range(9)]
    ann.write("CLAUDE.md", "".join(lines), age=500)
    await settle(ann, bob)
    ann.write("CLAUDE.md", "".join(["first\n", *lines]), age=400)
    await ann.sync()
    bob.write("CLAUDE.md", "".join([*lines, "last\n"]), age=300)
    before("compare", monkeypatch, 1, lambda _: bob.append("CLAUDE.md", "and this\n"))
    assert (await bob.sync()).uploaded == 1
    await settle(ann, bob)
    for device in pair:
        assert device.read("CLAUDE.md") == "".join(["first\n", *lines, "last\n", "and this\n"])


async def test_what_was_edited_while_it_went_out_is_out_after_one_round(
    edited: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = edited
    before("push", monkeypatch, 1, lambda _: ann.write(NOTE, "three\n"))
    assert (await ann.sync()).uploaded == 1
    await bob.sync()
    assert bob.read(NOTE) == "three\n"


async def test_nobody_is_told_that_all_is_out_while_a_file_moves(edited: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = edited
    supervisor = Supervisor(ann.site, Intervals(), random.Random(1))
    with monkeypatch.context() as patch:
        before("push", patch, 9, lambda number: ann.write(NOTE, f"edit {number}\n"))
        with pytest.raises(LocalError, match=rf"tree/{NOTE} changed all the while"):
            await supervisor.run(Direction.SYNC, Limits())
    assert supervisor.error is None  # it is no lasting trouble
    assert (await supervisor.run(Direction.SYNC, Limits())).uploaded == 1
    await bob.sync()
    assert bob.read(NOTE) == ann.read(NOTE)
