"""Versions over several devices: which there are, and which files a user means."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from devices import Device, Vault, settle

from claude_syncd.core.status import VersionInfo, VersionKind
from claude_syncd.engine import conflicts, versions
from claude_syncd.errors import UsageError

Pair = tuple[Device, Device]


def listed(device: Device, path: str) -> list[VersionInfo]:
    (file,), more = versions.listed(device.site, path, "/")
    assert not more
    return file.versions


async def test_versions_of_two_devices_are_one_list_on_both(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "one\n", age=500)
    await settle(ann, bob)
    bob.write("agents/x.md", "two!\n", age=400)
    await settle(ann, bob)
    (ann.places.tree / "agents/x.md").unlink()
    await settle(ann, bob)
    bob.write("agents/x.md", "three\n", age=10)
    await bob.sync()
    await ann.round.poller.others()
    for device in pair:
        found = listed(device, "agents/x.md")
        assert [(v.number, v.device, v.size, v.kind) for v in found] == [
            (4, "bob", 6, VersionKind.FILE),
            (3, "ann", None, VersionKind.DELETED),
            (2, "bob", 5, VersionKind.FILE),
            (1, "ann", 4, VersionKind.FILE),
        ]
        assert [v.number for v in found if v.here] == ([4] if device is bob else [])
    await settle(ann, bob)
    assert [v.number for v in listed(ann, "agents/x.md") if v.here] == [4]
    ann.write("agents/x.md", "not pushed\n")
    ((file,), _) = versions.listed(ann.site, "agents/x.md", "/")
    assert file.changed_here
    assert not any(v.here for v in file.versions)


async def test_a_lost_state_reads_the_versions_from_the_logs_again(vault: Vault, tmp_path: Path) -> None:
    with ExitStack() as stack:
        ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
        await ann.start()
        for text in ("one\n", "two\n", "three\n"):
            ann.write("CLAUDE.md", text)
            await ann.sync()
        before = listed(ann, "CLAUDE.md")
    assert [v.number for v in before] == [3, 2, 1]
    ann.places.database.unlink()
    with ann.running():
        await ann.start()
        await ann.sync()
        assert listed(ann, "CLAUDE.md") == before


async def test_evicted_sessions_and_kept_sides_are_told_apart(pair: Pair) -> None:
    ann, bob = pair
    ann.write(ann.transcript(), '{"uuid":"1"}\n', age=500)
    ann.write("skills/s/pic.bin", b"\0ann", age=500)
    bob.write("skills/s/pic.bin", b"\0bob", age=400)
    await settle(ann, bob)
    (ann.places.tree / ann.transcript()).unlink()
    await settle(ann, bob)
    assert [(v.kind, v.here) for v in listed(ann, ann.transcript())] == [(VersionKind.EVICTED, False)]
    assert [(v.kind, v.here) for v in listed(bob, bob.transcript())] == [(VersionKind.FILE, True)]
    kept = [v for v in listed(ann, "skills/s/pic.bin") if v.kind is VersionKind.KEPT]
    assert [(v.number, v.device, v.size) for v in kept] == [(None, "ann", 4)]
    assert len(conflicts.kept(ann.site)) == 1


async def test_a_file_is_named_in_many_ways(pair: Pair) -> None:
    ann, bob = pair
    session = ann.transcript()
    ann.write(session, '{"uuid":"1"}\n')
    ann.write("agents/deep/x.md", "x\n")
    await settle(ann, bob)
    portable = ann.site.paths.portable(session)
    assert portable is not None
    tree = ann.places.tree
    for path, cwd in (
        (session, "/"),
        (str(tree / session), "/nowhere"),
        (session.rpartition("/")[2], str((tree / session).parent)),
        (portable, "/"),
        (portable.removeprefix("tree/"), "/"),
        (f"../{session}", str(tree / "agents")),
        (session.rpartition("/")[0], "/"),
        ("projects", "/"),
    ):
        assert versions.meant(ann.site, path, cwd) == [portable], path
    assert versions.meant(ann.site, "agents/", "/") == ["tree/agents/deep/x.md"]
    assert versions.meant(ann.site, ".", str(tree / "agents" / "deep")) == ["tree/agents/deep/x.md"]
    for wrong in ("agents/y.md", "/etc/passwd", "../../x", "projects/-no-such-project/x.jsonl", "\udcff"):
        with pytest.raises(UsageError, match="nothing is known"):
            versions.meant(ann.site, wrong, "/")
    assert "-no-such-project" not in ann.site.state.projects()
