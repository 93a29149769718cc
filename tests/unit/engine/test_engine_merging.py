"""Both sides changed: what can be merged is, on every device to the same bytes, and nothing of any side is missing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from devices import SESSION, Device, Vault, settle

from claude_syncd.core.model import Kind, heads
from claude_syncd.engine import fetch as fetching
from claude_syncd.engine import merging, pull
from claude_syncd.engine.round import Direction
from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from claude_syncd.engine.fetch import Fetch
    from claude_syncd.engine.site import Site

Pair = tuple[Device, Device]
BASE = "".join(f"line {number}\n" for number in range(10))


def row(name: str, parent: str | None, when: int, session: str = SESSION) -> str:
    fields = {
        "parentUuid": parent,
        "sessionId": session,
        "type": "user",
        "message": {"role": "user", "content": f"says {name}"},
        "uuid": name,
        "timestamp": f"2026-01-01T00:{when:02d}:00.000Z",
    }
    return json.dumps(fields) + "\n"


def begun(*names: str) -> str:
    """The first rows of a conversation."""
    return "".join(row(name, names[at - 1] if at else None, at) for at, name in enumerate(names))


def goes_on(after: str, *names: str, since: int) -> str:
    """Rows that follow the row `after`."""
    return "".join(row(name, names[at - 1] if at else after, since + at) for at, name in enumerate(names))


def edited(text: str, number: int, word: str) -> str:
    lines = text.splitlines(keepends=True)
    lines[number] = f"{word}\n"
    return "".join(lines)


def sessions(device: Device) -> dict[str, str]:
    """Session id -> its rows, of the one project."""
    folder = (device.places.tree / device.transcript()).parent
    return {path.stem: path.read_text() for path in folder.glob("*.jsonl")}


def uuids(text: str) -> list[str]:
    return [fields["uuid"] for line in text.splitlines() if "uuid" in (fields := json.loads(line))]


def same(devices: Sequence[Device]) -> None:
    first, *others = (sessions(device) for device in devices)
    assert all(other == first for other in others)
    assert all(not device.conflicts() for device in devices)


async def diverged(ann: Device, bob: Device, *, published: bool) -> None:
    """Both go on with one session; neither knows of the other's rows."""
    ann.write(ann.transcript(), begun("r1", "r2"), age=1000)
    await settle(ann, bob)
    ann.append(ann.transcript(), goes_on("r2", "a1", "a2", since=10))
    bob.append(bob.transcript(), goes_on("r2", "b1", since=20))
    ann.touch(ann.transcript(), age=100)
    bob.touch(bob.transcript(), age=90)
    if published:
        await ann.sync(Direction.PUSH)
        await bob.sync(Direction.PUSH)


async def test_edits_of_different_lines_become_one_text(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", BASE, age=1000)
    await settle(ann, bob)
    ann.write("CLAUDE.md", edited(BASE, 1, "ann was here"), age=100)
    bob.write("CLAUDE.md", edited(BASE, 8, "bob was here"), age=50)
    await settle(ann, bob)
    assert ann.read("CLAUDE.md") == edited(edited(BASE, 1, "ann was here"), 8, "bob was here")
    assert ann.tree() == bob.tree()
    assert not ann.conflicts()
    assert not bob.conflicts()


async def test_a_merge_costs_one_upload_and_comes_to_rest(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/a.md", BASE, age=1000)
    await settle(ann, bob)
    ann.write("agents/a.md", edited(BASE, 1, "ann"), age=100)
    bob.write("agents/a.md", edited(BASE, 8, "bob"), age=50)
    await ann.sync()
    merged = await bob.sync()
    assert (merged.uploaded, merged.conflicts) == (1, 0)
    taken = await ann.sync()
    assert (taken.uploaded, taken.downloaded, taken.conflicts) == (0, 1, 0)
    assert (await bob.sync()).downloaded == 0
    assert len(heads(ann.site.state.newest("tree/agents/a.md"))) == 1


async def test_a_side_that_the_merge_replaced_lies_in_the_trash(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", BASE, age=1000)
    await settle(ann, bob)
    ann.write("CLAUDE.md", edited(BASE, 1, "ann"), age=100)
    bob.write("CLAUDE.md", edited(BASE, 8, "bob"), age=50)
    await settle(ann, bob)
    trashed = [path.read_text() for path in bob.places.trash.rglob("CLAUDE.md")]
    assert edited(BASE, 8, "bob") in trashed


async def test_a_crash_before_the_merge_is_noted_does_no_harm(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", BASE, age=1000)
    await settle(ann, bob)
    ann.write("CLAUDE.md", edited(BASE, 1, "ann"), age=100)
    bob.write("CLAUDE.md", edited(BASE, 8, "bob"), age=50)
    await ann.sync()

    def killed(*_: object) -> None:
        raise LocalError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(merging, "note", killed)
        await bob.sync()
    await settle(ann, bob)
    assert ann.read("CLAUDE.md") == edited(edited(BASE, 1, "ann"), 8, "bob")
    assert ann.tree() == bob.tree()
    assert not bob.conflicts()


async def test_a_text_without_a_common_version_is_a_conflict(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/new.md", "one of ann\n", age=100)
    bob.write("agents/new.md", "one of bob\n", age=50)
    await settle(ann, bob)
    assert ann.read("agents/new.md") == bob.read("agents/new.md") == "one of bob\n"
    assert list(ann.conflicts().values()) == ["one of ann\n"]


@pytest.mark.parametrize("number", [1, 8])
async def test_texts_that_were_published_unseen_are_merged_against_what_both_came_from(pair: Pair, number: int) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", BASE, age=1000)
    await settle(ann, bob)
    ann.write("CLAUDE.md", edited(BASE, 1, "ann"), age=100)
    bob.write("CLAUDE.md", edited(BASE, number, "bob"), age=50)
    await ann.sync(Direction.PUSH)
    await bob.sync(Direction.PUSH)
    await settle(ann, bob)
    clash = number == 1
    assert ann.read("CLAUDE.md") == bob.read("CLAUDE.md")
    assert bob.read("CLAUDE.md") == edited(BASE if clash else edited(BASE, 1, "ann"), number, "bob")
    assert list(bob.conflicts().values()) == ([edited(BASE, 1, "ann")] if clash else [])


async def test_three_texts_that_were_published_unseen_become_one(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    devices = [stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob", "cat")]
    for device in devices:
        await device.start()
    devices[0].write("CLAUDE.md", BASE, age=1000)
    await settle(*devices)
    merged = BASE
    for number, device in enumerate(devices):
        device.write("CLAUDE.md", edited(BASE, 1 + 3 * number, device.site.name), age=100 - number)
        merged = edited(merged, 1 + 3 * number, device.site.name)
    for device in devices:
        await device.sync(Direction.PUSH)
    await settle(*devices, rounds=10)
    assert {device.read("CLAUDE.md") for device in devices} == {merged}
    assert not any(device.conflicts() for device in devices)


async def test_a_memory_index_takes_the_lines_of_both(pair: Pair) -> None:
    ann, bob = pair
    memory = [f"{device.transcript().rpartition('/')[0]}/memory/MEMORY.md" for device in pair]
    ann.write(memory[0], "- shared\n- of ann\n", age=100)
    bob.write(memory[1], "- shared\n- of bob\n", age=50)
    await settle(ann, bob)
    assert sorted(ann.read(memory[0]).splitlines()) == ["- of ann", "- of bob", "- shared"]
    assert bob.read(memory[1]) == ann.read(memory[0])
    assert not bob.conflicts()


async def test_key_bindings_are_merged_by_key(pair: Pair) -> None:
    ann, bob = pair
    ann.write("keybindings.json", '{\n  "a": 1,\n  "b": 2\n}\n', age=1000)
    await settle(ann, bob)
    ann.write("keybindings.json", '{\n  "a": 10,\n  "b": 2\n}\n', age=100)
    bob.write("keybindings.json", '{\n  "a": 1,\n  "b": 20,\n  "c": 3\n}\n', age=50)
    await settle(ann, bob)
    assert json.loads(ann.read("keybindings.json")) == {"a": 10, "b": 20, "c": 3}
    assert ann.tree() == bob.tree()
    assert not ann.conflicts()


async def test_a_key_that_both_changed_is_a_conflict(pair: Pair) -> None:
    ann, bob = pair
    ann.write("settings.json", '{"model": "a"}', age=1000)
    await settle(ann, bob)
    ann.write("settings.json", '{"model": "b"}', age=100)
    bob.write("settings.json", '{"model": "c"}', age=50)
    await settle(ann, bob)
    assert json.loads(ann.read("settings.json")) == json.loads(bob.read("settings.json")) == {"model": "c"}
    assert list(bob.conflicts().values()) == ['{"model": "b"}']


@pytest.mark.parametrize("published", [False, True])
async def test_a_session_that_went_on_at_both_becomes_two(pair: Pair, *, published: bool) -> None:
    ann, bob = pair
    await diverged(ann, bob, published=published)
    await settle(ann, bob)
    same(pair)
    found = sessions(ann)
    assert len(found) == 2
    assert sorted(map(uuids, found.values())) == [["r1", "r2", "a1", "a2"], ["r1", "r2", "b1"]]
    (fork,) = found.keys() - {SESSION}
    rows = [json.loads(line) for line in found[fork].splitlines()]
    assert {fields["sessionId"] for fields in rows} == {fork}
    author = "bob" if "b1" in found[fork] else "ann"
    assert rows[-1]["type"] == "custom-title"
    assert rows[-1]["customTitle"].endswith(f"(from {author})")
    (path,) = [p for p in ann.site.state.paths("tree/projects") if p.endswith(f"{SESSION}.jsonl")]
    assert [head.kind for head in heads(ann.site.state.newest(path))].count(Kind.FILE) == 1


async def test_both_branches_go_on_without_a_further_fork(pair: Pair) -> None:
    ann, bob = pair
    await diverged(ann, bob, published=False)
    await settle(ann, bob)
    (fork,) = sessions(ann).keys() - {SESSION}
    folder = ann.transcript().rpartition("/")[0]
    ann.append(ann.transcript(), row("more", "x", 40))
    bob.append(f"{bob.transcript().rpartition('/')[0]}/{fork}.jsonl", row("other", "y", 41, fork))
    await settle(ann, bob)
    same(pair)
    assert len(sessions(bob)) == 2
    assert "more" in bob.read(bob.transcript())
    assert "other" in ann.read(f"{folder}/{fork}.jsonl")


async def test_a_side_that_goes_on_under_the_old_id_grows_its_fork(pair: Pair) -> None:
    ann, bob = pair
    await diverged(ann, bob, published=False)
    await ann.sync()
    await bob.sync()  # bob has both now, and knows which one lost
    winner_has = uuids(bob.read(bob.transcript()))
    loser, names = (ann, ("a3",)) if "b1" in winner_has else (bob, ("b2",))
    if loser is ann:
        # Ann's Claude Code knows nothing of it and writes on.
        ann.append(ann.transcript(), goes_on("a2", *names, since=30))
    await settle(ann, bob)
    same(pair)
    assert len(sessions(ann)) == 2
    if loser is ann:
        (fork,) = sessions(ann).keys() - {SESSION}
        assert uuids(sessions(ann)[fork]) == ["r1", "r2", "a1", "a2", "a3"]


async def test_a_fork_that_goes_on_in_two_places_is_forked_further(pair: Pair) -> None:
    ann, bob = pair
    await diverged(ann, bob, published=False)
    await ann.sync()
    await bob.sync()
    (fork,) = sessions(bob).keys() - {SESSION}
    # Bob resumes the fork, while Ann's Claude Code, which still runs, writes on under the old id.
    marker = ann.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{SESSION}"}}')
    resumed = f"{bob.transcript().rpartition('/')[0]}/{fork}.jsonl"
    bob.append(resumed, goes_on("a2", "f1", since=40))
    bob.touch(resumed, age=50)
    ann.append(ann.transcript(), goes_on("a2", "a3", since=30))
    ann.touch(ann.transcript(), age=60)
    await bob.sync()
    assert (await ann.sync()).parked == 1
    assert uuids(sessions(ann)[fork])[-1] == "f1"
    marker.unlink()
    await settle(ann, bob)
    same(pair)
    start = ["r1", "r2", "a1", "a2"]
    assert sorted(map(uuids, sessions(bob).values())) == [[*start, "a3"], [*start, "f1"], ["r1", "r2", "b1"]]
    assert uuids(sessions(bob)[fork]) == [*start, "f1"], "the thread begun last keeps the id"
    assert ann.conflicts() == {}


async def test_the_side_folder_goes_with_the_fork(pair: Pair) -> None:
    ann, bob = pair
    for device in pair:
        side = device.transcript().removesuffix(".jsonl")
        device.write(f"{side}/tool-results/of-{device.site.name}.txt", f"output at {device.site.name}", age=500)
    await diverged(ann, bob, published=False)
    await settle(ann, bob)
    same(pair)
    (fork,) = sessions(ann).keys() - {SESSION}
    for device in pair:
        folder = device.transcript().rpartition("/")[0]
        names = {p.name for p in (device.places.tree / folder / fork / "tool-results").iterdir()}
        assert names == {"of-ann.txt", "of-bob.txt"}
    # The copies are the vault's already: nothing of them is sent again.
    assert (await ann.sync()).uploaded == 0


async def test_a_running_session_is_forked_when_it_ends(pair: Pair) -> None:
    ann, bob = pair
    await diverged(ann, bob, published=False)
    marker = bob.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{SESSION}"}}')
    await ann.sync()
    before = bob.read(bob.transcript())
    assert (await bob.sync()).parked == 1
    assert bob.read(bob.transcript()) == before
    assert len(sessions(bob)) == 1
    marker.unlink()
    await settle(ann, bob)
    same(pair)
    assert len(sessions(bob)) == 2


async def test_three_that_part_end_as_three_sessions(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    devices = [stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob", "cat")]
    for device in devices:
        await device.start()
    ann = devices[0]
    ann.write(ann.transcript(), begun("r1"), age=1000)
    await settle(*devices)
    for number, device in enumerate(devices):
        device.append(device.transcript(), goes_on("r1", f"x{number}", since=10 + number))
        device.touch(device.transcript(), age=100 - number)
    await settle(*devices, rounds=10)
    same(devices)
    assert sorted(map(uuids, sessions(ann).values())) == [["r1", "x0"], ["r1", "x1"], ["r1", "x2"]]


async def test_other_metadata_alone_makes_no_fork(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), begun("r1"), age=1000)
    await settle(ann, bob)
    title = '{"type":"custom-title","customTitle":"%s","sessionId":"' + SESSION + '"}\n'
    ann.append(ann.transcript(), title % "short")
    bob.append(bob.transcript(), title % "a longer one")
    await settle(ann, bob)
    same(pair)
    assert len(sessions(ann)) == 1


async def test_a_lost_state_forks_what_has_no_ancestor(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        await diverged(ann, bob, published=False)
        await ann.sync()
    for path in bob.places.state.glob("state.db*"):
        path.unlink()
    with ann.running(), bob.running():
        await ann.start()
        await bob.start()
        await settle(ann, bob)
        same((ann, bob))
        assert sorted(map(uuids, sessions(bob).values())) == [["r1", "r2", "a1", "a2"], ["r1", "r2", "b1"]]


async def test_broken_lines_come_through_a_fork_as_they_are(pair: Pair) -> None:
    ann, bob = pair
    broken = b'\0\0\0glued{"uuid":"x"}{"uuid":"y"}\n\xff\xfe not text\n' + " \u2028 ".encode() + b"\n"
    ann.write(ann.transcript(), begun("r1").encode() + broken, age=1000)
    await settle(ann, bob)
    ann.append(ann.transcript(), broken + row("a1", "r1", 10).encode())
    bob.append(bob.transcript(), row("b1", "r1", 20) * 2)
    ann.touch(ann.transcript(), age=100)
    await settle(ann, bob)
    folders = [(device.places.tree / device.transcript()).parent for device in pair]
    files = [{path.name: path.read_bytes() for path in folder.glob("*.jsonl")} for folder in folders]
    assert files[0] == files[1]
    assert len(files[0]) == 2
    assert sum(content.count(broken) for content in files[0].values()) == 3


async def test_what_a_disk_from_a_backup_lacks_is_not_merged_away(vault: Vault, tmp_path: Path) -> None:
    """Ann published two prompts; her disk is one from before the second, and her state is gone."""
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    prompts = [json.dumps({"display": word, "timestamp": at, "project": "/x"}) + "\n" for at, word in enumerate("ab")]
    with ann.running(), bob.running():
        for device in (ann, bob):
            await device.start()
        ann.write("history.jsonl", "".join(prompts), age=100)
        await ann.sync(Direction.PUSH)
        bob.write("history.jsonl", json.dumps({"display": "d", "timestamp": 9, "project": "/x"}) + "\n", age=50)
        await bob.sync(Direction.PUSH)
    for path in ann.places.state.glob("state.db*"):
        path.unlink()
    ann.write("history.jsonl", prompts[0], age=200)
    with ann.running(), bob.running():
        for device in (ann, bob):
            await device.start()
        await settle(ann, bob)
        kept = "".join(bob.conflicts().values())
        assert [w for w in "abd" if f'"{w}"' in bob.read("history.jsonl") + kept] == ["a", "b", "d"]


@pytest.mark.parametrize("remembers", [False, True])
async def test_what_a_disk_from_a_backup_lacks_of_a_session_is_kept(
    vault: Vault, tmp_path: Path, *, remembers: bool
) -> None:
    """Ann and bob went on with a session, unseen by each other; her disk is one from before, with or without a state.
    What she has of the session is the begin of both sides, but what she published of it is not.
    """
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    path = ann.transcript()
    with ann.running(), bob.running():
        for device in (ann, bob):
            await device.start()
        ann.write(path, begun("r1", "r2"), age=1000)
        await settle(ann, bob)
    old = ann.places.database.read_bytes()
    with ann.running(), bob.running():
        for device in (ann, bob):
            await device.start()
        ann.append(path, goes_on("r2", "a1", "a2", since=10))
        ann.touch(path, age=100)
        bob.append(bob.transcript(), goes_on("r2", "b1", since=20))
        bob.touch(bob.transcript(), age=90)
        for device in (ann, bob):
            await device.sync(Direction.PUSH)
    for database in ann.places.state.glob("state.db*"):
        database.unlink()
    if remembers:
        ann.places.database.write_bytes(old)
    ann.write(path, begun("r1", "r2"), age=1000)
    with ann.running(), bob.running():
        for device in (ann, bob):
            await device.start()
        await settle(ann, bob)
        assert sessions(ann) == sessions(bob)
        assert ann.conflicts() == bob.conflicts()
        (kept,) = bob.conflicts().values()
        assert uuids(bob.read(bob.transcript())) == ["r1", "r2", "b1"]
        assert uuids(kept) == ["r1", "r2", "a1", "a2"]


async def test_a_session_that_is_opened_while_its_file_is_fetched_is_not_replaced(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), begun("r1"), age=1000)
    await settle(ann, bob)
    ann.append(ann.transcript(), goes_on("r1", "r2", since=10))
    ann.touch(ann.transcript(), age=100)
    await ann.sync()
    marker = bob.places.tree / "sessions" / f"{os.getpid()}.json"
    fetch = fetching.fetch

    async def opened_meanwhile(site: Site, fetches: Sequence[Fetch]) -> None:
        marker.parent.mkdir()
        marker.write_text(f'{{"pid":{os.getpid()},"sessionId":"{SESSION}"}}')
        await fetch(site, fetches)

    with monkeypatch.context() as patch:
        patch.setattr(pull, "fetch", opened_meanwhile)
        await bob.sync()
    assert uuids(bob.read(bob.transcript())) == ["r1"]
    marker.unlink()
    await settle(ann, bob)
    same(pair)
