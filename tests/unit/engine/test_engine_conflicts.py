"""How conflicts end: by hand, on several devices, at once and differently."""

import hashlib
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest
from devices import Device, Vault, settle

from claude_syncd.control.messages import Keep
from claude_syncd.engine import conflicts, versions
from claude_syncd.errors import UsageError

Trio = tuple[Device, Device, Device]
PATH = "skills/s/pic.txt"
ANN, BOB = "ann's\nsame\n", "bob's\nsame\n"


@pytest.fixture
async def trio(vault: Vault, tmp_path: Path, stack: ExitStack) -> Trio:
    """Three devices with one conflict: bob's side is in the tree, ann's is kept."""
    ann, bob, eve = (stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob", "eve"))
    for device in (ann, bob, eve):
        await device.start()
    ann.write(PATH, ANN, age=500)
    bob.write(PATH, BOB, age=400)
    await settle(ann, bob, eve)
    assert [d.read(PATH) for d in (ann, bob, eve)] == [BOB] * 3
    assert [list(d.conflicts().values()) for d in (ann, bob, eve)] == [[ANN]] * 3
    return ann, bob, eve


def resolve(device: Device, keep: Keep) -> None:
    (found,) = conflicts.kept(device.site)
    device.round.dirty |= conflicts.resolve(device.site, found, keep)


def everywhere(device: Device) -> set[str]:
    """Every content that can be had on a device without the vault's history: the tree and the kept sides."""
    return {p.read_text() for p in (device.places.tree / "skills").rglob("*") if p.is_file()} | set(
        device.conflicts().values()
    )


@pytest.mark.parametrize("keep", ["local", "remote", "both"])
async def test_what_one_of_three_resolves_is_resolved_on_all(trio: Trio, keep: Keep) -> None:
    resolve(trio[2], keep)
    await settle(*trio)
    assert [d.conflicts() for d in trio] == [{}] * 3
    trees = [d.tree() for d in trio]
    assert trees[0] == trees[1] == trees[2]
    assert {d.read(PATH) for d in trio} == {ANN if keep == "remote" else BOB}
    assert len(trees[0]) == (2 if keep == "both" else 1)


@pytest.mark.parametrize(("one", "other"), list(product(["local", "remote", "both"], repeat=2)))
async def test_two_that_resolve_at_once_agree_and_keep_what_either_wanted(trio: Trio, one: Keep, other: Keep) -> None:
    ann, bob, _ = trio
    resolve(ann, one)
    resolve(bob, other)
    await settle(*trio)
    # Not the times: who wrote the same bytes a moment later keeps that time.
    trees = [{path: sha256 for path, (sha256, _) in d.tree().items()} for d in trio]
    assert trees[0] == trees[1] == trees[2]
    assert len({tuple(sorted(d.conflicts().values())) for d in trio}) == 1
    for device in trio:
        assert device.read(PATH) == (ANN if "remote" in (one, other) else BOB)
        if "both" in (one, other):
            assert ANN in everywhere(device)
        published = [v.record.sha256 for v in versions.history(device.site, f"tree/{PATH}")]
        assert {hashlib.sha256(text.encode()).hexdigest() for text in (ANN, BOB)} <= set(published)


async def test_a_side_that_was_taken_and_lost_at_once_is_kept_again(trio: Trio) -> None:
    ann, bob, eve = trio
    eve.write(PATH, "eve went on\n", age=-60)
    await eve.sync()
    resolve(bob, "remote")
    await settle(bob, ann, eve)
    for device in trio:
        assert device.read(PATH) == "eve went on\n"
        assert ANN in device.conflicts().values()


async def test_a_merge_by_hand_ends_it_everywhere(trio: Trio) -> None:
    ann, bob, eve = trio
    (conflict,) = bob.conflicts()
    info, draft = conflicts.draft(bob.site, conflict)
    assert (info.path, draft.ours, draft.theirs) == (PATH, BOB, ANN)
    bob.round.dirty |= conflicts.take(bob.site, conflict, b"both of us\n", draft.sha256)
    await settle(*trio)
    assert [d.read(PATH) for d in (ann, bob, eve)] == ["both of us\n"] * 3
    assert [d.conflicts() for d in trio] == [{}] * 3


async def test_two_merges_by_hand_at_once_lose_neither(trio: Trio) -> None:
    for device, text in zip(trio, ("by ann\n", "by bob\n"), strict=False):
        (conflict,) = device.conflicts()
        _, draft = conflicts.draft(device.site, conflict)
        device.round.dirty |= conflicts.take(device.site, conflict, text.encode(), draft.sha256)
    await settle(*trio)
    for device in trio:
        assert everywhere(device) == {"by ann\n", "by bob\n"}


async def test_an_edit_between_draft_and_merge_is_not_overwritten(trio: Trio) -> None:
    ann = trio[0]
    (conflict,) = ann.conflicts()
    _, draft = conflicts.draft(ann.site, conflict)
    ann.write(PATH, "edited meanwhile\n")
    with pytest.raises(UsageError, match="changed meanwhile"):
        conflicts.take(ann.site, conflict, b"merged\n", draft.sha256)
    assert ann.read(PATH) == "edited meanwhile\n"
    assert len(ann.conflicts()) == 1


async def test_a_side_that_is_gone_from_the_tree_is_empty_and_what_is_no_text_is_refused(trio: Trio) -> None:
    ann = trio[0]
    (conflict,) = ann.conflicts()
    (ann.places.tree / PATH).unlink()
    assert conflicts.draft(ann.site, conflict)[1].sha256 == hashlib.sha256(b"").hexdigest()
    ann.write(PATH, b"\xff\xfe")
    with pytest.raises(UsageError, match="no text"):
        conflicts.draft(ann.site, conflict)
