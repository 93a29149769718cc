"""`settings.json` between devices: key by key, what is of one machine stays, what runs code waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from devices import Device, Vault, settle

from claude_syncd.core.model import Kind, heads
from claude_syncd.engine import conflicts
from claude_syncd.engine.projected import bring, remembered
from claude_syncd.errors import LocalError
from claude_syncd.local.apply import Applier
from claude_syncd.local.scan import Looker
from claude_syncd.local.state import Staged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack
    from pathlib import Path

Pair = tuple[Device, Device]
FILE = "settings.json"
PATH = f"tree/{FILE}"


def hook(command: str) -> dict[str, object]:
    return {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}


def put(device: Device, value: object, *, age: float = 10.0) -> None:
    device.write(FILE, value if isinstance(value, bytes) else json.dumps(value, indent=2) + "\n", age=age)


def has(device: Device) -> Any:
    return json.loads(device.read(FILE))


def changed(device: Device, change: Mapping[str, object], *, age: float = 10.0) -> None:
    put(device, {**has(device), **change}, age=age)


def waiting(device: Device) -> dict[str, tuple[str | None, str | None]]:
    spot = device.site.paths.spot(PATH)
    assert spot is not None
    memory = remembered(device.site, spot)
    return {w.setting: (w.old, w.new) for w in memory.waiting} if memory is not None else {}


async def test_settings_travel_by_key_and_each_device_keeps_its_own(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "env": {"ANN": "1"}, "sandbox": {"enabled": True}, "theme": "dark"}, age=100)
    put(bob, {"env": {"BOB": "2"}, "apiKeyHelper": "~/bin/key"}, age=50)
    await settle(ann, bob)
    assert has(ann) == {"model": "a", "env": {"ANN": "1"}, "sandbox": {"enabled": True}, "theme": "dark"}
    assert has(bob) == {"env": {"BOB": "2"}, "apiKeyHelper": "~/bin/key", "model": "a", "theme": "dark"}
    assert not ann.conflicts()
    assert not bob.conflicts()
    changed(bob, {"theme": "light"})
    await settle(ann, bob)
    assert has(ann)["theme"] == "light"
    assert has(ann)["env"] == {"ANN": "1"}


async def test_permissions_travel_where_nothing_else_changed(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "opus"})
    await settle(ann, bob)
    (ann.places.tree / FILE).chmod(0o640)
    await settle(ann, bob)
    assert (bob.places.tree / FILE).stat().st_mode & 0o777 == 0o640


async def test_nothing_of_one_machine_is_in_the_vault(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "env": {"TOKEN": "s3cret"}, "hooks": hook("/opt/x s3cret"), "new": {"password": "s3cret"}})
    await settle(ann, bob)
    assert has(bob) == {"model": "a"}
    assert "s3cret" not in bob.read(FILE)
    changed(ann, {"apiKeyHelper": "echo s3cret"})
    assert (await ann.sync()).uploaded == 0
    assert (await bob.sync()).downloaded == 0


async def test_a_change_keeps_order_spelling_and_what_is_not_known(pair: Pair) -> None:
    ann, bob = pair
    ann.write(FILE, '{ "unknown":1.0,\n\t"model" : "a" }', age=1000)
    await settle(ann, bob)
    bob.write(FILE, '{\n  "env": {"A":  "b"},\n  "model": "a", "zzz": [1,  2],\n  "sandbox": {}\n}\n', age=500)
    await settle(ann, bob)
    bob_before = bob.read(FILE)
    ann.write(FILE, ann.read(FILE).replace('"a"', '"b"'), age=100)
    await settle(ann, bob)
    assert bob.read(FILE) == bob_before.replace('"model": "a"', '"model": "b"')


async def test_what_runs_code_waits_and_is_not_taken_for_a_change_here(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "statusLine": {"type": "command", "command": "old"}}, age=1000)
    await settle(ann, bob)
    put(bob, {"model": "a", "statusLine": {"type": "command", "command": "mine"}}, age=900)
    await settle(ann, bob)
    command = {"type": "command", "command": "new"}
    changed(ann, {"statusLine": command, "hooks": hook("evil"), "cleanupPeriodDays": 1}, age=100)
    await settle(ann, bob)
    assert has(bob) == {"model": "a", "statusLine": {"type": "command", "command": "mine"}}
    assert set(waiting(bob)) == {"statusLine", "hooks.Stop", "cleanupPeriodDays"}
    assert waiting(bob)["cleanupPeriodDays"] == (None, "1")
    # Neither a scan, nor a touch, nor a change of another setting publishes the older value.
    bob.touch(FILE, age=1)
    changed(bob, {"model": "b"})
    await settle(ann, bob)
    assert has(ann) == {"model": "b", "statusLine": command, "hooks": hook("evil"), "cleanupPeriodDays": 1}
    assert set(waiting(bob)) == {"statusLine", "hooks.Stop", "cleanupPeriodDays"}
    assert not waiting(ann)


async def test_what_is_wanted_here_again_is_published_over_what_waits(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"newHelper": "a"}, age=1000)
    await settle(ann, bob)
    put(bob, {"newHelper": "b"}, age=100)
    await settle(ann, bob)
    assert has(ann) == {"newHelper": "a"}
    assert waiting(ann) == {"newHelper": ('"a"', '"b"')}
    put(ann, {"newHelper": "c"}, age=50)
    await settle(ann, bob)
    assert has(bob) == {"newHelper": "b"}
    assert waiting(bob) == {"newHelper": ('"b"', '"c"')}


async def test_a_third_device_that_joins_gets_what_is_harmless(
    vault: Vault, tmp_path: Path, stack: ExitStack, pair: Pair
) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "hooks": hook("x")}, age=100)
    await settle(ann, bob)
    cat = stack.enter_context(Device(vault, tmp_path, "cat").running())
    await cat.start()
    await settle(ann, bob, cat)
    assert has(cat) == {"model": "a"}
    assert (await cat.sync()).uploaded == 0
    assert set(waiting(cat)) == {"hooks.Stop"}
    changed(bob, {"theme": "dark"})
    await settle(ann, bob, cat)
    assert has(cat) == {"model": "a", "theme": "dark"}
    assert has(ann) == {"model": "a", "hooks": hook("x"), "theme": "dark"}


async def test_only_what_waits_makes_a_file_and_is_no_deletion(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"hooks": hook("x")}, age=100)
    await settle(ann, bob)
    assert has(bob) == {}
    assert set(waiting(bob)) == {"hooks.Stop"}
    assert has(ann) == {"hooks": hook("x")}


async def test_both_change_other_keys_at_once(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "permissions": {"allow": ["A", "B"]}}, age=1000)
    await settle(ann, bob)
    put(ann, {"model": "b", "permissions": {"allow": ["A"]}, "env": {"A": "a"}}, age=100)
    put(bob, {"model": "a", "theme": "x", "permissions": {"allow": ["A", "B", "C"]}, "hooks": hook("of bob")}, age=50)
    await settle(ann, bob)
    assert has(ann) == {"model": "b", "permissions": {"allow": ["A", "C"]}, "env": {"A": "a"}, "theme": "x"}
    assert has(bob) == {"model": "b", "permissions": {"allow": ["A", "C"]}, "theme": "x", "hooks": hook("of bob")}
    assert set(waiting(ann)) == {"hooks.Stop"}
    assert not ann.conflicts()
    assert not bob.conflicts()
    assert len(heads(ann.site.state.newest(PATH))) == 1


async def test_a_conflict_is_of_what_is_shared_only(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "env": {"A": "s3cret"}}, age=1000)
    await settle(ann, bob)
    changed(ann, {"model": "b"}, age=100)
    changed(bob, {"model": "c"}, age=50)
    await settle(ann, bob)
    assert has(ann) == {"model": "c", "env": {"A": "s3cret"}}
    (kept,) = bob.conflicts().values()
    assert json.loads(kept) == {"model": "b"}
    (found,) = conflicts.kept(ann.site)
    _, diff, _ = conflicts.shown(ann.site, found.path.partition("/")[0])
    assert "s3cret" not in diff
    assert '-  "model": "c"' in diff


async def test_the_kept_side_comes_back_without_what_must_wait(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "env": {"A": "1"}}, age=1000)
    await settle(ann, bob)
    put(bob, {"model": "b", "hooks": hook("of bob")}, age=100)
    changed(ann, {"model": "c"}, age=50)
    await settle(ann, bob)
    (found,) = conflicts.kept(ann.site)
    ann.round.dirty |= conflicts.resolve(ann.site, found, "remote")
    assert has(ann) == {"model": "b", "env": {"A": "1"}}
    assert set(waiting(ann)) == {"hooks.Stop"}
    await settle(ann, bob)
    assert has(bob) == {"model": "b", "hooks": hook("of bob")}
    assert not bob.conflicts()


@pytest.mark.parametrize("broken", [b'{"model": "c", // mine\n}', b'{"model":"c","model":"d"}', b"\xef\xbb\xbf{}", b""])
async def test_a_file_that_is_no_json_is_neither_sent_nor_written_over(pair: Pair, broken: bytes) -> None:
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    await settle(ann, bob)
    changed(ann, {"model": "b"}, age=50)
    put(bob, broken, age=20)
    await settle(ann, bob)
    assert (bob.places.tree / FILE).read_bytes() == broken
    assert has(ann) == {"model": "b"}
    assert "is not synced" in bob.site.problems[f"read:{PATH}"]
    put(bob, {"model": "a", "theme": "mended"})
    await settle(ann, bob)
    assert has(bob) == {"model": "b", "theme": "mended"}
    assert not bob.site.problems


@pytest.mark.parametrize("both", [False, True])
async def test_what_is_no_json_in_the_vault_is_never_written(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, *, both: bool
) -> None:
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    await settle(ann, bob)
    hostile = b'{"model": "b", "hooks": {}, "hooks": {"Stop": []}}'
    with monkeypatch.context() as patch:
        patch.setattr("claude_syncd.core.projection.SettingsForm.outward", lambda _self, disk: disk)
        put(ann, hostile, age=1)
        await ann.sync()
    if both:
        changed(bob, {"theme": "x"}, age=100)
    await bob.sync()
    assert has(bob) == ({"model": "a", "theme": "x"} if both else {"model": "a"})
    if both:
        assert (await bob.sync()).uploaded == 0
        put(ann, {"model": "a"})
        await settle(ann, bob)
        assert has(ann) == {"model": "a", "theme": "x"}
    else:
        assert "is not synced" in bob.site.problems[f"apply:{PATH}"]


async def test_a_deleted_file_leaves_what_is_of_this_machine_and_what_runs_code(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "hooks": hook("x")}, age=1000)
    put(bob, {"env": {"A": "b"}}, age=1000)
    await settle(ann, bob)
    (ann.places.tree / FILE).unlink()
    await settle(ann, bob)
    assert has(bob) == {"env": {"A": "b"}}
    assert not ann.has(FILE)
    assert {h.kind for h in heads(bob.site.state.newest(PATH))} == {Kind.TOMBSTONE}
    assert (await bob.sync()).uploaded == 0
    put(ann, {"model": "c"})
    await settle(ann, bob)
    assert has(bob) == {"env": {"A": "b"}, "model": "c"}


async def test_a_file_without_anything_of_its_own_is_deleted_with_it(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    await settle(ann, bob)
    (ann.places.tree / FILE).unlink()
    await settle(ann, bob)
    assert not bob.has(FILE)


async def test_a_deletion_that_is_cut_off_leaves_no_empty_file(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    await settle(ann, bob)
    (ann.places.tree / FILE).unlink()
    await ann.sync()

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Applier, "remove", cut_off)
        with pytest.raises(KeyboardInterrupt):
            await bob.sync()
    await settle(ann, bob)
    assert not bob.has(FILE)


async def test_settings_of_the_folder_itself_travel_by_key_too(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann, bob = (stack.enter_context(Device(vault, tmp_path, name, scope="full").running()) for name in ("ann", "bob"))
    await ann.start()
    await bob.start()
    ann.write("settings.local.json", json.dumps({"model": "a", "hooks": hook("evil"), "env": {"A": "b"}}))
    await settle(ann, bob)
    assert json.loads(bob.read("settings.local.json")) == {"model": "a"}


async def test_a_lost_state_publishes_no_older_value_unseen(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        put(ann, {"model": "a"}, age=1000)
        await settle(ann, bob)
        changed(ann, {"hooks": hook("x"), "newHelper": "n"}, age=100)
        await settle(ann, bob)
        assert has(bob) == {"model": "a"}
    for path in bob.places.state.glob("state.db*"):
        path.unlink()
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        await settle(ann, bob)
        assert has(ann) == {"model": "a", "hooks": hook("x"), "newHelper": "n"}
        assert has(bob) == {"model": "a"}
        assert set(waiting(bob)) == {"hooks.Stop", "newHelper"}


async def test_a_crash_between_the_file_and_its_memory_does_no_harm(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = pair
    put(ann, {"model": "a", "newHelper": "a"}, age=1000)
    await settle(ann, bob)
    put(bob, {"model": "a", "newHelper": "b"}, age=900)
    await settle(ann, bob)
    put(bob, {"model": "b", "newHelper": "c", "hooks": hook("x")}, age=100)
    await bob.sync()

    def killed(*_: object, **__: object) -> None:
        raise LocalError("killed")

    for name in ("claude_syncd.engine.projected.remember", "claude_syncd.engine.take._track"):
        with monkeypatch.context() as patch:
            patch.setattr(name, killed)
            await ann.sync()
    await settle(ann, bob)
    assert has(ann) == {"model": "b", "newHelper": "a"}
    assert has(bob) == {"model": "b", "newHelper": "c", "hooks": hook("x")}
    assert set(waiting(ann)) == {"newHelper", "hooks.Stop"}


async def test_a_file_that_changes_while_it_is_taken_is_looked_at_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    await settle(ann, bob)
    changed(ann, {"model": "b"}, age=100)
    await ann.sync()

    def late(*arguments: Any) -> Any:
        changed(bob, {"theme": "late"}, age=5)
        return bring(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("claude_syncd.engine.take.bring", late)
        await bob.sync()
    assert has(bob) == {"model": "b", "theme": "late"}
    await settle(ann, bob)
    assert has(ann) == has(bob) == {"model": "b", "theme": "late"}


@pytest.mark.parametrize("hops", [1, 2])
async def test_a_linked_file_is_sent_and_never_written_through(
    vault: Vault, tmp_path: Path, stack: ExitStack, hops: int
) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    ann = stack.enter_context(Device(vault, tmp_path, "ann", follow=[str(dotfiles)]).running())
    bob = stack.enter_context(Device(vault, tmp_path, "bob").running())
    target = dotfiles / "claude.json"
    target.write_text('{"model": "a", "env": {"A": "b"}}')
    link = ann.places.tree / FILE
    if hops == 2:
        (dotfiles / "second.json").symlink_to(target)
        link.symlink_to(dotfiles / "second.json")
    else:
        link.symlink_to(target)
    await ann.start()
    await bob.start()
    await settle(ann, bob)
    assert has(bob) == {"model": "a"}
    changed(bob, {"model": "b"})
    await settle(ann, bob)
    assert link.is_symlink()
    assert json.loads(target.read_text()) == {"model": "a", "env": {"A": "b"}}
    assert "symbolic link" in ann.site.problems[f"apply:{PATH}"]
    # A change that needs no write is taken nevertheless.
    changed(bob, {"model": "a", "hooks": hook("x")})
    await settle(ann, bob)
    assert f"apply:{PATH}" not in ann.site.problems
    assert set(waiting(ann)) == {"hooks.Stop"}


async def test_a_push_that_was_cut_off_does_not_send_what_the_file_stood_for_then(pair: Pair) -> None:
    ann, bob = pair
    put(ann, {"model": "a"}, age=1000)
    await settle(ann, bob)
    changed(ann, {"theme": "new"})
    identity = Looker(ann.places.tree).look(FILE)
    assert identity is not None
    record = ann.site.state.newest(PATH)[0]
    slices = ann.site.state.slices(PATH, record.device)
    old = Staged(path=PATH, identity=identity.identity, size=record.size, sha256=record.sha256, slices=slices)
    ann.site.state.stage([old])
    await settle(ann, bob)
    assert has(bob) == {"model": "a", "theme": "new"}
