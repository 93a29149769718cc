"""Merged transcripts as the Agent SDK's reader of sessions sees them: the only open reader of these files there is."""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest
from claude_paths import encode
from realistic_text import Conversation, uuid4

from claude_syncd.core.merge.fork import fork_lines
from claude_syncd.core.merge.rows import lines_of
from claude_syncd.core.merge.transcript import Branch, merge_heads

if TYPE_CHECKING:
    from pathlib import Path

    from claude_agent_sdk import SDKSessionInfo, SessionMessage

BEGUN = 1_790_000_000.0


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / ".claude"))
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


def branch(content: bytes, device: str, mtime: float) -> Branch:
    return Branch(lines=partial(lines_of, content), mtime_ns=int(mtime * 1e9), device_name=device)


def put(sessions: Path, sid: str, content: bytes, mtime_ns: int) -> None:
    path = sessions / f"{sid}.jsonl"
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def merged_into(sessions: Path, sid: str, *branches: Branch) -> list[str]:
    """Writes what all of `branches` become; the ids of the forks."""
    sessions.mkdir(parents=True, exist_ok=True)
    heads = merge_heads(sid, branches)
    put(sessions, sid, b"".join(heads.winner.lines()), heads.mtime_ns)
    for fork in heads.forks:
        lines = fork_lines(fork.branch.lines(), sid, fork.session_id, fork.line, fork.branch.device_name)
        put(sessions, fork.session_id, b"".join(lines), fork.mtime_ns)
    return [fork.session_id for fork in heads.forks]


def listed(cwd: Path) -> list[SDKSessionInfo]:
    from claude_agent_sdk import list_sessions  # a second of processor time: not for who only looks for tests

    return list_sessions(str(cwd), include_worktrees=False)


def messages(sid: str, cwd: Path) -> list[SessionMessage]:
    from claude_agent_sdk import get_session_messages

    return get_session_messages(sid, str(cwd))


def said(sid: str, cwd: Path) -> list[str]:
    return [m.uuid for m in messages(sid, cwd)]


def test_both_branches_are_listed_and_whole_on_both_machines(cwd: Path) -> None:
    """One went on with a session on a train, and with the same one at home."""
    random = Random(1)
    sid = uuid4(random)
    sessions = cwd.parent / ".claude" / "projects" / encode(str(cwd))
    talk = Conversation(random, str(cwd), sid, BEGUN)
    head = b"".join(talk.rows(20_000))
    parent = talk.parent
    train = head + b"".join(talk.rows(9_000))
    talk.parent, talk.clock = parent, BEGUN + 7200
    home = head + b"".join(talk.rows(7_000))

    alone: dict[str, list[str]] = {}
    for name, content in (("train", train), ("home", home)):
        sessions.mkdir(parents=True, exist_ok=True)
        put(sessions, sid, content, 1)
        alone[name] = said(sid, cwd)
    assert min(map(len, alone.values())) > 5
    assert alone["train"] != alone["home"]

    at_train, at_home = branch(train, "laptop", BEGUN + 3600), branch(home, "tower", BEGUN + 7300)
    results = []
    for sides in ((at_train, at_home), (at_home, at_train)):
        (fork,) = merged_into(sessions, sid, *sides)
        results.append((fork, {p.name: p.read_bytes() for p in sessions.iterdir()}))
        newest_first = listed(cwd)
        assert [s.session_id for s in newest_first] == [sid, fork]
        assert newest_first[1].custom_title is not None
        assert newest_first[1].custom_title.endswith(" (from laptop)")
        assert newest_first[0].custom_title is None
        assert said(sid, cwd) == alone["home"]
        assert said(fork, cwd) == alone["train"]
        assert {m.session_id for m in messages(fork, cwd)} == {fork}
    assert results[0] == results[1]


def test_a_fork_of_a_fork_is_listed_too(cwd: Path) -> None:
    random = Random(2)
    sid = uuid4(random)
    sessions = cwd.parent / ".claude" / "projects" / encode(str(cwd))
    talk = Conversation(random, str(cwd), sid, BEGUN)
    head = b"".join(talk.rows(5_000))
    parent, contents = talk.parent, []
    for device in ("laptop", "tower", "server"):
        talk.parent, talk.clock = parent, talk.clock + 60
        contents.append(branch(head + b"".join(talk.rows(5_000)), device, talk.clock))
    forks = merged_into(sessions, sid, *contents)
    assert len(forks) == 2
    shown = {s.session_id: s.summary for s in listed(cwd)}
    assert shown.keys() == {sid, *forks}
    assert sorted(shown[f].rpartition("(")[2] for f in forks) == ["from laptop)", "from tower)"]
    everything = {uuid for s in shown for uuid in said(s, cwd)}
    assert everything == {uuid for b in contents for uuid in _messages(b, sessions, cwd)}


def _messages(side: Branch, sessions: Path, cwd: Path) -> list[str]:
    """What the reader sees of a side alone, under another id."""
    other = "00000000-0000-4000-8000-000000000000"
    put(sessions, other, b"".join(side.lines()), 1)
    return said(other, cwd)
