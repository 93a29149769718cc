"""A world of a few machines, one vault, and the people who use them.

Every word that a person writes is unique, so that it can be looked for afterwards. `removed` are those that a person
took out again, or that went with a disk before anybody else had them.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from typing import TYPE_CHECKING

from sim_device import Machine
from sim_store import Cloud

from claude_syncd.crypto.keys import EpochKey, VaultKeys
from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sim_clock import SimLoop
    from sim_store import Weather

KEYS = VaultKeys("ab" * 16, "cd" * 32, (EpochKey(1, b"k" * 32),))
WORD = re.compile(rb"w\d+x")
USERS = ("ann", "bob", "cleo", "dan", "eve")


class World:
    """`chance` is for the world; what a step does is drawn from numbers of its own."""

    def __init__(self, loop: SimLoop, folder: Path, seed: int, weather: Weather, devices: int) -> None:
        self.loop, self.folder = loop, folder
        self.keys = KEYS
        self.chance = random.Random(seed)
        self.cloud = Cloud(random.Random(seed + 1), weather)
        self.counts: Counter[str] = Counter()
        self.written: dict[bytes, str] = {}  # word -> where it was written
        self.removed: set[bytes] = set()
        self.violations: list[str] = []
        self.backups: dict[int, Path] = {}  # by the number of the machine
        self.machines: list[Machine] = []
        self._in_vault: set[bytes] = set()
        for number in range(devices):
            machine = Machine(self, number, USERS[number])
            machine.set_up()
            self.machines.append(machine)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def randbytes(self, count: int) -> bytes:
        return self.chance.randbytes(count)

    def word(self, where: str) -> str:
        """A word that nobody has written yet."""
        made = f"w{len(self.written)}x"
        self.written[made.encode()] = where
        return made

    def took_out(self, before: bytes, after: bytes = b"") -> None:
        """A person replaced a content by another one."""
        self.removed |= set(WORD.findall(before)) - set(WORD.findall(after))

    def goes_with(self, contents: Iterable[bytes]) -> None:
        """A disk, or files that nobody removed on purpose, are gone: what only they had can't be expected back."""
        words = {word for content in contents for word in WORD.findall(content)}
        self.removed |= words - self.in_vault()

    def in_vault(self) -> set[bytes]:
        """Every word that is in an object of the vault, or was."""
        for name, data in self.cloud.unread:
            if layout.parse(name).type is layout.Type.ROSTER:
                continue
            for number, info in enumerate(codec.open_blobs(KEYS, name, data)):
                sealed = data[info.offset : info.offset + info.length]
                self._in_vault.update(WORD.findall(codec.open_blob(KEYS, name, number, info, sealed)))
        self.cloud.unread.clear()
        return self._in_vault

    def violation(self, what: str) -> None:
        self.violations.append(what)


def row(**fields: object) -> bytes:
    """A line of JSON as Claude Code writes it."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
