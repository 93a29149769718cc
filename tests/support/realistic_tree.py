"""Makes realistic `~/.claude` trees: the same seed and the same Python give the same bytes, names, modes and times.

`quick_tree` for tests that only need some of everything, `small_tree` for end-to-end tests, `bench_tree` for
measurements, `many_files` for a great number of tiny ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from claude_paths import encode, travels
from realistic_text import VERSION, Conversation, plain, uuid4

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KB, MB = 1000, 1000 * 1000
EPOCH = 1_790_000_000
"""No file of a generated tree is newer: 2026-09-21. They spread over SPREAD seconds before it."""
SPREAD = 100 * 86400
PROJECTS = ("dev/app", "dev/my_proj.v2", "dev/notes", "dev/api-server", "dev/über", "dev/dotfiles")
OUTSIDE_HOME = "/srv/shared-app"
SECRET = "sk-ant-oat01-never-leave-this-machine"


@dataclass(frozen=True, slots=True)
class Sessions:
    """`count` transcripts, each of a size between `low` and `high` bytes; `nested`: some are of subagents."""

    count: int
    low: int
    high: int
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """What was made. `files`, `bytes`: of what travels. `sessions`: the main transcripts, the largest first."""

    root: Path
    home: Path
    files: int
    bytes: int
    sessions: tuple[Path, ...]


class _Maker:
    """Writes files below `root` and counts those that travel."""

    def __init__(self, root: Path, home: Path, seed: int) -> None:
        self.root, self.home = root, home
        self.random = Random(seed)
        self.files = self.bytes = 0
        self.sessions: list[tuple[int, Path]] = []
        self.cwds = [str(home / name) for name in PROJECTS] + [OUTSIDE_HOME]
        self._folders = {str(root)}
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, relative: str, content: str | Iterable[bytes], mode: int = 0o644) -> tuple[Path, int]:
        """One file with its folders, mode and time; the size that it has."""
        path = self.root / relative
        folder = os.path.dirname(path)
        if folder not in self._folders:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._folders.add(folder)
        with open(path, "wb") as file:
            file.writelines((content.encode(),) if isinstance(content, str) else content)
            size = file.tell()
        when = EPOCH - self.random.randrange(SPREAD)
        os.chmod(path, mode)
        os.utime(path, (when, when))
        if travels(relative):
            self.files += 1
            self.bytes += size
        return path, size

    def text(self, relative: str, length: int, title: str, mode: int = 0o644) -> None:
        self.write(relative, f"# {title}\n\n{plain(self.random, length)}", mode)

    def json(self, relative: str, value: object, mode: int = 0o644) -> None:
        self.write(relative, json.dumps(value, indent=2) + "\n", mode)

    def settings(self, history: int) -> None:
        """What the user wrote: instructions, agents, commands, skills, rules, memory, settings; about 30 files."""
        self.text("CLAUDE.md", 3000, "How we work")
        self.json("settings.json", {"model": "opus", "language": "english", "permissions": {"allow": ["Bash(ls:*)"]}})
        self.json(
            "keybindings.json", {"bindings": [{"context": "Chat", "bindings": {"ctrl+e": "chat:externalEditor"}}]}
        )
        for name in ("reviewer", "tester", "writer"):
            self.text(f"agents/{name}.md", 1500, name)
            self.text(f"commands/{name}.md", 600, name)
        self.text("commands/git/tidy.md", 500, "tidy")
        for name in ("release", "chart-maker"):
            self.text(f"skills/{name}/SKILL.md", 2500, name)
            self.text(f"skills/{name}/reference/details.md", 5000, "Details")
            self.write(f"skills/{name}/scripts/run.sh", "#!/bin/sh\nexec python3 main.py\n", 0o755)
        self.text("rules/style.md", 900, "Style")
        self.text("output-styles/terse.md", 300, "Terse")
        self.text("agent-memory/reviewer/MEMORY.md", 800, "What I learned")
        for cwd in self.cwds[:3]:
            for name in ("MEMORY", "testing"):
                self.text(f"projects/{encode(cwd)}/memory/{name}.md", 1200, name)
        self.write("history.jsonl", self._history(history), 0o600)

    def _history(self, count: int) -> Iterable[bytes]:
        random = self.random
        for number in range(count):
            row = {
                "display": plain(random, 60).strip(),
                "pastedContents": {},
                "timestamp": (EPOCH - SPREAD + number * (SPREAD // count)) * 1000,
                "project": random.choice(self.cwds),
                "sessionId": uuid4(random),
            }
            yield json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

    def transcripts(self, wanted: Sessions) -> None:
        """The transcripts of one class, over all projects; every fourth of a `nested` class is a subagent's."""
        random = self.random
        for number in range(wanted.count):
            size = wanted.low + (wanted.high - wanted.low) * number // max(1, wanted.count - 1)
            if wanted.nested and number % 4 == 3 and self.sessions:
                self._subagent(size)
                continue
            cwd, session = random.choice(self.cwds), uuid4(random)
            talk = Conversation(random, cwd, session, EPOCH - random.randrange(SPREAD))
            path, written = self.write(f"projects/{encode(cwd)}/{session}.jsonl", talk.rows(size), 0o600)
            self.sessions.append((written, path))

    def _subagent(self, size: int) -> None:
        random = self.random
        parent = random.choice(self.sessions)[1]
        agent = f"{random.getrandbits(68):017x}"
        folder = f"{parent.relative_to(self.root).with_suffix('')}/subagents"
        talk = Conversation(random, self.cwds[0], parent.stem, EPOCH - SPREAD, agent)
        self.write(f"{folder}/agent-{agent}.jsonl", talk.rows(size), 0o600)
        self.json(f"{folder}/agent-{agent}.meta.json", {"agentType": "Explore", "description": "look around"})

    def tool_results(self, files: int, low: int, high: int) -> None:
        """Fills up with tool results until `files` files travel."""
        random = self.random
        while self.files < files:
            folder = random.choice(self.sessions)[1].relative_to(self.root).with_suffix("")
            name = f"{folder}/tool-results/toolu_{random.getrandbits(96):024x}.txt"
            self.write(name, plain(random, random.randrange(low, high))[:high], 0o600)

    def machine_local(self) -> None:
        """What must never travel: secrets, caches, locks, state of processes."""
        session = self.sessions[0][1]
        key = session.relative_to(self.root).parent
        self.json(".credentials.json", {"claudeAiOauth": {"accessToken": SECRET}}, 0o600)
        # Above the highest pid that Linux and macOS hand out, so certainly of a dead process.
        self.json("sessions/4194999.json", {"pid": 4194999, "sessionId": session.stem, "cwd": self.cwds[0]}, 0o600)
        self.write("shell-snapshots/snapshot-bash-1790000000000-abc123.sh", f"export TOKEN={SECRET}\n")
        self.json("plugins/cache/market/tool/1.0/plugin.json", {"name": "tool", "path": str(self.root)})
        self.json("plugins/installed_plugins.json", {"version": 2, "plugins": {}})
        self.text(f"debug/{session.stem}.txt", 2000, "debug")
        self.json("ide/40123.lock", {"authToken": SECRET}, 0o600)
        self.write(f"tasks/{session.stem}/.lock", "")
        self.write("history.jsonl.lock/held", "")
        self.write(f"{key}/{session.stem}.jsonl.compact.tmp.0a1b2c", "unfinished\n", 0o600)
        self.write(f"{key}/{session.stem}/resume-head.jsonl", '{"offset":1}\n', 0o600)
        self.write(".last-cleanup", "")
        self.json("stats-cache.json", {"version": VERSION})

    def done(self) -> Tree:
        ordered = sorted(self.sessions, key=lambda s: (-s[0], s[1]))
        return Tree(self.root, self.home, self.files, self.bytes, tuple(path for _, path in ordered))


def _make(root: Path, home: Path, files: int, classes: list[Sessions], tool: tuple[int, int], seed: int) -> _Maker:
    maker = _Maker(root, home, seed)
    maker.settings(history=max(20, files // 10))
    for wanted in classes:
        maker.transcripts(wanted)
    maker.tool_results(files, *tool)
    return maker


def quick_tree(root: Path, home: Path, *, seed: int = 1) -> Tree:
    """60 files, about 2 MB, some of everything, machine-local files as well (not counted)."""
    classes = [Sessions(1, MB, MB), Sessions(2, 300 * KB, 300 * KB), Sessions(12, KB, 30 * KB, nested=True)]
    maker = _make(root, home, 60, classes, (100, 3000), seed)
    maker.machine_local()
    return maker.done()


def small_tree(root: Path, home: Path, files: int = 2000, *, seed: int = 1) -> Tree:
    """`files` files (at least 100), 2,000 of them about 170 MB: sessions of 1 KB to 50 MB, and machine-local files."""
    share = files / 2000
    scaled = partial(_scaled, share)
    classes = [
        Sessions(1, int(50 * MB * share), int(50 * MB * share)),
        Sessions(scaled(3), int(20 * MB * share), int(20 * MB * share)),
        Sessions(scaled(20), 1500 * KB, 1500 * KB),
        Sessions(scaled(70), 300 * KB, 300 * KB),
        Sessions(scaled(250), KB, 60 * KB, nested=True),
    ]
    maker = _make(root, home, files, classes, (100, 5000), seed)
    maker.machine_local()
    return maker.done()


def _scaled(share: float, count: int) -> int:
    return max(1, round(count * share))


def bench_tree(root: Path, home: Path, *, seed: int = 1) -> Tree:
    """5,000 files, about 540 MB, all of which travel: the tree that measurements are made with."""
    classes = [
        Sessions(3, 40 * MB, 60 * MB),
        Sessions(15, 8 * MB, 8 * MB),
        Sessions(80, 1500 * KB, 1500 * KB),
        Sessions(300, 300 * KB, 300 * KB),
        Sessions(900, 30 * KB, 30 * KB, nested=True),
    ]
    return _make(root, home, 5000, classes, (6500, 7900), seed).done()


def many_files(root: Path, home: Path, files: int = 100_000, *, seed: int = 1) -> Tree:
    """`files` files of about 200 bytes."""
    classes = [Sessions(max(1, files // 200), KB, KB)]
    return _make(root, home, files, classes, (50, 250), seed).done()
