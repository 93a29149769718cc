"""The daemon dies at any moment, again and again, while both machines write: all is found again.

The promise is about lines that were complete (ended, fsynced) before the end: each is in the tree, in the trash, in
a kept conflict or in the history of its file.
"""

from __future__ import annotations

import os
import random
import re
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from claude_paths import encode
from machines import QUICK, settle, start_all
from realistic_text import Conversation
from realistic_tree import EPOCH, quick_tree
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab import Lab
    from machines import Machine

SHARED = "0aafeadc-3333-4000-8000-000000000000"
MOST_FORKS = 3
"""What one that both write may become: it is parted when it is at rest, which a busy machine may make it seem early."""
PACE = 0.02
"""Seconds between two lines of one writer, about what a busy conversation makes."""


class Writer(threading.Thread):
    """Writes lines on one machine, each with a word of its own, until told to end; a session opens its file anew
    for each line, as Claude Code does."""

    def __init__(self, machine: Machine, number: int, seed: int) -> None:
        super().__init__(name=f"writer at {machine.name}")
        self.machine = machine
        self.written: list[str] = []
        self.failure: BaseException | None = None
        self._random = random.Random(seed)
        self._end = threading.Event()
        cwd = str(machine.home / "dev/app")
        folder = machine.tree / "projects" / encode(cwd)
        own = f"0aafeadc-3333-4000-8000-00000000000{number}"
        self._talks = [
            (folder / f"{session}.jsonl", Conversation(self._random, cwd, session, EPOCH)) for session in (own, SHARED)
        ]

    def run(self) -> None:
        try:
            while not self._end.wait(PACE):
                self._write_one()
        except BaseException as failure:  # noqa: BLE001 - told to the test, which raises it
            self.failure = failure

    def _write_one(self) -> None:
        word = f"line-{self.machine.name}-{len(self.written):06d}-{self._random.getrandbits(40):010x}"
        kind = self._random.randrange(4)
        if kind < 2:
            path, talk = self._talks[kind]
            _append(path, talk.user(f"{word} {'text ' * self._random.randrange(40)}"))
        elif kind == 2:
            # A text that both sides write: the same name, other words.
            self._replace(self.machine.tree / f"agents/shared-{self._random.randrange(5)}.md", word)
        else:
            _append(self.machine.tree / f"rules/of-{self.machine.name}-{word[-3:]}.md", f"{word}\n".encode())
        self.written.append(word)

    def _replace(self, path: Path, word: str) -> None:
        """Add a line as an editor does: all that was there and the new line go to a new file, which is renamed."""
        before = path.read_text() if path.exists() else ""
        temporary = path.with_name(f".{path.name}.tmp.{self.machine.name}")
        _append(temporary, f"{before}{word}\n".encode())
        temporary.rename(path)

    def end(self) -> list[str]:
        self._end.set()
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.written


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)


def _crash_rounds(lab: Lab, rounds: int, report: Callable[[str], None]) -> None:
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(2**32))
    report(f"CRASH_SEED={seed}")
    chance = random.Random(seed)
    settings = {**QUICK, "CLAUDE_SYNC_DEBOUNCE__LIMIT": "0.5", "CLAUDE_SYNC_LIVE__SECONDS": "3"}
    machines = [lab.machine(name, settings=settings) for name in ("a", "b")]
    quick_tree(machines[0].tree, machines[0].home)
    before = _sessions(machines[0])
    lab.prepare()
    for machine in machines:
        machine.init()
    start_all(machines)
    writers = [Writer(machine, number, seed + number) for number, machine in enumerate(machines, 1)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(rounds):
            # Some lines further on, one or both daemons die, wherever they are.
            victims = chance.choice([machines[:1], machines[1:], machines])
            enough = len(writers[0].written) + chance.randrange(1, 40)
            wait_until(partial(_further, writers, enough), 30, "lines were written")
            for machine in victims:
                machine.kill()
            start_all(victims)
    finally:
        words = [word for writer in writers for word in writer.end()]
    settle(machines, timeout=120)
    missing = _missing(machines, words)
    assert not missing, f"CRASH_SEED={seed}: {len(missing)} of {len(words)} lines lost, such as {missing[:5]}"
    forks = _sessions(machines[0]) - before - len(machines) - 1
    assert 1 <= forks <= MOST_FORKS, f"CRASH_SEED={seed}: the session that both wrote became {forks + 1}"
    report(f"{len(words)} lines, {rounds} kills, {forks} forks")
    for machine in machines:
        machine.stop()


def _sessions(machine: Machine) -> int:
    return len(list(machine.tree.glob("projects/*/*.jsonl")))


def _further(writers: list[Writer], enough: int) -> bool:
    for writer in writers:
        if writer.failure is not None:
            raise writer.failure
    return len(writers[0].written) >= enough


_WORD = re.compile(rb"line-\w+-\d{6}-[0-9a-f]{10}")


def _missing(machines: list[Machine], words: list[str]) -> list[str]:
    """Which of `words` can't be found in any file of any machine."""
    found: set[bytes] = set()
    wanted = {word.encode() for word in words}
    for machine in machines:
        for path in machine.everything():
            if not path.name.startswith("state.db") and path.parent.name != "log":
                found.update(_WORD.findall(path.read_bytes()))
    return sorted(word.decode() for word in wanted - found)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Says something although the test passes."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return say


def test_killed_again_and_again(folder_lab: Lab, report: Callable[[str], None]) -> None:
    _crash_rounds(folder_lab, 20, report)


@pytest.mark.long
def test_killed_two_hundred_times(lab: Lab, report: Callable[[str], None]) -> None:
    _crash_rounds(lab, 200, report)
