"""What is going on when the power goes or the process dies: two machines on a vault in a folder, and a command.

A scene is prepared, then its command runs and is cut off; `aftermath` runs everything again, to the end, and says
what is not as it would be if nothing had happened. The commands are those of `claude-syncctl` without a daemon, in
this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from claude_syncd.app.one_shot import OneShotService
from claude_syncd.control.messages import RunRequest
from claude_syncd.core import compaction
from claude_syncd.core.portable import encode_key
from claude_syncd.core.status import RunResult
from claude_syncd.crypto.keys import EpochKey, VaultKeys, save_keys
from claude_syncd.engine import compact
from claude_syncd.local import device as device_file
from claude_syncd.local.beneath import STAGED_PREFIX
from claude_syncd.local.home import Places
from claude_syncd.settings import Settings
from claude_syncd.store.folder import FolderStore
from claude_syncd.store.options import FolderOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = VaultKeys("ab" * 16, "cd" * 32, (EpochKey(1, b"k" * 32),))
SESSION = "11111111-2222-4333-8444-555555555555"
OTHER_SESSION = "11111111-2222-4333-8444-666666666666"
BEGIN = 1_767_225_600
"""The files' times begin here (2026-01-01), in seconds."""
TURNS = 8

_WORD = re.compile(rb"word-[a-z]+-[a-z]+")

Tree = dict[str, tuple[str, int, int]]


class Home:
    """One machine below `folder`: its tree, its state, and its commands."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        home = folder / name
        self.places = Places(tree=home / ".claude", state=home / ".claude-sync", user_home=home)
        self._settings = Settings(store=FolderOptions(path=folder / "store"))

    def set_up(self) -> None:
        """As `init` does it."""
        self.places.tree.mkdir(parents=True, mode=0o700)
        self.places.state.mkdir(mode=0o700)
        save_keys(self.places.key, KEYS)
        ident = hashlib.sha256(self.name.encode()).hexdigest()[:32]
        device_file.save(self.places.device, device_file.Device(id=ident, name=self.name))

    def run(self, kind: Literal["push", "pull", "sync"]) -> RunResult:
        """The command of this name. Raises SyncError."""
        result = OneShotService(self.places, self._settings).run(kind, RunRequest(), lambda _: None)
        assert isinstance(result, RunResult)
        return result

    def path(self, rel: str) -> Path:
        """The place of a file of the tree; `~dev/` is the folder of a project's sessions."""
        return self.places.tree / rel.replace("~dev", f"projects/{encode_key(str(self.places.user_home / 'dev'))}")

    def write(self, rel: str, data: str | bytes, minute: int, *, mode: int = 0o600) -> None:
        """A whole file, as an editor or Claude Code leaves it."""
        path = self.path(rel)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(mode)
        os.utime(path, (BEGIN + 60 * minute,) * 2)

    def append(self, rel: str, data: str, minute: int) -> None:
        """Lines more."""
        self.write(rel, self.path(rel).read_bytes() + data.encode(), minute)

    def let_time_pass(self) -> None:
        """Ten seconds: so long others respect Claude Code's lock of the history when its holder has died."""
        lock = self.places.tree / "history.jsonl.lock"
        if lock.exists():
            os.utime(lock, (BEGIN, BEGIN))

    def tree(self) -> Tree:
        """Each file of the tree: hash, mode and time; projects under the name that they have in the vault."""
        key = encode_key(str(self.places.user_home / "dev"))
        return {
            str(path.relative_to(self.places.tree)).replace(key, "~dev"): (
                hashlib.sha256(path.read_bytes()).hexdigest(),
                path.stat().st_mode & 0o777,
                int(path.stat().st_mtime),
            )
            for path in sorted(self.places.tree.rglob("*"))
            if path.is_file()
        }

    def words(self) -> set[bytes]:
        """Every word of the scene that is in the tree, the trash or a kept conflict."""
        found: set[bytes] = set()
        for folder in (self.places.tree, self.places.trash, self.places.conflicts):
            for path in folder.rglob("*"):
                if path.is_file():
                    found.update(_WORD.findall(path.read_bytes()))
        return found


def row(word: str, parent: str | None, minute: int) -> str:
    """A message of a session."""
    fields = {
        "parentUuid": parent,
        "sessionId": SESSION,
        "type": "user",
        "message": {"role": "user", "content": f"says word-{word}-row"},
        "uuid": word,
        "timestamp": f"2026-01-01T00:{minute:02d}:00.000Z",
    }
    return json.dumps(fields) + "\n"


def prompt(word: str, minute: int) -> str:
    """A line of the prompt history."""
    fields = {"display": f"word-{word}-prompt", "pastedContents": {}, "timestamp": (BEGIN + 60 * minute) * 1000}
    return json.dumps({**fields, "project": "/p", "sessionId": SESSION}) + "\n"


def lines(*words: str) -> str:
    """A text of ten lines, with these words in the first ones."""
    return "".join(f"word-{word}-line\n" for word in words) + "".join(
        f"plain line {n}\n" for n in range(len(words), 10)
    )


def _begun(folder: Path) -> tuple[Home, Home]:
    """Two machines that have synced a small tree."""
    asyncio.run(FolderStore(folder / "store").create())
    a, b = Home(folder, "a"), Home(folder, "b")
    a.set_up()
    b.set_up()
    _first_files(a)
    a.run("sync")
    b.run("sync")
    a.run("sync")
    return a, b


def _first_files(a: Home) -> None:
    a.write("CLAUDE.md", lines("first", "second"), 1)
    a.write("agents/kept.md", lines("agent"), 2)
    a.write("agents/gone.md", "word-gone-agent\n", 3)
    a.write("skills/s/run", "#!/bin/sh\n# word-skill-run\n", 4, mode=0o755)
    a.write("skills/s/old.txt", "word-renamed-skill\n" * 50, 4)
    a.write("rules/merged.md", lines("rule"), 5)
    a.write("settings.json", '{\n  "model": "one",\n  "theme": "dark"\n}\n', 6)
    a.write("history.jsonl", prompt("begin", 1) + prompt("next", 2), 7)
    a.write(f"~dev/{SESSION}.jsonl", row("one", None, 1) + row("two", "one", 2), 8)
    a.write(f"~dev/{OTHER_SESSION}.jsonl", row("other", None, 1).replace(SESSION, OTHER_SESSION), 9)


def _changed_at_a(a: Home) -> None:
    a.write("CLAUDE.md", lines("first", "edited"), 20)
    a.write("rules/new.md", "word-new-rule\n", 21)
    a.path("agents/gone.md").unlink()
    a.path("skills/s/old.txt").rename(a.path("skills/s/new.txt"))
    a.write("skills/s/run", "#!/bin/sh\n# word-skill-run\n", 22, mode=0o700)
    a.append("history.jsonl", prompt("ata", 23), 23)
    a.append(f"~dev/{SESSION}.jsonl", row("three", "two", 24), 24)
    a.write(f"~dev/{SESSION}/subagents/agent-1.jsonl", row("sub", None, 25), 25)


def _changed_at_both(a: Home, b: Home) -> None:
    for home, minute in ((a, 30), (b, 31)):
        name = home.name
        home.write("CLAUDE.md", lines("first", f"clash{name}"), minute)
        home.append("rules/merged.md", f"word-end{name}-line\n" if home is a else "", minute)
        home.append("history.jsonl", prompt(f"at{name}", minute), minute)
        home.append(f"~dev/{SESSION}.jsonl", row(f"branch{name}", "two", minute), minute)
        home.write("agents/both.md", f"word-both{name}-new\n", minute)
    b.write("rules/merged.md", lines("top", "rule"), 31)
    a.path("agents/gone.md").unlink()
    b.write("agents/gone.md", "word-edited-agent\n", 32)
    b.write("settings.json", '{\n  "model": "two",\n  "theme": "dark"\n}\n', 33)
    a.write("settings.json", '{\n  "model": "one",\n  "theme": "light"\n}\n', 34)


def _push(folder: Path) -> None:
    _changed_at_a(_begun(folder)[0])


def _push_of_packs(folder: Path) -> None:
    a, _ = _begun(folder)
    noise = random.Random(1)
    for number in range(2):
        a.write(f"skills/s/{number}.bin", b"word-large-pack\n" + noise.randbytes(5_000_000), 40)


def _pull(folder: Path) -> None:
    a, _ = _begun(folder)
    _changed_at_a(a)
    a.run("push")


def _conflicts(folder: Path) -> None:
    a, b = _begun(folder)
    _changed_at_both(a, b)
    a.run("push")


def _published_conflicts(folder: Path) -> None:
    a, b = _begun(folder)
    _changed_at_both(a, b)
    b.run("push")
    a.run("push")


def _first(folder: Path) -> None:
    asyncio.run(FolderStore(folder / "store").create())
    for name in ("a", "b"):
        Home(folder, name).set_up()
    _first_files(Home(folder, "a"))


def _lost_state(folder: Path) -> None:
    a, b = _begun(folder)
    _changed_at_a(a)
    b.append("history.jsonl", prompt("atb", 26), 26)
    b.run("push")
    for path in a.places.state.glob("state.db*"):
        path.unlink()


def _long_log(folder: Path) -> tuple[Home, Home]:
    """A machine that has written one entry after another; the other one has read some of them."""
    a, b = _begun(folder)
    noise = random.Random(2)
    for number in range(4):
        a.append(f"~dev/{SESSION}.jsonl", row(f"more-{'abcd'[number]}", "two", 11 + number), 11 + number)
        a.write("skills/s/data", b"word-data-blob\n" + noise.randbytes(20_000), 11 + number)
        a.run("push")
        if number == 1:
            b.run("sync")
    return a, b


def _compaction(folder: Path) -> None:
    _changed_at_a(_long_log(folder)[0])


def _sweep(folder: Path) -> None:
    a, b = _long_log(folder)
    b.append("history.jsonl", prompt("atb", 26), 26)
    b.run("push")
    _compact_early()
    _changed_at_a(a)
    a.run("push")


def _compact_early() -> None:
    """In this process, compact after three entries."""
    compaction.ENTRIES = 3


def _compact_and_sweep() -> None:
    """In this process, compact after three entries, and delete at once what that replaced."""
    _compact_early()
    vars(compact)["GRACE"] = 0  # it is of another module, and used under its name there


@dataclass(frozen=True, slots=True)
class Scene:
    """`prepare` makes what is there before; then `machine` runs `command`. `early`: it compacts, and deletes what that
    replaced, as if entries and days had gone by.
    """

    prepare: Callable[[Path], None]
    machine: str
    command: Literal["push", "pull", "sync"]
    early: bool = False

    def act(self, folder: Path) -> None:
        """The command that is cut off."""
        if self.early:
            _compact_and_sweep()
        Home(folder, self.machine).run(self.command)

    def end(self, folder: Path, written: set[bytes]) -> tuple[Tree, list[str]]:
        """The `aftermath`."""
        if self.early:
            _compact_and_sweep()
        return aftermath(folder, written)


SCENES = {
    "first": Scene(_first, "a", "sync"),
    "push": Scene(_push, "a", "push"),
    "push-of-packs": Scene(_push_of_packs, "a", "push"),
    "pull": Scene(_pull, "b", "pull"),
    "conflicts": Scene(_conflicts, "b", "sync"),
    "published-conflicts": Scene(_published_conflicts, "a", "sync"),
    "lost-state": Scene(_lost_state, "a", "sync"),
    "compaction": Scene(_compaction, "a", "push", early=True),
    "sweep": Scene(_sweep, "a", "sync", early=True),
}


def words_of(folder: Path) -> set[bytes]:
    """All that was ever written, before the command runs."""
    return Home(folder, "a").words() | Home(folder, "b").words()


def aftermath(folder: Path, written: set[bytes]) -> tuple[Tree, list[str]]:
    """Run both machines until nothing moves, then a third one that knows nothing. The tree that all have in the
    end, and what is wrong.
    """
    a, b, c = Home(folder, "a"), Home(folder, "b"), Home(folder, "c")
    wrong = []
    for home in (a, b):
        home.let_time_pass()
    for _ in range(TURNS):
        done = [home.run("sync") for home in (a, b)]
        if not any(d.uploaded + d.downloaded + d.deleted + d.conflicts for d in done):
            break
    else:
        wrong.append(f"not at rest after {TURNS} turns")
    c.set_up()
    c.run("sync")  # who has nothing gets all of it: nothing that is referred to is missing
    trees = [home.tree() for home in (a, b, c)]
    wrong += [
        f"{path}: {[tree.get(path) for tree in trees]}"
        for path in sorted(set().union(*trees))
        if len({tree.get(path) for tree in trees}) > 1
    ]
    missing = written - a.words() - b.words()
    wrong += [f"lost: {word.decode()}" for word in sorted(missing)]
    for home in (a, b):
        for folder_of_writes in (home.places.tree, home.places.conflicts):
            wrong += [f"left behind: {path}" for path in folder_of_writes.rglob(f"{STAGED_PREFIX}*")]
        wrong += [f"left behind: {path}" for path in home.places.outbox.glob("*")]
    return trees[0], wrong
