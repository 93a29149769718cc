"""Rounds of two devices: what travels, and at what cost."""

import errno
import os
import random
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from devices import SESSION, Device, Vault, settle

from claude_syncd.core.model import Record, heads
from claude_syncd.core.reconcile import conflict_path, sides
from claude_syncd.engine import conflicts
from claude_syncd.engine.round import Direction, Limits
from claude_syncd.errors import Held, StoreUnavailable, UsageError
from claude_syncd.store.base import ObjectInfo, Span

Pair = tuple[Device, Device]


def row(number: int, cwd: str = "") -> str:
    return f'{{"type":"user","uuid":"{number}","cwd":"{cwd}","message":"line {number}"}}\n'


def keep_aside(device: Device, content: str) -> None:
    """The other side of a conflict on the session, as from a release that could not fork."""
    portable = device.site.paths.portable(device.transcript())
    assert portable is not None
    kept = device.places.state / conflict_path(portable, "ab" * 32)
    kept.parent.mkdir(parents=True)
    kept.write_text(content)


async def test_files_arrive_with_content_mode_and_time(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "be kind\n", age=86400)
    ann.write("skills/deploy/run.sh", "#!/bin/sh\n", mode=0o755)
    ann.write("agents/a_b.md", "underscores are not slashes\n")
    await settle(ann, bob)
    assert bob.tree() == ann.tree()
    assert (bob.places.tree / "skills/deploy/run.sh").stat().st_mode & 0o777 == 0o755


async def test_a_session_arrives_in_the_same_project_of_another_home(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1, cwd=str(ann.home.resolve() / "dev")))
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == ann.read(ann.transcript())


async def test_the_same_content_published_with_two_times_has_the_newer_one_everywhere(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "x\n", age=5000)
    newer = bob.write("agents/x.md", "x\n", age=4000).stat().st_mtime_ns
    for device in pair:
        await device.round.scan()
        await device.round.run(Direction.PUSH)
    await settle(ann, bob)
    assert {(device.places.tree / "agents/x.md").stat().st_mtime_ns for device in pair} == {newer}
    result = await ann.sync()
    assert (result.uploaded, result.downloaded) == (0, 0)


async def test_a_file_that_was_written_a_moment_ago_gets_the_newer_time_as_well(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = pair
    path = ann.write("agents/x.md", "x\n", age=5000)
    newer = bob.write("agents/x.md", "x\n", age=4000).stat().st_mtime_ns
    monkeypatch.setattr(ann.site, "now_ns", lambda: path.stat().st_ctime_ns)  # it may be written to, unseen
    for device in pair:
        await device.round.scan()
        await device.round.run(Direction.PUSH)
    await settle(ann, bob)
    assert path.stat().st_mtime_ns == newer


async def test_no_file_gets_older_than_it_is_here(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1), age=5000)
    await settle(ann, bob)
    bob.write(bob.transcript(), row(1), age=10)  # brought back by hand: Claude Code deletes what is old
    own = (bob.places.tree / bob.transcript()).stat().st_mtime_ns
    await settle(ann, bob)
    assert (bob.places.tree / bob.transcript()).stat().st_mtime_ns == own


async def test_a_session_that_runs_keeps_its_time(pair: Pair) -> None:
    ann, bob = pair
    for device, age in ((ann, 5000), (bob, 4000)):
        device.write(device.transcript(), row(1), age=age)
        await device.round.scan()
        await device.round.run(Direction.PUSH)
    own = (ann.places.tree / ann.transcript()).stat().st_mtime_ns
    ann.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{SESSION}"}}')
    await settle(ann, bob)
    assert (ann.places.tree / ann.transcript()).stat().st_mtime_ns == own


async def test_edits_and_deletions_travel_both_ways(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "one\n", age=100)
    ann.write("agents/x.md", "x\n")
    await settle(ann, bob)
    bob.write("CLAUDE.md", "two\n", age=50)
    (ann.places.tree / "agents/x.md").unlink()
    await settle(ann, bob)
    assert ann.read("CLAUDE.md") == "two\n"
    assert not bob.has("agents/x.md")
    assert not ann.conflicts()


async def test_only_the_mode_changed(pair: Pair) -> None:
    ann, bob = pair
    ann.write("skills/s/run", "x" * 10_000, mode=0o644)
    await settle(ann, bob)
    (ann.places.tree / "skills/s/run").chmod(0o755)
    result = await ann.sync()
    assert result.uploaded == 1
    assert result.bytes_up < 1500
    await settle(ann, bob)
    assert (bob.places.tree / "skills/s/run").stat().st_mode & 0o777 == 0o755


async def test_a_mode_that_was_set_halfway_comes_with_its_time_in_the_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = pair
    ann.write("skills/s/run", "x", mode=0o644, age=5000)
    await settle(ann, bob)
    (ann.places.tree / "skills/s/run").chmod(0o755)
    ann.touch("skills/s/run", age=3000)
    await ann.sync()

    def cut_off(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "cut off")

    with monkeypatch.context() as patch:
        patch.setattr("claude_syncd.local.apply.os.utime", cut_off)
        await bob.sync()
    await settle(ann, bob)
    assert bob.tree() == ann.tree()
    assert (bob.places.tree / "skills/s/run").stat().st_mode & 0o777 == 0o755


async def test_an_append_to_a_large_session_is_one_small_put_and_little_reading(pair: Pair) -> None:
    ann, bob = pair
    chunk = "".join(row(n) for n in range(16_000))
    path = ann.write(ann.transcript(), chunk)
    while path.stat().st_size < 200_000_000:
        ann.append(ann.transcript(), chunk)
    ann.touch(ann.transcript(), age=5)
    await settle(ann, bob)
    reader = ann.site.contents[next(iter(ann.site.contents))]
    before = reader.bytes_read.count
    ann.append(ann.transcript(), row(1)[:-2] + ',"text":"' + random.Random(1).randbytes(1000).hex() + '"}\n')
    result = await ann.sync(Direction.PUSH)
    assert (result.requests.put, result.requests.get, result.requests.list) == (1, 0, 0)
    assert result.bytes_up <= 4096
    assert reader.bytes_read.count - before < 1_000_000
    result = await bob.sync(Direction.PULL)
    assert result.downloaded == 1
    assert result.bytes_down <= 4096
    assert bob.tree()[bob.transcript()][0] == ann.tree()[ann.transcript()][0]


async def test_an_idle_poll_is_one_get_for_each_other_device(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "x")
    await settle(ann, bob)
    result = await ann.round.run(Direction.SYNC)
    assert (result.requests.get, result.requests.put, result.requests.list, result.requests.head) == (1, 0, 0, 0)
    await ann.round.poller.roster()
    before = ann.site.counter.snapshot()
    await ann.round.poller.roster()
    assert (ann.site.counter.snapshot() - before).get == 1


async def test_a_thousand_small_files_are_one_put(pair: Pair) -> None:
    ann, bob = pair
    for n in range(1000):
        ann.write(f"agents/{n}.md", f"agent {n} " * 20)
    result = await ann.sync()
    assert result.uploaded == 1000
    assert result.requests.put <= 2
    await settle(ann, bob)
    assert bob.tree() == ann.tree()


async def test_a_first_push_is_one_put_for_each_full_pack_and_one_more(pair: Pair) -> None:
    ann, bob = pair
    noise = random.Random(2)
    for n in range(8):
        ann.write(f"skills/s/{n}.bin", noise.randbytes(10_000_000))
    result = await ann.sync()
    assert result.requests.put == 3 + 1  # 80 MB that do not shrink, in packs of 32 MiB
    assert max(len(data) for data in ann.vault.objects.values()) <= 32 * 1024 * 1024
    await settle(ann, bob)
    assert bob.tree() == ann.tree()


async def test_a_renamed_file_is_not_sent_again(pair: Pair) -> None:
    ann, bob = pair
    ann.write("skills/s/old.bin", random.Random(3).randbytes(300_000))
    await settle(ann, bob)
    (ann.places.tree / "skills/s/old.bin").rename(ann.places.tree / "skills/s/new.bin")
    result = await ann.sync()
    assert (result.uploaded, result.deleted) == (1, 1)
    assert result.bytes_up < 2000
    await settle(ann, bob)
    assert bob.tree() == ann.tree()


async def test_a_push_that_was_cut_off_resumes(vault: Vault, tmp_path: Path) -> None:
    ann = Device(vault, tmp_path, "ann")
    noise = random.Random(4)
    for n in range(8):
        ann.write(f"skills/s/{n}.bin", noise.randbytes(10_000_000))
    with ann.running():
        await ann.start()
        real_put = ann.store.put

        async def dies_at_the_log_entry(name: str, data: bytes, *, if_absent: bool = False) -> None:
            if "/log/" in name:
                raise KeyboardInterrupt
            await real_put(name, data, if_absent=if_absent)

        ann.store.put = dies_at_the_log_entry  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            await ann.sync()
    packs = {n for n in vault.objects if "/packs/" in n}
    ann.store = vault.view()
    (ann.places.state / "outbox" / "000000000001").unlink()  # as if it had died before the entry was sealed
    with ann.running():
        await ann.start()
        result = await ann.sync()
    assert result.requests.put <= 2  # the rest that was in no full pack, and the entry
    assert packs <= {n for n in vault.objects if "/packs/" in n}
    assert result.uploaded == 8


async def test_growing_sessions_are_folded(pair: Pair) -> None:
    ann, bob = pair
    rel = ann.transcript()
    ann.write(rel, row(0))
    await settle(ann, bob)
    for n in range(1, 150):
        ann.append(rel, row(n) * 20)
        await ann.sync(Direction.PUSH)
    slices = ann.site.state.slices(ann.site.paths.portable(rel) or "", ann.site.me)
    assert len(slices) <= 65
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == ann.read(rel)


async def test_a_torn_last_line_waits_until_the_file_rests(pair: Pair) -> None:
    ann, bob = pair
    rel = ann.transcript()
    ann.write(rel, row(1) + '{"torn', age=1)
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == row(1)
    ann.touch(rel, age=120)
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == row(1) + '{"torn'
    ann.append(rel, '":1}\n')
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == row(1) + '{"torn":1}\n'
    assert not bob.conflicts()


async def test_an_edit_in_the_middle_of_a_session_is_a_new_version(pair: Pair) -> None:
    ann, bob = pair
    rel = ann.transcript()
    ann.write(rel, row(1) + row(2) + row(3))
    await settle(ann, bob)
    ann.write(rel, row(1) + row(3), age=5)  # shrunk in place, as Claude Code does it
    await settle(ann, bob)
    assert bob.read(bob.transcript()) == row(1) + row(3)
    assert not bob.conflicts()


async def test_both_edit_the_newer_wins_and_the_other_is_kept(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "base\n", age=1000)
    await settle(ann, bob)
    ann.write("CLAUDE.md", "ann\n", age=100)
    bob.write("CLAUDE.md", "bob\n", age=50)
    await settle(ann, bob)
    assert ann.read("CLAUDE.md") == bob.read("CLAUDE.md") == "bob\n"
    assert ann.conflicts() == bob.conflicts()
    assert list(ann.conflicts().values()) == ["ann\n"]


async def test_both_published_before_they_knew(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "base\n", age=1000)
    await settle(ann, bob)
    ann.write("CLAUDE.md", "ann\n", age=50)
    bob.write("CLAUDE.md", "bob\n", age=100)
    await ann.sync(Direction.PUSH)
    await bob.sync(Direction.PUSH)
    await settle(ann, bob)
    assert ann.read("CLAUDE.md") == bob.read("CLAUDE.md") == "ann\n"
    assert ann.conflicts() == bob.conflicts()
    assert list(bob.conflicts().values()) == ["bob\n"]
    again = await bob.sync()
    assert again.uploaded + again.conflicts == 0, "a conflict is kept once"


async def test_an_edit_of_the_losing_side_comes_back_where_the_winner_is_deleted(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "ann\n", age=100)
    bob.write("agents/x.md", "bob\n", age=50)
    await ann.sync(Direction.PUSH)
    await bob.sync(Direction.PUSH)
    await bob.sync()  # it wins: nothing to do here
    (bob.places.tree / "agents/x.md").unlink()
    await settle(bob, ann)
    assert ann.read("agents/x.md") == bob.read("agents/x.md") == "ann\n"


async def test_a_side_that_covers_one_of_two_others_is_compared_with_the_second(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    ann, bob, eve = (stack.enter_context(Device(vault, tmp_path, n).running()) for n in ("ann", "bob", "eve"))
    rows = {ann: row(1) + row(2), bob: row(1), eve: row(3)}
    for device, age in ((ann, 300), (bob, 10), (eve, 100)):
        await device.start()
        device.write(device.transcript(), rows[device], age=age)
        await device.sync(Direction.PUSH)
    await settle(ann, eve, bob)
    for device in (ann, bob, eve):
        texts = [path.read_text() for path in (device.places.tree / device.transcript()).parent.iterdir()]
        assert len(texts) == 2
        assert any(row(1) + row(2) in text for text in texts)
        assert any(row(3) in text for text in texts)
        assert not device.conflicts()


async def test_a_conflict_is_resolved_for_everybody(pair: Pair) -> None:
    ann, bob = pair
    for keep, expected in (("local", "bob\n"), ("remote", "ann\n")):
        ann.write("CLAUDE.md", f"base of {keep}\n", age=1000)
        await settle(ann, bob)
        ann.write("CLAUDE.md", "ann\n", age=100)
        bob.write("CLAUDE.md", "bob\n", age=50)
        await settle(ann, bob)
        found = conflicts.kept(ann.site)[0]
        ann.round.dirty |= conflicts.resolve(ann.site, found, keep)  # type: ignore[arg-type]
        await settle(ann, bob)
        assert ann.read("CLAUDE.md") == bob.read("CLAUDE.md") == expected
        assert not ann.conflicts()
        assert not bob.conflicts()


async def test_a_running_session_is_not_replaced_by_the_other_side_of_a_conflict(pair: Pair) -> None:
    ann, bob = pair
    bob.write(bob.transcript(), row(1) + row(3), age=50)
    await settle(ann, bob)
    keep_aside(ann, row(1) + row(2))
    await settle(ann, bob)
    kept = conflicts.kept(bob.site)[0]
    bob.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{SESSION}"}}')
    with pytest.raises(UsageError, match="runs"):
        conflicts.resolve(bob.site, kept, "remote")
    assert bob.read(bob.transcript()) == row(1) + row(3)
    assert bob.conflicts()


async def test_keeping_both_sides_of_a_session_makes_a_second_session(pair: Pair) -> None:
    ann, bob = pair
    line = '{"type":"user","uuid":"%s","sessionId":"11111111-2222-4333-8444-555555555555"}\n'
    ann.write(ann.transcript(), row(1) + line % "b", age=1000)
    await settle(ann, bob)
    keep_aside(ann, row(1) + line % "a")
    await settle(ann, bob)
    assert list(bob.conflicts().values()) == [row(1) + line % "a"]
    bob.round.dirty |= conflicts.resolve(bob.site, conflicts.kept(bob.site)[0], "both")
    await settle(ann, bob)
    sessions = sorted((ann.places.tree / ann.transcript()).parent.iterdir())
    assert len(sessions) == 2
    other = next(s for s in sessions if s.stem not in ann.transcript())
    assert f'"sessionId":"{other.stem}"' in other.read_text()


async def test_a_second_name_that_would_not_be_synced_is_refused(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "one\n", age=100)
    bob.write("CLAUDE.md", "two\n", age=50)
    await settle(ann, bob)
    kept = conflicts.kept(bob.site)[0]
    with pytest.raises(UsageError, match=r"CLAUDE\.md can't be kept twice"):
        conflicts.resolve(bob.site, kept, "both")
    assert list(bob.conflicts().values()) == ["one\n"]


async def test_a_session_that_is_a_prefix_of_the_other_fast_forwards(vault: Vault, tmp_path: Path) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    ann.write(ann.transcript(), row(1) + row(2), age=100)
    bob.write(bob.transcript(), row(1), age=5)  # touched later, but shorter
    with ExitStack() as stack:
        for device in (ann, bob):
            stack.enter_context(device.running())
            await device.start()
        await ann.sync(Direction.PUSH)
        await bob.sync(Direction.PUSH)  # neither knows of the other
        await settle(ann, bob)
        assert bob.read(bob.transcript()) == ann.read(ann.transcript()) == row(1) + row(2)
        assert not ann.conflicts()
        assert not bob.conflicts()


async def test_a_vanished_session_is_evicted_not_deleted(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1))
    await settle(ann, bob)
    (ann.places.tree / ann.transcript()).unlink()
    await settle(ann, bob)
    assert bob.has(bob.transcript())
    assert not ann.has(ann.transcript())
    bob.append(bob.transcript(), row(2))
    await settle(ann, bob)
    assert ann.read(ann.transcript()) == row(1) + row(2), "it was continued elsewhere"


@pytest.mark.parametrize("own", [True, False])
async def test_a_new_session_under_the_name_of_an_evicted_one_replaces_nothing(pair: Pair, *, own: bool) -> None:
    ann, bob = pair
    author = ann if own else bob
    author.write(author.transcript(), row(1) + row(2), age=100)
    await settle(ann, bob)
    (ann.places.tree / ann.transcript()).unlink()
    await settle(ann, bob)
    # As from a session that still ran when Claude Code's cleanup unlinked its file.
    ann.write(ann.transcript(), row(3), age=1)
    await settle(ann, bob)
    for device in (ann, bob):
        sessions = [path.read_text() for path in (device.places.tree / device.transcript()).parent.iterdir()]
        assert len(sessions) == 2
        assert any(row(1) + row(2) in text for text in sessions)
        assert any(row(3) in text for text in sessions)
        assert not device.conflicts()


async def test_an_edit_beats_a_deletion(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=100)
    await settle(ann, bob)
    (ann.places.tree / "agents/x.md").unlink()
    bob.write("agents/x.md", "two\n", age=50)
    await settle(ann, bob)
    assert ann.read("agents/x.md") == bob.read("agents/x.md") == "two\n"


async def test_a_lost_state_loses_nothing_and_sends_nothing_again(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    ann = Device(vault, tmp_path, "ann")
    bob = stack.enter_context(Device(vault, tmp_path, "bob").running())
    await bob.start()
    for n in range(50):
        ann.write(f"agents/{n}.md", f"{n}\n" * 100)
    with ann.running():
        await ann.start()
        await settle(ann, bob)
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (ann.places.state / name).unlink(missing_ok=True)
    bob.write("agents/1.md", "edited elsewhere\n", age=1)
    await bob.sync()
    ann.write("agents/2.md", "edited here\n", age=1)
    with ann.running():
        await ann.start()
        result = await ann.sync()
        assert result.uploaded == 1
        assert result.downloaded == 2
        await settle(ann, bob)
        assert ann.tree() == bob.tree()
        assert ann.read("agents/1.md") == "edited elsewhere\n"
        assert ann.read("agents/2.md") == "edited here\n"
        # The edit has no ancestor any more: what it replaced is kept, though this device itself wrote it.
        assert set(ann.conflicts().values()) == {"2\n" * 100}


@pytest.mark.parametrize("lagging", [False, True])
async def test_a_restored_state_catches_up_with_its_own_area(vault: Vault, tmp_path: Path, lagging: bool) -> None:
    ann = Device(vault, tmp_path, "ann")
    with ann.running():
        await ann.start()
        ann.write("CLAUDE.md", "one\n", age=100)
        await ann.sync()
    backup = ann.places.database.read_bytes()
    listed = await vault.view().list("")
    with ann.running():
        await ann.start()
        me = ann.site.me
        ann.write("CLAUDE.md", "two\n", age=50)
        await ann.sync()
    for name in ("state.db-wal", "state.db-shm"):
        (ann.places.state / name).unlink(missing_ok=True)
    ann.places.database.write_bytes(backup)

    async def as_a_while_ago(prefix: str) -> list[ObjectInfo]:
        return [info for info in listed if info.name.startswith(prefix)]

    if lagging:
        ann.store.list = as_a_while_ago  # type: ignore[method-assign]
    with ann.running():
        await ann.start()
        ann.store.list = vault.view().list  # type: ignore[method-assign]
        await ann.round.check_id()
        ann.write("CLAUDE.md", "three\n", age=10)
        await ann.sync()
        assert ann.site.me == me
        assert len(heads(ann.site.state.newest("tree/CLAUDE.md"))) == 1
    assert max(n for n in vault.objects if "/log/" in n).endswith("000000000003")


async def test_a_cloned_device_takes_a_new_id(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann = Device(vault, tmp_path, "ann")
    twin = Device(vault, tmp_path / "clone", "ann")
    for device in (ann, twin):
        stack.enter_context(device.running())
        await device.start()
    assert ann.site.me == twin.site.me
    ann.write("CLAUDE.md", "ann\n")
    await ann.sync(Direction.PUSH)
    twin.write("agents/t.md", "twin\n")
    with pytest.raises(Exception, match="lives twice"):
        await twin.sync(Direction.PUSH)
    assert twin.site.me != ann.site.me
    await settle(ann, twin)
    assert ann.tree() == twin.tree()
    assert ann.read("agents/t.md") == "twin\n"


async def test_a_new_id_joins_once_the_store_answers_again(
    vault: Vault, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, twin = Device(vault, tmp_path, "ann"), Device(vault, tmp_path / "clone", "ann")
    for device in (ann, twin):
        stack.enter_context(device.running())
        await device.start()
    ann.write("CLAUDE.md", "ann\n")
    await ann.sync(Direction.PUSH)
    twin.write("agents/t.md", "twin\n")
    with monkeypatch.context() as cut:

        async def unreachable() -> None:
            raise StoreUnavailable("the connection broke")

        cut.setattr(twin.round.poller, "join", unreachable)
        with pytest.raises(StoreUnavailable):
            await twin.sync(Direction.PUSH)
    await settle(twin, ann)
    assert ann.read("agents/t.md") == "twin\n"


@pytest.fixture
async def outlived(vault: Vault, tmp_path: Path, stack: ExitStack) -> tuple[Device, Device]:
    """Ann and Bob. Ann wrote a file, then her state folder was copied, and the copy wrote as her and is gone again;
    Bob wrote the same file later, and has seen nothing of Ann's.
    """
    ann, bob = Device(vault, tmp_path, "ann"), Device(vault, tmp_path, "bob")
    ann.write("skills/s/x.bin", random.Random(6).randbytes(9_000_000), age=1000)
    with ann.running():
        await ann.start()
        await ann.sync(Direction.PUSH)
    copy = Device(vault, tmp_path / "copy", "ann")
    shutil.rmtree(copy.places.state)
    shutil.copytree(ann.places.state, copy.places.state)
    for device in (ann, bob):
        stack.enter_context(device.running())
        await device.start()
    bob.write("skills/s/x.bin", "bob's, and newer\n", age=100)
    await bob.sync(Direction.PUSH)
    copy.write("agents/copy.md", "written by the copy\n")
    with copy.running():
        await copy.start()
        copy.round.dirty.add("tree/agents/copy.md")
        await copy.round.run(Direction.PUSH)
    return ann, bob


async def test_a_device_acts_for_the_id_that_it_had_before(outlived: tuple[Device, Device]) -> None:
    ann, bob = outlived
    before = ann.site.me
    ann.write("agents/ann.md", "written by ann\n")
    with pytest.raises(Exception, match="lives twice"):
        await ann.sync(Direction.PUSH)
    assert ann.site.former == {before: 1}, "what the copy wrote is not hers"
    await settle(ann, bob)
    assert ann.tree() == bob.tree()
    assert bob.read("agents/copy.md") == "written by the copy\n"
    # The side that she lost under her former id is kept for everybody, and there is one head.
    assert ann.read("skills/s/x.bin") == "bob's, and newer\n"
    assert [r.device for r in _sides(bob, "tree/skills/s/x.bin")] == [bob.site.me]
    for device in (ann, bob):
        (kept,) = conflicts.kept(device.site)
        assert (device.places.conflicts / kept.path).read_bytes() == random.Random(6).randbytes(9_000_000)
    # It stays so when she writes the file again, even by a clock that is late.
    ann.write("skills/s/x.bin", "ann's, later\n", age=5000)
    await settle(ann, bob)
    assert bob.read("skills/s/x.bin") == "ann's, later\n"
    assert [r.device for r in _sides(bob, "tree/skills/s/x.bin")] == [ann.site.me]
    assert len(conflicts.kept(bob.site)) == 1


async def test_what_a_former_id_lost_is_withdrawn_after_a_restart_too(
    outlived: tuple[Device, Device], stack: ExitStack
) -> None:
    ann, bob = outlived
    before = ann.site.me
    await ann.round.check_id()  # she has written nothing since: she finds out by looking
    assert ann.site.me != before
    stack.close()
    with ann.running(), bob.running():
        assert ann.site.former == {before: 1}
        await ann.start()
        await bob.start()
        await settle(ann, bob)
        assert [r.device for r in _sides(bob, "tree/skills/s/x.bin")] == [bob.site.me]
        assert len(conflicts.kept(bob.site)) == 1


async def test_a_winner_is_published_again_over_what_its_device_lost_before(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    ann, bob = Device(vault, tmp_path, "ann"), stack.enter_context(Device(vault, tmp_path, "bob").running())
    await bob.start()
    ann.write(ann.transcript(), row(1), age=1000)
    with ann.running():
        await ann.start()
        await ann.sync(Direction.PUSH)
        before = ann.site.me
        await ann.site.off_loop(ann.site.new_id)
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (ann.places.state / name).unlink(missing_ok=True)
    session = ann.write(ann.transcript(), row(2), age=100)
    ann = stack.enter_context(ann.running())
    assert ann.site.former == {before: 1}
    await ann.round.scan()
    await ann.round.poller.join()
    await ann.round.run(Direction.PUSH)  # not knowing of the first: both are heads
    session.unlink()  # evicted: what is in the vault is all there is
    await ann.sync()
    await settle(bob, ann)
    assert bob.read(bob.transcript()) == row(2)
    path = bob.site.paths.portable(bob.transcript())
    assert path is not None
    assert [r.device for r in _sides(bob, path)] == [ann.site.me]
    assert list(bob.conflicts().values()) == list(ann.conflicts().values()) == [row(1)]


@pytest.mark.parametrize("direction", [Direction.PUSH, Direction.SYNC])
async def test_what_a_former_id_lost_stays_a_head_until_its_content_can_be_kept(
    outlived: tuple[Device, Device], direction: Direction
) -> None:
    ann, bob = outlived
    await ann.round.check_id()
    pack = next(name for name in ann.vault.objects if "/packs/" in name)
    data = ann.vault.objects.pop(pack)
    await ann.sync(direction)
    await bob.sync()
    assert len(_sides(bob, "tree/skills/s/x.bin")) == 2, "nothing is withdrawn whose content is nowhere else"
    ann.vault.objects[pack] = data
    await settle(ann, bob)
    assert len(_sides(bob, "tree/skills/s/x.bin")) == 1
    assert len(conflicts.kept(bob.site)) == 1


def _sides(device: Device, path: str) -> list[Record]:
    """The heads of a path, as far as they have content of their own."""
    return sides(heads(device.site.state.newest(path)))


async def test_half_of_the_files_gone_is_a_hold(pair: Pair) -> None:
    ann, bob = pair
    for n in range(60):
        ann.write(f"agents/{n}.md", f"{n}\n")
    await settle(ann, bob)
    for n in range(40):
        (ann.places.tree / f"agents/{n}.md").unlink()
    with pytest.raises(Held):
        await ann.sync()
    assert len(bob.tree()) == 60
    with pytest.raises(Held):
        await ann.sync()
    await ann.round.accept()
    result = await ann.sync()
    assert result.deleted == 40
    await settle(ann, bob)
    assert len(bob.tree()) == 20


async def test_another_root_is_a_hold_and_accepting_fills_it(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "x\n")
    await settle(ann, bob)
    ann.places.tree.rename(ann.home / "elsewhere")
    with pytest.raises(Held):
        await ann.sync()
    ann.places.tree.mkdir()
    with pytest.raises(Held):
        await ann.sync()
    await ann.round.accept()
    await settle(ann, bob)
    assert bob.has("CLAUDE.md")
    assert ann.read("CLAUDE.md") == "x\n"


async def test_a_running_session_is_parked(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), row(1))
    await settle(ann, bob)
    bob.write(f"sessions/{os.getpid()}.json", f'{{"pid":{os.getpid()},"sessionId":"{SESSION}"}}')
    ann.append(ann.transcript(), row(2))
    await ann.sync()
    result = await bob.sync()
    assert result.parked == 1
    assert bob.read(bob.transcript()) == row(1)
    (bob.places.tree / f"sessions/{os.getpid()}.json").unlink()
    await bob.sync()
    assert bob.read(bob.transcript()) == row(1) + row(2)


async def test_a_run_can_be_limited_to_a_project(pair: Pair) -> None:
    ann, bob = pair
    for folder in ("one", "two"):
        ann.write(ann.transcript(folder), row(1, cwd=str(ann.home.resolve() / folder)))
    await ann.sync(Direction.PUSH, Limits(under="tree/projects/~-one/"))
    await bob.sync()
    assert bob.has(bob.transcript("one"))
    assert not bob.has(bob.transcript("two"))
    await settle(ann, bob)
    assert bob.has(bob.transcript("two"))


async def test_what_is_out_of_scope_is_not_touched(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    bob = stack.enter_context(Device(vault, tmp_path, "bob", exclude=("agents/",)).running())
    for device in (ann, bob):
        await device.start()
    ann.write("agents/x.md", "ann's\n")
    bob.write("agents/y.md", "bob's\n")
    await settle(ann, bob)
    assert list(ann.tree()) == ["agents/x.md"]
    assert list(bob.tree()) == ["agents/y.md"]


async def test_a_scope_that_widens_fetches_what_was_left_out(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    await ann.start()
    ann.write("agents/x.md", "x\n")
    await ann.sync()
    bob = Device(vault, tmp_path, "bob", exclude=("agents/",))
    with bob.running():
        await bob.start()
        await bob.sync()
    bob.settings = type(bob.settings)()
    with bob.running():
        await bob.start()
        await bob.sync()
    assert bob.has("agents/x.md")
    assert ann.has("agents/x.md")


@pytest.mark.parametrize("name", ["a\\b.md", "a\u200bb.md", "cafe\u0301.md", "a\nb.md"])
async def test_a_name_that_cannot_travel_is_a_problem_to_show_and_stops_nothing(pair: Pair, name: str) -> None:
    ann, bob = pair
    ann.write(f"skills/x/{name}", "x")
    ann.write("skills/x/good.md", "x")
    await settle(ann, bob)
    assert list(bob.tree()) == ["skills/x/good.md"]
    assert ann.site.problems


async def test_secrets_stay_here(pair: Pair) -> None:
    ann, bob = pair
    for name in (".credentials.json", "ide/1.lock", "session-env/x", "skills/s/.env"):
        ann.write(name, "secret")
    ann.write("CLAUDE.md", "x")
    await settle(ann, bob)
    assert list(bob.tree()) == ["CLAUDE.md"]


async def test_a_damaged_object_changes_nothing_and_is_named(pair: Pair) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "one\n", age=100)
    await settle(ann, bob)
    ann.write("CLAUDE.md", "two\n", age=50)
    await ann.sync()
    name = max(n for n in ann.vault.objects if f"{ann.site.me}/log/" in n)
    good = ann.vault.objects[name]
    ann.vault.objects[name] = good[:-1] + bytes([good[-1] ^ 1])
    await bob.sync()
    assert bob.read("CLAUDE.md") == "one\n"
    assert any(name in problem for problem in bob.site.problems.values())
    ann.vault.objects[name] = good
    await bob.sync()
    assert bob.read("CLAUDE.md") == "two\n"
    assert not bob.site.problems


async def test_a_store_that_rolls_back_a_log_is_found_out(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann, bob, eve = (stack.enter_context(Device(vault, tmp_path, n).running()) for n in ("ann", "bob", "eve"))
    for device in (ann, bob, eve):
        await device.start()
    for text in ("one\n", "two\n"):
        ann.write("CLAUDE.md", text, age=50 if text == "one\n" else 10)
        await ann.sync()
    await bob.sync()
    bob.write("agents/b.md", "b\n")
    await bob.sync()
    hidden = f"devices/{ann.site.me}/log/000000000002"
    kept = vault.objects.pop(hidden)
    await eve.sync()
    assert any("withholds" in problem for problem in eve.site.problems.values())
    vault.objects[hidden] = kept
    await eve.sync()
    assert not eve.site.problems
    assert eve.read("CLAUDE.md") == "two\n"


async def test_a_store_that_fails_in_a_push_says_so_and_the_next_push_goes_on(pair: Pair) -> None:
    ann, bob = pair
    ann.write("skills/s/x.bin", random.Random(5).randbytes(40_000_000))
    real_put = ann.store.put

    async def unavailable(name: str, data: bytes, *, if_absent: bool = False) -> None:
        raise StoreUnavailable("gone")

    ann.store.put = unavailable  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="gone"):
        await ann.sync(Direction.PUSH)
    ann.store.put = real_put  # type: ignore[method-assign]
    await settle(ann, bob)
    assert bob.tree() == ann.tree()


@pytest.mark.parametrize("direction", [Direction.SYNC, Direction.PULL])
async def test_what_was_sealed_and_not_sent_goes_out_before_anything_is_planned(
    pair: Pair, direction: Direction
) -> None:
    ann, bob = pair
    ann.write("CLAUDE.md", "ann\n", age=100)
    bob.write("CLAUDE.md", "bob\n", age=10)
    await ann.sync(Direction.PUSH)
    await bob.sync(Direction.PUSH)
    real_put = ann.store.put

    async def unavailable(name: str, data: bytes, *, if_absent: bool = False) -> None:
        raise StoreUnavailable("gone")

    ann.store.put = unavailable  # type: ignore[method-assign]
    ann.write("CLAUDE.md", "ann, too\n", age=50)
    with pytest.raises(StoreUnavailable, match="gone"):
        await ann.sync(Direction.PUSH)
    ann.store.put = real_put  # type: ignore[method-assign]
    # Ann's side has lost to Bob's, and the newer version of it is still in the outbox.
    await ann.sync(direction)
    await settle(ann, bob)
    assert bob.tree() == ann.tree()
    assert not bob.site.problems
    assert ann.read("CLAUDE.md") == "bob\n"
    assert list(ann.conflicts().values()) == ["ann, too\n"]
    assert bob.conflicts() == ann.conflicts()


async def test_a_store_that_fails_in_a_pull_leaves_no_temporary_files(pair: Pair) -> None:
    ann, bob = pair
    for n in range(3):
        ann.write(f"skills/s/{n}.bin", random.Random(n).randbytes(24_000_000))  # three packs
    await ann.sync()
    real_get = bob.store.get
    left = 2

    async def breaks_off(name: str, span: Span | None = None) -> bytes:
        nonlocal left
        if "/packs/" in name:
            left -= 1
            if left < 0:
                raise StoreUnavailable("gone")
        return await real_get(name, span)

    bob.store.get = breaks_off  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="gone"):
        await bob.sync()
    assert not [p for p in bob.places.tree.rglob("*") if ".csync" in p.name]
    bob.store.get = real_get  # type: ignore[method-assign]
    await settle(ann, bob)
    assert bob.tree() == ann.tree()


async def test_a_bad_pack_spoils_only_the_files_in_it(pair: Pair) -> None:
    ann, bob = pair
    for n in range(3):
        ann.write(f"skills/s/{n}.bin", random.Random(n).randbytes(9_000_000))
        await ann.sync()
    packs = sorted(n for n in ann.vault.objects if "/packs/" in n)
    good = ann.vault.objects[packs[0]]
    ann.vault.objects[packs[0]] = good[:1000] + bytes([good[1000] ^ 1]) + good[1001:]
    result = await bob.sync()
    assert result.downloaded == 2
    assert len(bob.tree()) == 2
    assert any(packs[0] in failure for failure in bob.round.failures)
    assert not [p for p in bob.places.tree.rglob("*") if ".csync" in p.name]
    ann.vault.objects[packs[0]] = good
    await settle(ann, bob)
    assert bob.tree() == ann.tree()
    assert not bob.round.failures


async def test_an_object_that_is_gone_is_named_and_waited_for(pair: Pair) -> None:
    ann, bob = pair
    ann.write("skills/s/x.bin", random.Random(6).randbytes(20_000_000))
    ann.write("CLAUDE.md", "x\n")
    await ann.sync()
    name = next(n for n in ann.vault.objects if "/packs/" in n)
    gone = ann.vault.objects.pop(name)
    await bob.sync()
    assert any(name in failure for failure in bob.round.failures)
    ann.vault.objects[name] = gone
    await settle(ann, bob)
    assert bob.tree() == ann.tree()
