"""Bugs seen in tools of this kind that lost lines or files which another machine, or the next second, had added."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from devices import SESSION, Device, Vault, settle

from claude_syncd.core.portable import encode_key
from claude_syncd.engine.round import Direction
from claude_syncd.errors import StoreRefused, StoreUnavailable, SyncError
from claude_syncd.store.folder import FolderStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from claude_syncd.store.base import Span

Pair = tuple[Device, Device]


def row(uuid: str, parent: str | None, stamp: str, session: str = SESSION) -> str:
    fields = {"parentUuid": parent, "sessionId": session, "type": "user", "uuid": uuid, "timestamp": stamp}
    return json.dumps({**fields, "message": {"role": "user", "content": f"says {uuid}"}}) + "\n"


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:06.3f}Z"


def sessions(device: Device) -> dict[str, str]:
    """Session id -> content, of the project ~/dev."""
    folder = device.places.tree / "projects" / encode_key(str(device.home.resolve() / "dev"))
    return {path.stem: path.read_text() for path in folder.glob("*.jsonl")}


async def test_a_stale_push_wipes_nothing(pair: Pair) -> None:
    ann, bob = pair
    prompts = [
        json.dumps({"display": text, "pastedContents": {}, "timestamp": when, "project": "/p", "sessionId": "s"}) + "\n"
        for when, text in enumerate(("begin", "by ann", "by bob"))
    ]
    ann.write("history.jsonl", prompts[0], age=300)
    ann.write("projects/-p/memory/MEMORY.md", "begin\n", age=300)
    ann.write("rules/r.md", "".join(f"{n}\n" for n in range(9)), age=300)
    ann.write(ann.transcript(), row("one", None, at(1)), age=300)
    await settle(ann, bob)
    for device, number, age in ((ann, 1, 200.0), (bob, 2, 100.0)):
        name = device.home.name
        device.append("history.jsonl", prompts[number])
        device.append("projects/-p/memory/MEMORY.md", f"by {name}\n")
        device.write("rules/r.md", device.read("rules/r.md").replace(f"{number * 4 - 2}\n", f"by {name}\n"))
        device.append(device.transcript(), row(name, "one", at(number + 1)))
        for rel in ("history.jsonl", "projects/-p/memory/MEMORY.md", "rules/r.md", device.transcript()):
            device.touch(rel, age=age)
    await ann.sync(Direction.PUSH)
    await bob.sync(Direction.PUSH)  # it has never seen what ann pushed
    await settle(ann, bob)
    for device in pair:
        assert device.read("history.jsonl") == "".join(prompts)
        assert {"by ann", "by bob"} < set(device.read("projects/-p/memory/MEMORY.md").splitlines())
        # Of a text that both had published one version is in the tree, the other one is kept.
        texts = [device.read("rules/r.md"), *device.conflicts().values()]
        assert {"by ann", "by bob"} < {line for text in texts for line in text.splitlines()}
        said = "".join(sessions(device).values())
        assert "says ann" in said
        assert "says bob" in said


async def test_a_scope_that_narrows_deletes_nothing(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    await ann.start()
    for number in range(3):
        ann.write(f"agents/{number}.md", f"{number}\n", age=100)
        ann.write(f"rules/{number}.md", f"{number}\n", age=100)
    await ann.sync()
    everything = ann.tree()
    bob = Device(vault, tmp_path, "bob")
    with bob.running():
        await bob.start()
        await bob.sync()
    bob.settings = type(bob.settings)(exclude=("agents/",))
    with bob.running():
        await bob.start()
        await bob.sync(Direction.PULL)
        bob.write("rules/new.md", "new\n", age=50)
        for direction in (Direction.PUSH, Direction.SYNC):
            assert (await bob.sync(direction)).deleted == 0
        (bob.places.tree / "agents/1.md").unlink()  # nor when it goes here: that is this machine's own affair
        assert (await bob.sync()).deleted == 0
    result = await ann.sync()
    assert (result.downloaded, result.deleted) == (1, 0)
    assert ann.tree().items() > everything.items()
    cleo = stack.enter_context(Device(vault, tmp_path, "cleo").running())
    await cleo.start()
    await cleo.sync()
    assert cleo.tree() == ann.tree()


async def test_an_append_during_the_upload_goes_with_the_next(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row("one", None, at(1)), age=100)
    ann.write("CLAUDE.md", "word one\n", age=100)
    real_put = ann.store.put

    async def put(name: str, data: bytes, *, if_absent: bool = False) -> None:
        if "/log/" in name:
            ann.append(ann.transcript(), row("two", "one", at(2)))
            # An edit of the same size, with the old time, as some tools leave it.
            path = ann.places.tree / "CLAUDE.md"
            before = path.stat()
            path.write_text("word two\n")
            os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        await real_put(name, data, if_absent=if_absent)

    ann.store.put = put  # type: ignore[method-assign]
    await ann.sync(Direction.PUSH)
    ann.store.put = real_put  # type: ignore[method-assign]
    await bob.sync()
    # What was recorded is what was read.
    assert bob.read(bob.transcript()) == row("one", None, at(1))
    assert bob.read("CLAUDE.md") == "word one\n"
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == row("one", None, at(1)) + row("two", "one", at(2))
    assert bob.read("CLAUDE.md") == "word two\n"
    assert not ann.conflicts()


async def test_a_plain_pull_updates_a_session_that_is_there(pair: Pair) -> None:
    ann, bob = pair
    content = ""
    for number in range(4):
        content += row(f"r{number}", f"r{number - 1}" if number else None, at(number))
        ann.write(ann.transcript(), content, age=100 - number)
        await ann.sync(Direction.PUSH)
        await bob.sync(Direction.PULL)
        assert bob.read(bob.transcript()) == content


async def test_rows_without_a_root_survive_a_merge(pair: Pair) -> None:
    ann, bob = pair
    broken = row("lost-a", "nowhere", at(1)) + row("lost-b", "lost-a", at(2))
    start = row("one", None, at(3)) + broken + '{"type":"summary","leafUuid":"gone"}\n' + row("two", "one", at(4))
    ann.write(ann.transcript(), start, age=300)
    await settle(ann, bob)
    for device, second in ((ann, 10), (bob, 20)):
        name = device.home.name
        device.append(device.transcript(), row(f"orphan-{name}", f"none-{name}", at(second)))
        device.append(device.transcript(), row(f"next-{name}", "two", at(second + 1)))
        device.touch(device.transcript(), age=200 - second)
    await settle(ann, bob)
    assert sessions(ann) == sessions(bob)
    for name in ("ann", "bob"):
        branch = next(text for text in sessions(ann).values() if f"says next-{name}" in text)
        for said in ("one", "lost-a", "lost-b", "two", f"orphan-{name}"):
            assert f"says {said}" in branch
        assert '"leafUuid":"gone"' in branch


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2026-01-01T00:00:09.999Z", "2026-01-01T00:00:10.000Z"),
        ("2026-01-31T23:59:59.000Z", "2026-02-01T00:00:00.000Z"),
        ("2026-01-01T00:00:00.100Z", "2026-01-01T00:00:00.200Z"),
    ],
)
@pytest.mark.parametrize("ann_is_later", [True, False])
async def test_times_of_rows_are_times(pair: Pair, first: str, second: str, ann_is_later: bool) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row("one", None, "2026-01-01T00:00:00.000Z"), age=300)
    await settle(ann, bob)
    for device in pair:
        later = (device is ann) == ann_is_later
        device.append(device.transcript(), row(device.home.name, "one", second if later else first))
        device.touch(device.transcript(), age=100)
    await settle(ann, bob)
    for device in pair:
        # The thread that was begun last keeps the id.
        assert f"says {'ann' if ann_is_later else 'bob'}" in sessions(device)[SESSION]
        assert len(sessions(device)) == 2


@pytest.mark.parametrize("days", [-400, 1, 400])
async def test_the_clock_of_the_store_decides_nothing(tmp_path: Path, stack: ExitStack, days: int) -> None:
    vault = Vault()
    folder = tmp_path / "store"
    await FolderStore(folder).create()
    devices = [Device(vault, tmp_path, name) for name in ("ann", "bob")]
    for device in devices:
        device.store = FolderStore(folder)
        stack.enter_context(device.running())
        await device.start()
    ann, bob = devices
    for number in range(20):
        ann.write(f"agents/{number}.md", f"{number}\n" * 100, age=100)

    def shifted() -> None:
        moment = time.time() + days * 86_400
        for path in folder.rglob("*"):
            os.utime(path, (moment, moment))

    await ann.sync()
    shifted()
    await settle(ann, bob)
    shifted()
    for device in devices:
        result = await device.sync()
        assert (result.uploaded, result.downloaded, result.requests.put) == (0, 0, 0)
        assert result.bytes_down == 0
    bob.write("agents/3.md", "edited\n", age=1)
    await bob.sync()
    shifted()
    assert (await ann.sync()).downloaded == 1
    assert ann.tree() == bob.tree()


def _unavailable() -> bytes:
    raise StoreUnavailable("the store does not answer")


def _refused() -> bytes:
    raise StoreRefused("403")


def _an_error_page() -> bytes:
    return b"<html>502 Bad Gateway</html>"


def _nothing() -> bytes:
    return b""


@pytest.mark.parametrize("answer", [_unavailable, _refused, _an_error_page, _nothing])
async def test_a_failed_download_is_no_empty_vault(vault: Vault, tmp_path: Path, answer: Callable[[], bytes]) -> None:
    ann = Device(vault, tmp_path, "ann")
    for number in range(30):
        ann.write(f"agents/{number}.md", f"{number}\n" * 100, age=100)
    with ann.running():
        await ann.start()
        await ann.sync()
    before = dict(vault.objects)
    ann.places.database.unlink()

    async def get(name: str, span: Span | None = None) -> bytes:
        return answer()

    real_get = ann.store.get
    ann.store.get = get  # type: ignore[method-assign]
    with ann.running(), pytest.raises(SyncError):
        await ann.start()
    assert vault.objects == before
    ann.store.get = real_get  # type: ignore[method-assign]
    with ann.running():
        await ann.start()
        result = await ann.sync()
    assert (result.uploaded, result.downloaded, result.requests.put) == (0, 0, 0)
    assert vault.objects == before
