"""Versions come back: to their place, to a folder, from the vault or from the trash."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from devices import Device, settle

from claude_syncd.core.status import VersionKind
from claude_syncd.engine import approvals, restore, versions
from claude_syncd.engine.restore import Restored
from claude_syncd.errors import StoreUnavailable, UsageError

Pair = tuple[Device, Device]
DAYS = 86_400


def row(number: int) -> str:
    return f'{{"type":"user","uuid":"{number}","message":"line {number}"}}\n'


async def back(device: Device, path: str, *, version: str | None = None, at_ns: int | None = None) -> Restored:
    """What `restore PATH` does."""
    paths = versions.meant(device.site, path, "/")
    wanted, _ = restore.in_place(device.site, paths, version, at_ns)
    return await restore.write_in_place(device.site, wanted, device.round.between_rounds)


async def test_an_old_version_takes_its_place_everywhere_and_what_was_there_is_in_the_trash(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=500, mode=0o640)
    await settle(ann, bob)
    bob.write("agents/x.md", "two\n", age=400)
    await settle(ann, bob)
    ann.write("agents/x.md", "not pushed\n", age=100)
    done = await back(ann, "agents/x.md", version="1")
    assert done.files == ["agents/x.md"]
    await settle(ann, bob)
    assert [d.read("agents/x.md") for d in pair] == ["one\n", "one\n"]
    assert (bob.places.tree / "agents/x.md").stat().st_mode & 0o777 == 0o640
    assert not ann.conflicts()
    assert any(p.read_text() == "not pushed\n" for p in ann.places.trash.rglob("x.md"))
    assert [v.size for v in versions.described(bob.site, "tree/agents/x.md").versions] == [4, 4, 4]


async def test_a_deleted_file_comes_back(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=500)
    await settle(ann, bob)
    (ann.places.tree / "agents/x.md").unlink()
    await settle(ann, bob)
    assert not bob.has("agents/x.md")
    await back(bob, "agents/x.md")
    await settle(ann, bob)
    assert [d.read("agents/x.md") for d in pair] == ["one\n", "one\n"]
    with pytest.raises(UsageError, match="was no"):
        await back(bob, "agents/x.md", at_ns=1)


async def test_an_evicted_session_comes_back_whole_with_a_time_that_the_next_cleanup_spares(pair: Pair) -> None:
    ann, bob = pair
    session = ann.transcript()
    side = f"{session.removesuffix('.jsonl')}/tool-results/1.txt"
    ann.write(session, row(1), age=40 * DAYS)
    ann.write(side, "output", age=40 * DAYS)
    await settle(ann, bob)
    for path in (session, side):
        (ann.places.tree / path).unlink()
    await settle(ann, bob)
    assert bob.has(bob.transcript())
    done = await back(ann, session)
    assert sorted(done.files) == sorted([session, side])
    for path in (session, side):
        assert time.time() - (ann.places.tree / path).stat().st_mtime < 600
    result = await ann.sync()
    assert result.uploaded == 0
    await settle(ann, bob)
    assert ann.read(session) == bob.read(bob.transcript())
    assert [v.kind for v in versions.described(ann.site, _portable(ann)).versions] == [VersionKind.FILE]


async def test_an_older_version_of_an_evicted_session_is_not_taken_for_something_left_behind(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    ann.write(ann.transcript(), row(1).replace("line", "changed") + row(2), age=400)
    await settle(ann, bob)
    (ann.places.tree / ann.transcript()).unlink()
    await settle(ann, bob)
    await back(ann, ann.transcript(), version="1")
    await settle(ann, bob)
    assert [d.read(d.transcript()) for d in pair] == [row(1), row(1)]
    assert not ann.conflicts()


async def test_a_running_session_is_not_replaced(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    ann.write(ann.transcript(), row(2), age=400)
    await settle(ann, bob)
    session = ann.transcript().rpartition("/")[2].removesuffix(".jsonl")
    ann.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{session}"}}')
    with pytest.raises(UsageError, match="runs"):
        await back(ann, ann.transcript(), version="1")


async def test_a_tree_as_of_a_time_in_place_and_in_a_folder(pair: Pair, tmp_path: Path) -> None:
    ann, bob = pair
    ann.write("agents/kept.md", "the same\n", age=500)
    ann.write("agents/changed.md", "before\n", age=500)
    ann.write("agents/deleted.md", "gone later\n", age=500)
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    then = time.time_ns()
    ann.write("agents/changed.md", "after\n")
    (ann.places.tree / "agents/deleted.md").unlink()
    ann.write("agents/new.md", "not there then\n")
    await settle(ann, bob)

    everything = bob.site.state.paths("tree/")
    to = tmp_path / "as it was"
    folder, wanted = restore.elsewhere(bob.site, everything, to, at_ns=then)
    await restore.write_elsewhere(bob.site, folder, wanted)
    found = {str(p.relative_to(to)): p.read_text() for p in to.rglob("*") if p.is_file()}
    expected = {
        "agents/kept.md": "the same\n",
        "agents/changed.md": "before\n",
        "agents/deleted.md": "gone later\n",
        bob.transcript(): row(1),
    }
    assert found == expected
    assert (to / "agents/kept.md").stat().st_mtime < time.time() - 400
    assert to.stat().st_mode & 0o777 == 0o700
    with pytest.raises(UsageError, match="not empty"):
        restore.elsewhere(bob.site, everything, to, at_ns=then)

    wanted, unchanged = restore.in_place(bob.site, everything, None, then)
    assert unchanged == 2
    await restore.write_in_place(bob.site, wanted, bob.round.between_rounds)
    await settle(ann, bob)
    for device in pair:
        assert {n: device.read(f"agents/{n}.md") for n in ("kept", "changed", "deleted", "new")} == {
            "kept": "the same\n",
            "changed": "before\n",
            "deleted": "gone later\n",
            "new": "not there then\n",
        }


async def test_a_folder_brings_back_what_is_missing_and_leaves_the_rest(pair: Pair) -> None:
    ann, bob = pair
    for name in ("a", "b"):
        ann.write(f"agents/{name}.md", f"{name}\n", age=500)
    await settle(ann, bob)
    (ann.places.tree / "agents/a.md").unlink()
    await settle(ann, bob)
    ann.write("agents/b.md", "edited just now\n")
    done = await back(ann, "agents")
    assert done.files == ["agents/a.md"]
    assert ann.read("agents/b.md") == "edited just now\n"


async def test_one_file_to_a_new_place(pair: Pair, tmp_path: Path) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=500)
    await settle(ann, bob)
    for to, name in ((tmp_path / "out.md", "out.md"), (tmp_path, "x.md")):
        folder, wanted = restore.elsewhere(ann.site, ["tree/agents/x.md"], to)
        await restore.write_elsewhere(ann.site, folder, wanted)
        assert (tmp_path / name).read_text() == "one\n"
    for to in (tmp_path / "out.md", ann.places.tree / "copy.md", ann.places.state / "x"):
        with pytest.raises(UsageError):
            restore.elsewhere(ann.site, ["tree/agents/x.md"], to)


@pytest.mark.parametrize("trouble", ["lost", "damaged", "offline"])
async def test_what_the_vault_does_not_give_comes_from_the_trash(pair: Pair, trouble: str) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=500)
    await settle(ann, bob)
    bob.write("agents/x.md", "two\n", age=400)
    await settle(ann, bob)
    objects = ann.vault.objects
    for name in [n for n in objects if ann.site.me in n and "/log/" in n]:
        if trouble == "lost":
            del objects[name]
        elif trouble == "damaged":
            objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])
    ann.site.reader = type(ann.site.reader)(ann.site.store, ann.site.keys, ann.site.pool)  # nothing in its cache
    if trouble == "offline":
        ann.site.reader._store = _Offline()  # type: ignore[assignment]
    done = await back(ann, "agents/x.md", version="1")
    assert not done.failed
    assert ann.read("agents/x.md") == "one\n"


async def test_what_is_nowhere_says_so_and_changes_nothing(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=500)
    await settle(ann, bob)
    ann.write("agents/x.md", "two\n", age=400)
    await settle(ann, bob)
    ann.site.reader = type(ann.site.reader)(ann.site.store, ann.site.keys, ann.site.pool)
    for name in [n for n in ann.vault.objects if ann.site.me in n and "/log/" in n]:
        del ann.vault.objects[name]
    done = await back(ann, "agents/x.md", version="1")
    assert list(done.failed) == ["tree/agents/x.md"]
    assert ann.read("agents/x.md") == "two\n"
    assert not list(ann.places.tree.rglob("*.tmp"))


async def test_the_beginning_of_a_grown_session_is_found_in_a_later_version(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=500)
    await settle(ann, bob)
    ann.append(ann.transcript(), row(2))
    ann.touch(ann.transcript(), age=100)
    await settle(ann, bob)
    with ann.site.state.transaction() as db:  # as if its objects had been moved, and nobody had told this device
        db.execute("UPDATE superseded SET slices=?", (ann.site.state.pack_slices(db, ()),))
    await back(ann, ann.transcript(), version="1")
    assert ann.read(ann.transcript()) == row(1)


class _Offline:
    async def get(self, name: str, span: Any = None) -> bytes:
        raise StoreUnavailable(f"no line to {name}, {span}")


def _portable(device: Device) -> str:
    portable = device.site.paths.portable(device.transcript())
    assert portable is not None
    return portable


async def test_settings_come_back_by_key_and_what_runs_code_waits(pair: Pair) -> None:
    ann, bob = pair
    hooks = {"Stop": [{"hooks": [{"type": "command", "command": "x"}]}]}
    ann.write("settings.json", json.dumps({"model": "a", "hooks": hooks, "env": {"A": "1"}}), age=300)
    await settle(ann, bob)
    bob.write("settings.json", json.dumps({"model": "b", "sandbox": {}}), age=200)
    ann.write("settings.json", json.dumps({"model": "c", "env": {"A": "2"}}), age=100)
    await settle(ann, bob)
    assert not (await back(bob, "tree/settings.json", version="1")).failed
    assert json.loads(bob.read("settings.json")) == {"model": "a", "sandbox": {}}
    assert [info.setting for info in approvals.listed(bob.site)] == ["hooks.Stop"]
    await settle(ann, bob)
    assert json.loads(ann.read("settings.json")) == {"model": "a", "env": {"A": "2"}}
    again, unchanged = restore.in_place(bob.site, ["tree/settings.json"], "1")
    assert (again, unchanged) == ([], 1)


async def test_an_older_history_takes_no_prompt_away(pair: Pair) -> None:
    ann, bob = pair
    home = str(ann.home.resolve())
    first, second = (f'{{"display":"{n}","timestamp":{n},"project":"{home}/p"}}\n' for n in (1, 2))
    ann.write("history.jsonl", first, age=300)
    await settle(ann, bob)
    ann.write("history.jsonl", first + second, age=200)
    await settle(ann, bob)
    assert not (await back(bob, "tree/history.jsonl", version="1")).failed
    assert bob.read("history.jsonl") == (first + second).replace(home, str(bob.home.resolve()))
    assert (await bob.sync()).uploaded == 0
