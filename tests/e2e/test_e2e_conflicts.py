"""Both sides changed: the trees end equal, and both contents stay within reach. Vanished files; mass deletion."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from claude_paths import encode
from lab import set_up
from machines import ON_REQUEST, QUICK, differences, start_all, sync_all
from realistic_text import Conversation
from realistic_tree import EPOCH, quick_tree
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab
    from machines import Machine

NOTE = "agents/reviewer.md"
SESSION = "0aafeadc-1111-4000-8000-000000000001"
HELD = 5
KEPT = {"local": "reviewer", "remote": "tester", "both": "writer"}
"""How a conflict is ended, and of which agent."""


@pytest.fixture
def pair(folder_lab: Lab) -> tuple[Machine, Machine]:
    """Two machines with the same tree; their daemons sync when they are asked to."""
    a, b = (folder_lab.machine(name, settings=ON_REQUEST) for name in ("a", "b"))
    quick_tree(a.tree, a.home)
    folder_lab.prepare()
    set_up([a, b])
    start_all([a, b])
    assert differences([a, b]) == []
    return a, b


def _clash(a: Machine, b: Machine, *notes: str) -> None:
    """Each rewrites the same files; neither knows of the other."""
    for machine in (a, b):
        for note in notes or [NOTE]:
            (machine.tree / note).write_text(
                f"# {note.split('/')[1].removesuffix('.md')}\n\nwritten at {machine.name}\n"
            )
    sync_all([a, b])


def _other(side: str) -> str:
    """What the other machine wrote."""
    one, other = ("at a", "at b") if "at a" in side else ("at b", "at a")
    return side.replace(one, other)


def _contents(machine: Machine) -> str:
    return "\n".join(path.read_text(errors="replace") for path in machine.everything() if path.suffix != ".db")


def _transcript(machine: Machine) -> Path:
    return machine.tree / "projects" / encode(str(machine.home / "dev/app")) / f"{SESSION}.jsonl"


def _talk(machine: Machine, seed: int) -> Conversation:
    return Conversation(Random(seed), str(machine.home / "dev/app"), SESSION, EPOCH)


def test_both_sides_of_a_clash_are_kept_and_it_is_told_once(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    _clash(a, b)
    assert differences([a, b]) == []
    of_a, of_b = a.conflicts(), b.conflicts()
    assert len(of_a) == 1
    assert [(c["id"], c["path"]) for c in of_a] == [(c["id"], c["path"]) for c in of_b]
    assert of_a[0]["path"] == NOTE
    for machine in pair:
        assert machine.json("status")["conflicts"] == 1
        everything = _contents(machine)
        assert "written at a" in everything
        assert "written at b" in everything
        # Never inside the tree, where Claude Code would load it.
        assert len([p for p in (machine.tree / "agents").rglob("*") if p.is_file()]) == 3
    sync_all([a, b])
    assert a.conflicts() == of_a
    done = a.sync()
    assert (done["uploaded"], done["downloaded"], done["requests"]["put"]) == (0, 0, 0)


def test_conflicts_are_resolved_everywhere(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    notes = {keep: f"agents/{name}.md" for keep, name in KEPT.items()}
    _clash(a, b, *notes.values())
    ids = {conflict["path"]: conflict["id"] for conflict in a.conflicts()}
    before = {keep: (a.tree / note).read_text() for keep, note in notes.items()}
    for keep, note in notes.items():
        a.ctl("conflicts", "resolve", ids[note], "--keep", keep)
    sync_all([a, b])
    assert differences([a, b]) == []
    for machine in pair:
        assert machine.conflicts() == []
        assert machine.json("status")["conflicts"] == 0
        everything = {path.name: path.read_text() for path in (machine.tree / "agents").iterdir()}
        assert (machine.tree / notes["local"]).read_text() == before["local"]
        for keep in ("remote", "both"):
            other = _other(before[keep])
            sides = [name for name, text in everything.items() if text in {before[keep], other} and KEPT[keep] in text]
            assert other in everything.values()
            assert (before[keep] in everything.values()) == (keep == "both")
            assert len(sides) == (2 if keep == "both" else 1)


def test_a_longer_transcript_is_no_conflict(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    talk = _talk(a, 3)
    first, second, third = talk.user("one"), talk.user("two"), talk.user("three")
    # Both have the beginning, as after copying a file by hand; A has more.
    for machine, content in ((a, first + second + third), (b, first)):
        _transcript(machine).write_bytes(content)
    sync_all([a, b])
    assert differences([a, b]) == []
    assert _transcript(b).read_bytes() == first + second + third
    assert a.conflicts() == b.conflicts() == []
    assert len(list(_transcript(a).parent.glob("*.jsonl"))) == len(list(_transcript(b).parent.glob("*.jsonl")))


def test_no_branch_of_a_diverged_session_is_lost(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    _transcript(a).write_bytes(_talk(a, 3).user("the beginning"))
    sync_all([a, b])
    for machine, seed in ((a, 11), (b, 12)):
        with _transcript(machine).open("ab") as file:
            file.write(_talk(machine, seed).user(f"said at {machine.name}"))
    sync_all([a, b])
    assert differences([a, b]) == []
    for machine in pair:
        kept = [path.read_text() for path in machine.everything() if path.suffix == ".jsonl"]
        branches = [content for content in kept if "said at" in content]
        assert any("said at a" in branch for branch in branches)
        assert any("said at b" in branch for branch in branches)
        # Both in one file would show Claude Code one of them only.
        assert not any("said at a" in branch and "said at b" in branch for branch in branches)
        assert all("the beginning" in branch for branch in branches)


def test_a_swept_session_stays_elsewhere(pair: tuple[Machine, Machine], folder_lab: Lab) -> None:
    a, b = pair
    victim = next(p for p in sorted(a.snapshot()) if p.startswith("projects/~") and p.count("/") == 2)
    content = b.file(victim).read_bytes()
    a.file(victim).unlink()
    sync_all([a, b])
    assert not a.file(victim).exists()
    assert b.file(victim).read_bytes() == content
    c = folder_lab.machine("c")
    c.init()
    c.sync()
    assert c.file(victim).read_bytes() == content
    # That nothing more is deleted anywhere is as true after another round.
    sync_all([b, a])
    assert not a.file(victim).exists()
    assert b.file(victim).exists()


def _delete_rules(a: Machine, b: Machine) -> None:
    """Most of what A has vanishes at once; it is nothing that the sweep of old sessions takes."""
    for number in range(120):
        (a.tree / f"rules/rule-{number:03d}.md").write_text(f"# Rule {number}\n")
    sync_all([a, b])
    for path in (a.tree / "rules").iterdir():
        path.unlink()


@pytest.mark.parametrize("daemon", [True, False])
def test_mass_deletion_is_held(pair: tuple[Machine, Machine], daemon: bool) -> None:
    a, b = pair
    _delete_rules(a, b)
    if not daemon:
        a.stop()
    for command in ("push", "sync"):
        done = a.ctl(command, check=False)
        assert done.returncode == HELD, done.stderr
        assert "error: " in done.stderr
        assert "hint: " in done.stderr
    assert a.json("status")["state"] == "held"
    b.sync()
    assert len(list((b.tree / "rules").iterdir())) == 121
    a.ctl("resume", "--accept")
    sync_all([a, b])
    assert differences([a, b]) == []
    assert not list((b.tree / "rules").glob("*.md"))
    assert a.json("status")["state"] == "idle"


def test_mass_deletion_is_held_by_a_daemon_alone(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    _delete_rules(a, b)
    a.stop()
    a.environment.update(QUICK)
    a.start()
    wait_until(lambda: a.json("status")["state"] == "held", 30, "A holds", [a])
    b.sync()
    assert len(list((b.tree / "rules").iterdir())) == 121
    a.ctl("resume", "--accept")
    wait_until(lambda: a.json("status")["state"] == "idle", 30, "A goes on", [a])
    wait_until(lambda: b.sync()["deleted"] or not list((b.tree / "rules").iterdir()), 30, "B deletes too", [a, b])
    assert not list((b.tree / "rules").glob("*.md"))


def test_a_pause_keeps_changes_back_until_resumed(pair: tuple[Machine, Machine]) -> None:
    a, b = pair
    a.environment.update(QUICK)
    a.stop()
    a.start()
    a.ctl("pause")
    (a.tree / "rules/new.md").write_text("# New\n")
    a.stop()
    a.start()
    assert a.json("status")["state"] == "paused"
    b.sync()
    assert not (b.tree / "rules/new.md").exists()
    a.ctl("resume")
    wait_until(lambda: a.json("status")["state"] == "idle" and b.sync()["downloaded"], 30, "B got it", [a, b])
    assert (b.tree / "rules/new.md").read_text() == "# New\n"
