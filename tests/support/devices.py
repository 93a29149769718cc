"""Devices of one vault in one process: real folders, real state, real format; the store is in memory."""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from claude_syncd.app.compose import opened_site
from claude_syncd.core.model import DEVICE_ID_LENGTH
from claude_syncd.crypto.keys import EpochKey, VaultKeys, save_keys
from claude_syncd.engine import conflicts
from claude_syncd.engine.round import Direction, Limits, Round
from claude_syncd.local import device as device_file
from claude_syncd.local.home import Places
from claude_syncd.settings import Live, Settings
from claude_syncd.store.count import Counting
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.open import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claude_syncd.core.status import RunResult
    from claude_syncd.engine.site import Site
    from claude_syncd.store.report import ReportingStore

SESSION = "11111111-2222-4333-8444-555555555555"


class Vault:
    """The objects that devices share, and the keys that open them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.keys = VaultKeys("ab" * 16, "cd" * 32, (EpochKey(1, b"k" * 32),))

    def view(self) -> MemoryStore:
        """A store of its own on the same objects, so that each device counts its own requests."""
        store = MemoryStore()
        store.objects = self.objects
        return store


class Device:
    """One device: its folders, and, inside `running()`, its engine."""

    def __init__(self, vault: Vault, folder: Path, name: str, **settings: object) -> None:
        self.vault = vault
        self.home = folder / name
        self.places = Places(tree=self.home / ".claude", state=self.home / ".claude-sync", user_home=self.home)
        self.places.tree.mkdir(parents=True)
        self.places.state.mkdir(mode=0o700)
        save_keys(self.places.key, vault.keys)
        chosen = random.Random(name)
        ident = chosen.randbytes(DEVICE_ID_LENGTH // 2).hex()
        device_file.save(self.places.device, device_file.Device(id=ident, name=name))
        # Tests write sessions now and want them synced now, unless they are about just that.
        given = {"live": Live(seconds=0), **settings}
        self.settings = Settings(**given)  # type: ignore[arg-type]
        self.store: ReportingStore = vault.view()
        self.round: Round
        self.site: Site

    @contextmanager
    def running(self) -> Iterator[Device]:
        """The engine of this device, from start to stop."""
        with self.site_of(Opened(counting := Counting(self.store), counting)):
            yield self

    @contextmanager
    def site_of(self, opened: Opened) -> Iterator[None]:
        """The engine over that store."""
        with opened_site(self.places, self.settings, opened) as site:
            self.site = site
            self.round = Round(site)
            yield

    async def start(self) -> None:
        await self.round.prepare()

    async def sync(self, direction: Direction = Direction.SYNC, limits: Limits | None = None) -> RunResult:
        """Scan and run one round."""
        await self.round.scan()
        await self.round.poller.roster()
        return await self.round.run(direction, limits)

    def write(self, rel: str, data: str | bytes, *, age: float = 10.0, mode: int = 0o600) -> Path:
        """Write a file of the tree, last touched `age` seconds ago."""
        path = self.places.tree / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(mode)
        self.touch(rel, age=age)
        return path

    def append(self, rel: str, data: str | bytes) -> None:
        with (self.places.tree / rel).open("ab") as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def touch(self, rel: str, *, age: float) -> None:
        path = self.places.tree / rel
        when = path.stat().st_ctime_ns - int(age * 1e9)
        os.utime(path, ns=(when, when))

    def read(self, rel: str) -> str:
        return (self.places.tree / rel).read_text()

    def has(self, rel: str) -> bool:
        return (self.places.tree / rel).exists()

    def tree(self) -> dict[str, tuple[str, int]]:
        """Every file of the tree: its hash and its mtime in seconds."""
        return {
            str(p.relative_to(self.places.tree)): (hashlib.sha256(p.read_bytes()).hexdigest(), int(p.stat().st_mtime))
            for p in sorted(self.places.tree.rglob("*"))
            if p.is_file()
        }

    def conflicts(self) -> dict[str, str]:
        """Conflict id -> the kept content."""
        return {
            f.path.partition("/")[0]: (self.places.conflicts / f.path).read_text() for f in conflicts.kept(self.site)
        }

    def transcript(self, folder: str = "dev") -> str:
        """The path of a session of the project ~/<folder> on this device."""
        from claude_syncd.core.portable import encode_key

        return f"projects/{encode_key(str(self.home.resolve() / folder))}/{SESSION}.jsonl"


async def settle(*devices: Device, rounds: int = 6) -> None:
    """Rounds of all devices in turn until a whole turn moves nothing."""
    for _ in range(rounds):
        results = [await device.sync() for device in devices]
        if all(r.uploaded + r.downloaded + r.deleted + r.conflicts == 0 for r in results):
            return
    raise AssertionError("the devices did not come to rest")
