"""What is forgotten goes everywhere and stays away, unless somebody had changed it who did not know."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from devices import Device, Vault, settle

from claude_syncd.core.status import VersionKind
from claude_syncd.engine import forget, versions
from claude_syncd.errors import UsageError

Pair = tuple[Device, Device]


def row(number: int) -> str:
    return f'{{"type":"user","uuid":"{number}","message":"line {number}"}}\n'


def forgotten(device: Device, *paths: str) -> list[str]:
    """What `forget PATH...` does before its push."""
    chosen = forget.forgettable(device.site, paths, "/")
    forget.forget(device.site, chosen)
    return chosen


def heard_of(device: Device) -> list[str]:
    return [p.message for p in forget.outlived(device.site)]


async def test_a_session_goes_everywhere_with_its_folder_and_stays_away(pair: Pair) -> None:
    ann, bob = pair
    session = ann.transcript()
    side = f"{session.removesuffix('.jsonl')}/tool-results/1.txt"
    ann.write(session, row(1), age=500)
    ann.write(side, "output", age=500)
    await settle(ann, bob)
    ann.write(session, row(2), age=400)
    await settle(ann, bob)
    assert len(forgotten(ann, session)) == 2
    await settle(ann, bob)
    assert not ann.tree()
    assert not bob.tree()
    portable = ann.site.paths.portable(session)
    assert portable is not None
    assert [v.kind for v in versions.described(bob.site, portable).versions] == [VersionKind.DELETED]
    assert not list(ann.places.trash.rglob("*.jsonl"))
    assert not heard_of(ann)
    # A new session under that name is a new file like any other.
    ann.write(session, row(3), age=100)
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == row(3)


@pytest.mark.parametrize("evicted", [False, True])
async def test_a_device_that_was_away_does_not_bring_it_back(pair: Pair, *, evicted: bool) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    if evicted:
        (bob.places.tree / bob.transcript()).unlink()
        await bob.sync()
    forgotten(ann, ann.transcript())
    await ann.sync()
    await settle(bob, ann)
    assert not ann.has(ann.transcript())
    assert not bob.has(bob.transcript())


async def test_an_evicted_session_can_be_forgotten(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    (ann.places.tree / ann.transcript()).unlink()
    await settle(ann, bob)
    assert bob.has(bob.transcript())
    forgotten(ann, ann.transcript())
    await settle(ann, bob)
    assert not bob.has(bob.transcript())


@pytest.mark.parametrize("published", [False, True])
async def test_a_copy_that_was_edited_meanwhile_lives_and_is_told(pair: Pair, *, published: bool) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    bob.append(bob.transcript(), row(2))
    bob.touch(bob.transcript(), age=100)
    if published:
        await bob.sync()
    forgotten(ann, ann.transcript())
    await settle(ann, bob)
    assert [d.read(d.transcript()) for d in pair] == [row(1) + row(2)] * 2
    assert heard_of(ann) == [f"{ann.transcript()} was forgotten, but bob had changed it meanwhile: it was kept"]
    assert not heard_of(bob)
    forgotten(ann, ann.transcript())  # now knowing
    await settle(ann, bob)
    assert not ann.has(ann.transcript())
    assert not bob.has(bob.transcript())
    assert not heard_of(ann)


async def test_what_the_cleanup_evicts_later_is_not_forgotten_again(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    bob.append(bob.transcript(), row(2))
    bob.touch(bob.transcript(), age=100)
    forgotten(ann, ann.transcript())
    await settle(ann, bob)
    (ann.places.tree / ann.transcript()).unlink()
    await settle(ann, bob)
    assert bob.has(bob.transcript())


async def test_many_files_at_once_are_no_accident(pair: Pair) -> None:
    ann, bob = pair
    for number in range(50):
        ann.write(f"agents/{number}.md", "x" * number)
    ann.write("CLAUDE.md", "stays\n")
    await settle(ann, bob)
    assert len(forgotten(ann, "agents")) == 50
    await settle(ann, bob)
    assert list(bob.tree()) == ["CLAUDE.md"]


async def test_kept_sides_of_conflicts_go_with_the_file(pair: Pair) -> None:
    ann, bob = pair
    ann.write("skills/s/pic.bin", b"\0ann", age=500)
    bob.write("skills/s/pic.bin", b"\0bob", age=400)
    await settle(ann, bob)
    assert len(ann.conflicts()) == 1
    assert len(forgotten(bob, "skills/s/pic.bin")) == 2
    await settle(ann, bob)
    for device in pair:
        assert not device.tree()
        assert not device.conflicts()


async def test_three_devices_that_forget_and_edit_at_once_agree(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann, bob, eve = (stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob", "eve"))
    for device in (ann, bob, eve):
        await device.start()
    ann.write("agents/x.md", "one\n", age=500)
    await settle(ann, bob, eve)
    forgotten(ann, "agents/x.md")
    forgotten(bob, "agents/x.md")
    eve.write("agents/x.md", "two\n", age=100)
    await settle(ann, bob, eve)
    assert [d.read("agents/x.md") for d in (ann, bob, eve)] == ["two\n"] * 3
    assert [len(heard_of(d)) for d in (ann, bob, eve)] == [1, 1, 0]


async def test_what_runs_or_is_unknown_is_not_forgotten(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    session = ann.transcript().rpartition("/")[2].removesuffix(".jsonl")
    ann.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{session}"}}')
    for path in (ann.transcript(), "agents/none.md"):
        with pytest.raises(UsageError):
            forgotten(ann, path)
    assert ann.has(ann.transcript())
