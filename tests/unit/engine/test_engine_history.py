"""`history.jsonl` between devices: every prompt once, by time, with its project as it is named here."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from devices import Device, Vault, settle

from claude_syncd.engine.round import Direction
from claude_syncd.errors import IntegrityError

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

Pair = tuple[Device, Device]
FILE = "history.jsonl"
HASH = "0123456789abcdef"


def prompt(when: int, text: str, project: str = "/p", paste: str = "") -> str:
    pasted = {"1": {"id": 1, "type": "text", "contentHash": paste}} if paste else {}
    fields = {"display": text, "pastedContents": pasted, "timestamp": when, "project": project, "sessionId": "s"}
    return json.dumps(fields, separators=(",", ":")) + "\n"


def home(device: Device) -> str:
    return str(device.home.resolve())


async def test_prompts_of_both_are_in_the_history_in_their_order(pair: Pair) -> None:
    ann, bob = pair
    ann.write(FILE, prompt(1, "first"), age=1000)
    await settle(ann, bob)
    ann.append(FILE, prompt(2, "ann's") + prompt(5, "ann's last"))
    bob.append(FILE, prompt(3, "bob's"))
    await settle(ann, bob)
    expected = prompt(1, "first") + prompt(2, "ann's") + prompt(3, "bob's") + prompt(5, "ann's last")
    assert ann.read(FILE) == bob.read(FILE) == expected
    assert not ann.conflicts()
    assert not (bob.places.tree / "history.jsonl.lock").exists()


async def test_each_device_names_projects_by_its_own_home(pair: Pair) -> None:
    ann, bob = pair
    literal = "${HOME} ~/x " + home(ann)
    ann.write(FILE, prompt(1, literal, f"{home(ann)}/dev") + prompt(4, "${HOME}", "/srv/x"), age=1000)
    bob.write(FILE, prompt(2, "bob's", home(bob)) + prompt(3, "odd", "~/dev"), age=900)
    await settle(ann, bob)
    for device in pair:
        assert device.read(FILE) == (
            prompt(1, literal, f"{home(device)}/dev")
            + prompt(2, "bob's", home(device))
            + prompt(3, "odd", "~/dev")
            + prompt(4, "${HOME}", "/srv/x")
        )
    ann.append(FILE, prompt(5, "more", f"{home(ann)}/dev"))
    await settle(ann, bob)
    assert bob.read(FILE).endswith(prompt(5, "more", f"{home(bob)}/dev"))


async def test_an_appended_prompt_costs_its_own_bytes(pair: Pair) -> None:
    ann, bob = pair
    ann.write(FILE, "".join(prompt(n, os.urandom(50).hex(), f"{home(ann)}/p{n}") for n in range(3000)), age=1000)
    await settle(ann, bob)
    ann.append(FILE, prompt(5000, "one more", home(ann)))
    result = await ann.sync()
    assert (result.uploaded, result.requests.put) == (1, 1)
    assert result.bytes_up < 4000
    assert (await bob.sync()).downloaded == 1
    assert bob.read(FILE).endswith(prompt(5000, "one more", home(bob)))
    assert (await bob.sync()).uploaded == 0


async def test_a_line_that_another_device_spelled_otherwise_stays_as_it_is(
    vault: Vault, tmp_path: Path, stack: ExitStack, pair: Pair
) -> None:
    ann, bob = pair
    foreign = prompt(1, "of a shared disk", f"{home(bob)}/dev")
    ann.write(FILE, foreign, age=1000)
    await settle(ann, bob)
    assert ann.read(FILE) == bob.read(FILE) == foreign
    bob.append(FILE, prompt(2, "mine", f"{home(bob)}/dev"))
    cat = stack.enter_context(Device(vault, tmp_path, "cat").running())
    await cat.start()
    await settle(ann, bob, cat)
    assert ann.read(FILE) == foreign + prompt(2, "mine", f"{home(ann)}/dev")
    assert cat.read(FILE) == foreign + prompt(2, "mine", f"{home(cat)}/dev")


async def test_what_was_cut_off_at_one_device_comes_back_from_another(pair: Pair) -> None:
    ann, bob = pair
    ann.write(FILE, prompt(1, "a") + prompt(2, "b"), age=1000)
    await settle(ann, bob)
    ann.write(FILE, prompt(2, "b") + prompt(3, "c"), age=100)
    await settle(ann, bob)
    assert ann.read(FILE) == bob.read(FILE) == prompt(1, "a") + prompt(2, "b") + prompt(3, "c")


@pytest.mark.parametrize("merged", [False, True])
async def test_the_history_waits_while_claude_code_has_it_locked(pair: Pair, *, merged: bool) -> None:
    ann, bob = pair
    ann.write(FILE, prompt(1, "ann's"), age=100)
    if merged:
        bob.write(FILE, prompt(2, "bob's"), age=100)
    await ann.sync()
    lock = bob.places.tree / "history.jsonl.lock"
    lock.mkdir()
    await bob.sync()
    assert bob.has(FILE) is merged
    assert "ann's" not in (bob.read(FILE) if merged else "")
    lock.rmdir()
    await settle(ann, bob)
    assert ann.read(FILE) == bob.read(FILE) == prompt(1, "ann's") + (prompt(2, "bob's") if merged else "")


async def test_a_lock_that_a_crash_left_behind_does_not_hold_for_ever(pair: Pair) -> None:
    ann, bob = pair
    ann.write(FILE, prompt(1, "ann's"), age=100)
    bob.write(FILE, prompt(2, "bob's"), age=100)
    await ann.sync()
    lock = bob.places.tree / "history.jsonl.lock"
    lock.mkdir()
    os.utime(lock, (1, 1))
    await settle(ann, bob)
    assert bob.read(FILE) == prompt(1, "ann's") + prompt(2, "bob's")
    assert not lock.exists()


@pytest.mark.parametrize("merged", [False, True])
async def test_pastes_are_there_before_the_prompts_that_show_them(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, *, merged: bool
) -> None:
    ann, bob = pair
    ann.write(f"paste-cache/{HASH}.txt", "a long text", age=500)
    ann.write(FILE, prompt(1, "[Pasted]", paste=HASH), age=400)
    if merged:
        bob.write(FILE, prompt(2, "bob's"), age=400)
    await ann.sync()

    def broken(one: object) -> None:
        if str(getattr(one, "path", "")).endswith(f"{HASH}.txt"):
            one.error = IntegrityError("withheld")  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr("claude_syncd.engine.pull.verify", broken)
        result = await bob.sync()
        assert not bob.has(f"paste-cache/{HASH}.txt")
        if not merged:
            assert not bob.has(FILE)
            assert result.parked == 1
    await settle(ann, bob)
    assert bob.read(f"paste-cache/{HASH}.txt") == "a long text"
    assert HASH in bob.read(FILE)


async def test_a_deleted_history_is_removed_under_the_lock(pair: Pair) -> None:
    ann, bob = pair
    ann.write(FILE, prompt(1, "a"), age=100)
    await settle(ann, bob)
    (ann.places.tree / FILE).unlink()
    lock = bob.places.tree / "history.jsonl.lock"
    lock.mkdir()
    await ann.sync()
    await bob.sync(Direction.PULL)
    assert bob.has(FILE)
    lock.rmdir()
    await settle(ann, bob)
    assert not bob.has(FILE)


async def test_bytes_that_are_no_lines_come_through(pair: Pair) -> None:
    ann, bob = pair
    content = b'{"torn\n\0\0\n\xff\xfe\n{"project":"~/x","project":"/y"}\n' + prompt(1, "a", home(ann)).encode()
    ann.write(FILE, content, age=100)
    await settle(ann, bob)
    assert (bob.places.tree / FILE).read_bytes() == content.replace(home(ann).encode(), home(bob).encode())
