"""What one machine has, the others get: byte for byte, with modes and times, in both directions."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from claude_paths import encode, portable, travels
from lab import over_stores, set_up
from machines import ON_REQUEST, differences, settle, start_all
from realistic_text import Conversation
from realistic_tree import EPOCH, SECRET, quick_tree, small_tree
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from lab import Lab
    from machines import Machine


def _pair(lab: Lab, files: int = 0) -> tuple[Machine, Machine]:
    """Two machines of one vault, the first with a tree of `files` files (0: the quick one)."""
    a, b = lab.machine("a"), lab.machine("b")
    if files:
        small_tree(a.tree, a.home, files)
    else:
        quick_tree(a.tree, a.home)
    lab.prepare()
    set_up([a, b], sync=False)
    return a, b


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _row(random: Random, machine: Machine, session: str, text: str) -> str:
    """One transcript row."""
    return Conversation(random, str(machine.home / "dev/app"), session, EPOCH).user(text).decode()


def _whole_tree_arrives(lab: Lab, files: int) -> None:
    a, b = _pair(lab, files)
    before = a.snapshot()
    assert len(before) == files
    start_all([a, b])
    settle([a, b], timeout=240)
    assert b.snapshot() == before
    assert a.snapshot() == before
    for machine in (a, b):
        machine.stop()


@over_stores(quick=["folder", "s3"])
def test_a_tree_arrives_byte_for_byte(lab: Lab) -> None:
    _whole_tree_arrives(lab, 300)


@pytest.mark.long
@over_stores()
def test_a_tree_of_2000_files_arrives_byte_for_byte(lab: Lab) -> None:
    _whole_tree_arrives(lab, 2000)


def test_commands_alone_carry_a_tree_over(lab: Lab) -> None:
    a, b = _pair(lab)
    pushed = a.json("push")
    assert pushed["uploaded"] == len(a.snapshot())
    pulled = b.json("pull")
    assert pulled["downloaded"] == pushed["uploaded"]
    assert differences([a, b]) == []


def test_nothing_machine_local_travels(folder_lab: Lab) -> None:
    a, b = _pair(folder_lab)
    assert SECRET in (a.tree / ".credentials.json").read_text()
    local = {"sessions/1.json": '{"mine": true}', ".credentials.json": '{"mine": true}'}
    for name, content in local.items():
        (b.tree / name).parent.mkdir(exist_ok=True)
        (b.tree / name).write_text(content)
    a.sync()
    b.sync()
    at_b = {str(p.relative_to(b.tree)) for p in b.tree.rglob("*") if p.is_file()}
    assert {name for name in at_b if not travels(name)} == set(local)
    for name, content in local.items():
        assert (b.tree / name).read_text() == content


def test_a_second_sync_has_nothing_to_do(lab: Lab) -> None:
    a, b = _pair(lab)
    a.sync()
    b.sync()
    # A may still learn here that B joined; then both know all.
    for machine in (a, b):
        machine.sync()
        done = machine.sync()
        assert (done["uploaded"], done["downloaded"], done["deleted"], done["requests"]["put"]) == (0, 0, 0, 0)


def test_projects_land_under_the_other_home(folder_lab: Lab) -> None:
    a, b = _pair(folder_lab)
    a.sync()
    b.sync()
    mine, theirs = (f"projects/{encode(str(m.home / 'dev/app'))}" for m in (b, a))
    assert list((b.tree / mine).glob("*.jsonl"))
    assert not (b.tree / theirs).exists()
    # What is outside the home folder keeps its place.
    outside = f"projects/{encode('/srv/shared-app')}"
    assert {p.name for p in (b.tree / outside).iterdir()} == {
        p.name for p in (a.tree / outside).iterdir() if ".tmp." not in p.name
    }
    for path in b.tree.glob("projects/*/*.jsonl"):
        relative = portable(str(path.relative_to(b.tree)), str(b.home))
        assert path.read_bytes() == a.file(relative).read_bytes()


@over_stores(quick=["folder"])
def test_changes_travel_both_ways(lab: Lab) -> None:
    from random import Random

    a, b = _pair(lab)
    random = Random(7)
    start_all([a, b])
    settle([a, b])
    transcripts = sorted(p for p in a.snapshot() if p.startswith("projects/~") and p.count("/") == 2)

    # Appended, created, edited, renamed, made executable and deleted at A, other files at B; at the same time.
    for machine, transcript, agent, skill in (
        (a, transcripts[0], "reviewer", "release"),
        (b, transcripts[1], "tester", "chart-maker"),
    ):
        path = machine.file(transcript)
        _append(path, _row(random, machine, path.stem, f"said at {machine.name}"))
        _append(machine.tree / f"agents/{agent}.md", f"\nedited at {machine.name}\n")
        (machine.tree / f"rules/of-{machine.name}.md").write_text(f"# Rules of {machine.name}\n")
        folder = machine.tree / f"skills/{skill}"
        os.rename(folder / "reference/details.md", folder / "reference/renamed.md")
        (folder / "scripts/run.sh").chmod(0o644)
        (machine.tree / f"commands/{agent}.md").unlink()
    settle([a, b])

    for machine in (a, b):
        for transcript, said in zip(transcripts, ("said at a", "said at b"), strict=False):
            assert said in machine.file(transcript).read_text()
        for agent, edited in (("reviewer", "edited at a"), ("tester", "edited at b")):
            assert edited in (machine.tree / f"agents/{agent}.md").read_text()
            assert not (machine.tree / f"commands/{agent}.md").exists()
        for skill in ("release", "chart-maker"):
            assert (machine.tree / f"skills/{skill}/reference/renamed.md").exists()
            assert not (machine.tree / f"skills/{skill}/reference/details.md").exists()
            assert (machine.tree / f"skills/{skill}/scripts/run.sh").stat().st_mode & 0o777 == 0o644
        assert (machine.tree / "rules/of-a.md").exists()
        assert (machine.tree / "rules/of-b.md").exists()
        assert machine.conflicts() == []
        machine.stop()


def test_a_new_project_travels_while_both_run(lab: Lab) -> None:
    from random import Random

    a, b = _pair(lab)
    start_all([a, b])
    settle([a, b])
    session = "0aafeadc-0000-4000-8000-000000000001"
    folder = a.tree / "projects" / encode(str(a.home / "dev/brand-new"))
    folder.mkdir()
    (folder / f"{session}.jsonl").write_text(_row(Random(1), a, session, "first words"))
    arrived = b.file(f"projects/~-dev-brand-new/{session}.jsonl")
    wait_until(arrived.exists, 30, "the new session is at B", [a, b])
    settle([a, b])
    assert arrived.read_text() == (folder / f"{session}.jsonl").read_text()
    assert arrived.stat().st_mode & 0o777 == (folder / f"{session}.jsonl").stat().st_mode & 0o777


def test_a_third_device_joins_late_and_takes_part(lab: Lab) -> None:
    a, b = _pair(lab)
    start_all([a, b])
    settle([a, b])
    c = lab.machine("c")
    (c.tree / "agents").mkdir()
    (c.tree / "agents/of-c.md").write_text("# I was here before\n")
    c.init()
    c.start()
    wait_until((a.tree / "agents/of-c.md").exists, 60, "what C had is at A", [a, b, c])
    settle([a, b, c])
    (c.tree / "CLAUDE.md").write_text("# Rewritten at C\n")
    wait_until(lambda: "Rewritten at C" in (b.tree / "CLAUDE.md").read_text(), 60, "C's edit is at B", [a, b, c])
    settle([a, b, c])
    assert {device["name"] for device in a.json("status")["devices"]} == {"a", "b", "c"}
    for machine in (a, b, c):
        machine.stop()


def test_a_request_also_finds_a_device_that_joined_just_now(folder_lab: Lab) -> None:
    a, b = (folder_lab.machine(name, settings=ON_REQUEST) for name in ("a", "b"))
    folder_lab.prepare()
    a.init()
    a.start()
    a.sync()
    (b.tree / "CLAUDE.md").write_text("# Written at B\n")
    b.init()
    b.sync()
    a.json("pull")
    assert (a.tree / "CLAUDE.md").read_text() == "# Written at B\n"


def test_the_wrong_passphrase_opens_nothing(folder_lab: Lab) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    a.init()
    done = b.ctl(
        "init",
        *b.store,
        "--passphrase-stdin",
        "--device-name",
        "b",
        "--yes",
        check=False,
        input="wrong horse battery\n",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert b.ctl("sync", check=False).returncode == 4


def test_a_lost_machine_comes_back_from_nothing(folder_lab: Lab) -> None:
    a, _ = _pair(folder_lab)
    a.sync()
    before = a.snapshot()
    shutil.rmtree(a.folder)
    again = folder_lab.machine("again")
    again.init()
    again.sync()
    assert again.snapshot() == before
