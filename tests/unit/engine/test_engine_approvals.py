"""Approving and rejecting settings of other devices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from devices import Device, settle

from claude_syncd.engine import approvals
from claude_syncd.engine.approvals import answer, listed
from claude_syncd.errors import LocalError, UsageError

if TYPE_CHECKING:
    from claude_syncd.core.status import ApprovalInfo

Pair = tuple[Device, Device]
FILE = "settings.json"


def hook(command: str) -> dict[str, object]:
    return {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}


def put(device: Device, value: object, *, age: float = 10.0) -> None:
    device.write(FILE, json.dumps(value, indent=2) + "\n", age=age)


def has(device: Device) -> Any:
    return json.loads(device.read(FILE))


def waiting(device: Device) -> dict[str, ApprovalInfo]:
    found = {info.setting: info for info in listed(device.site)}
    assert approvals.count(device.site) == len(found)
    return found


async def waits(pair: Pair) -> None:
    """Bob is asked about three settings of Ann's."""
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    put(bob, {"model": "a", "env": {"BOB": "1"}, "cleanupPeriodDays": 99}, age=2000)
    await settle(ann, bob)
    ((one,),) = (waiting(ann).values(),)
    answer(ann.site, [one.id], accept=True)
    put(ann, {"model": "a", "hooks": hook("x"), "cleanupPeriodDays": 1, "newHelper": "h"}, age=100)
    await settle(ann, bob)


async def test_who_changed_what_when_is_told(pair: Pair) -> None:
    _, bob = pair
    await waits(pair)
    found = waiting(bob)
    assert set(found) == {"hooks.Stop", "cleanupPeriodDays", "newHelper"}
    one = found["cleanupPeriodDays"]
    assert (one.path, one.old, one.new, one.device, one.dangerous) == (FILE, "99", "1", "ann", True)
    assert one.time.endswith("Z")
    assert found["hooks.Stop"].old is None
    assert not found["hooks.Stop"].dangerous
    assert len({info.id for info in found.values()}) == 3


async def test_an_approved_setting_is_in_the_file_at_once_and_stays(pair: Pair) -> None:
    ann, bob = pair
    await waits(pair)
    assert answer(bob.site, [waiting(bob)["hooks.Stop"].id], accept=True) == ["tree/settings.json"]
    expected = {"model": "a", "env": {"BOB": "1"}, "cleanupPeriodDays": 99, "hooks": hook("x")}
    assert has(bob) == expected
    assert set(waiting(bob)) == {"cleanupPeriodDays", "newHelper"}
    result = await bob.sync()
    assert (result.uploaded, result.downloaded) == (0, 0)
    put(ann, {**has(ann), "theme": "dark"})
    await settle(ann, bob)
    assert has(bob) == {**expected, "theme": "dark"}
    assert set(waiting(bob)) == {"cleanupPeriodDays", "newHelper"}
    put(bob, {**has(bob), "hooks": {}})
    await settle(ann, bob)
    assert "Stop" in has(ann)["hooks"]
    assert set(waiting(ann)) == {"hooks.Stop"}


async def test_all_that_wait_are_answered_at_once(pair: Pair) -> None:
    _, bob = pair
    await waits(pair)
    answer(bob.site, [waiting(bob)["newHelper"].id], accept=False)
    assert len(answer(bob.site, None, accept=True)) == 2
    assert has(bob) == {"model": "a", "env": {"BOB": "1"}, "cleanupPeriodDays": 1, "hooks": hook("x")}
    assert not waiting(bob)
    assert answer(bob.site, None, accept=True) == []


async def test_a_rejected_setting_comes_again_only_when_it_changes(pair: Pair) -> None:
    ann, bob = pair
    await waits(pair)
    before = has(bob)
    answer(bob.site, [waiting(bob)["newHelper"].id], accept=False)
    put(ann, {**has(ann), "theme": "dark"})
    await settle(ann, bob)
    assert set(waiting(bob)) == {"hooks.Stop", "cleanupPeriodDays"}
    assert has(bob) == {**before, "theme": "dark"}
    assert has(ann)["newHelper"] == "h"
    put(ann, {**has(ann), "newHelper": "other"})
    await settle(ann, bob)
    assert waiting(bob)["newHelper"].new == '"other"'
    put(ann, {**has(ann), "newHelper": "h"})
    await settle(ann, bob)
    assert waiting(bob)["newHelper"].new == '"h"'


async def test_an_approval_is_for_the_value_that_was_shown(pair: Pair) -> None:
    ann, bob = pair
    await waits(pair)
    shown = waiting(bob)["hooks.Stop"].id
    put(ann, {**has(ann), "hooks": hook("evil")})
    await settle(ann, bob)
    before = has(bob)
    for ids in ([shown], [shown, waiting(bob)["newHelper"].id], [""], ["zz"]):
        with pytest.raises(UsageError, match="no change waits"):
            answer(bob.site, ids, accept=True)
    assert has(bob) == before
    assert len(waiting(bob)) == 3


async def test_what_this_user_adds_meanwhile_is_part_of_what_is_asked(pair: Pair) -> None:
    ann, bob = pair
    await waits(pair)
    mine = hook("mine")
    put(bob, {**has(bob), "hooks": mine, "theme": "new"})
    info = waiting(bob)["hooks.Stop"]
    assert (info.device, json.loads(info.old or "")) == ("ann", mine["Stop"])
    answer(bob.site, [info.id], accept=True)
    assert has(bob)["theme"] == "new"
    assert has(bob)["hooks"] == {"Stop": [*mine["Stop"], *hook("x")["Stop"]]}  # type: ignore[misc]
    await settle(ann, bob)
    assert has(ann)["theme"] == "new"
    assert has(ann)["hooks"] == hook("x")
    assert set(waiting(ann)) == {"hooks.Stop"}


async def test_an_approved_deletion_is_carried_out(pair: Pair) -> None:
    ann, bob = pair
    await waits(pair)
    answer(bob.site, None, accept=True)
    put(ann, {"model": "a"})
    await settle(ann, bob)
    assert {name: info.new for name, info in waiting(bob).items()} == {
        "hooks.Stop": None,
        "cleanupPeriodDays": None,
        "newHelper": None,
    }
    answer(bob.site, None, accept=True)
    assert has(bob) == {"model": "a", "env": {"BOB": "1"}}
    assert (await bob.sync()).uploaded == 0


async def test_a_file_that_is_no_json_now_is_not_written_over(pair: Pair) -> None:
    _, bob = pair
    await waits(pair)
    ids = [info.id for info in waiting(bob).values()]
    bob.write(FILE, "{ // mine\n}")
    assert waiting(bob) == {}
    with pytest.raises(UsageError):
        answer(bob.site, ids, accept=True)
    assert bob.read(FILE) == "{ // mine\n}"


async def test_a_file_that_is_gone_is_not_made(pair: Pair) -> None:
    _, bob = pair
    await waits(pair)
    (bob.places.tree / FILE).unlink()
    with pytest.raises(UsageError):
        answer(bob.site, ["0123"], accept=True)
    assert answer(bob.site, None, accept=True) == []
    assert not bob.has(FILE)


async def test_a_linked_file_is_not_written_through(pair: Pair) -> None:
    _, bob = pair
    await waits(pair)
    file = bob.places.tree / FILE
    target = file.rename(bob.places.tree / "real.json")
    file.symlink_to(target)
    before = target.read_text()
    with pytest.raises(LocalError, match="symbolic link"):
        answer(bob.site, None, accept=True)
    assert target.read_text() == before
    assert len(waiting(bob)) == 3
