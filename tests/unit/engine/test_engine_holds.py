"""Files that are overwritten with garbage are not published; the user answers with yes, or brings them back."""

import random
import time

import pytest
from devices import Device, settle

from claude_syncd.core.safety import HoldReason
from claude_syncd.engine import restore
from claude_syncd.errors import Held

Pair = tuple[Device, Device]
FILES = [f"agents/{number}.md" for number in range(30)]
NOISE = random.Random(5)


def text(path: str) -> str:
    return f"what {path} says\n" * 20


async def filled(pair: Pair) -> None:
    for path in FILES:
        pair[0].write(path, text(path), age=500)
    await settle(*pair)


def spoil(device: Device, paths: list[str]) -> None:
    for path in paths:
        device.write(path, b"\xff" + NOISE.randbytes(400), age=100)


async def test_garbage_in_most_files_holds_until_it_is_brought_back(pair: Pair) -> None:
    ann, bob = pair
    await filled(pair)
    then = time.time_ns()
    spoil(ann, FILES[:25])
    for _ in range(2):
        with pytest.raises(Held):
            await ann.sync()
        assert ann.round.hold is not None
        assert ann.round.hold.reason is HoldReason.MASS_REWRITE
    await bob.sync()
    assert bob.read(FILES[0]) == text(FILES[0])
    wanted, unchanged = restore.in_place(ann.site, ann.site.state.paths("tree/"), None, then)
    assert (len(wanted), unchanged) == (25, 5)
    await restore.write_in_place(ann.site, wanted, ann.round.between_rounds)
    assert (await ann.sync()).uploaded == 0
    assert ann.round.hold is None
    assert [ann.read(path) for path in FILES] == [text(path) for path in FILES]


async def test_garbage_is_published_once_it_is_accepted(pair: Pair) -> None:
    ann, bob = pair
    await filled(pair)
    spoil(ann, FILES)
    with pytest.raises(Held):
        await ann.sync()
    await ann.round.accept()
    assert (await ann.sync()).uploaded == 30
    spoil(ann, FILES)
    with pytest.raises(Held):
        await ann.sync()  # the answer was for once
    await ann.round.accept()
    await settle(ann, bob)


async def test_garbage_that_comes_in_small_steps_is_added_up(pair: Pair) -> None:
    ann, _ = pair
    await filled(pair)
    spoil(ann, FILES[:10])
    assert (await ann.sync()).uploaded == 10
    spoil(ann, FILES[10:18])
    assert (await ann.sync()).uploaded == 8  # 18 files are too few to ask
    spoil(ann, FILES[18:])
    with pytest.raises(Held):
        await ann.sync()


async def test_work_on_all_files_is_no_reason_to_ask(pair: Pair) -> None:
    ann, bob = pair
    await filled(pair)
    for path in FILES:
        ann.write(path, f"all of it anew: {path}\n", age=100)
    await settle(ann, bob)
    assert bob.read(FILES[3]) == f"all of it anew: {FILES[3]}\n"
    for number in range(40):
        ann.write(f"skills/s/{number}.bin", NOISE.randbytes(100), age=90)
    await settle(ann, bob)
    for number in range(40):
        ann.write(f"skills/s/{number}.bin", NOISE.randbytes(100), age=80)  # never were text
    await settle(ann, bob)
