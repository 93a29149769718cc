"""Devices whose vault is in two places, in one process; see `devices`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from devices import Device
from shaky_store import ShakyStore

from claude_syncd.core.status import Pending
from claude_syncd.engine import report
from claude_syncd.engine.keep_mirrored import keep_mirrored_once
from claude_syncd.store.count import Counting, Total
from claude_syncd.store.mirror import Mirrored
from claude_syncd.store.open import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devices import Vault

    from claude_syncd.core.status import Status


class Places:
    """Two places where the vault is to be; each device reaches them by stores of its own."""

    def __init__(self) -> None:
        self.objects: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})

    def views(self) -> list[ShakyStore]:
        made = []
        for number, objects in enumerate(self.objects):
            store = ShakyStore(f"memory://{number}")
            store.objects = objects
            made.append(store)
        return made

    @property
    def alike(self) -> bool:
        return self.objects[0] == self.objects[1]


class Mirroring(Device):
    """A device with both places as its stores; `one` and `two` are its own views of them."""

    def __init__(self, places: Places, vault: Vault, folder: Path, name: str, *, noting: bool = True) -> None:
        super().__init__(vault, folder, name)
        self.noting = noting
        self.views = self.one, self.two = places.views()
        self.notes: bytes | None = None

    def _save(self, notes: bytes) -> None:
        self.notes = notes

    @contextmanager
    def running(self) -> Iterator[Mirroring]:
        counters = [Counting(view) for view in self.views]
        mirror = Mirrored(
            counters, notes=self.notes, save=self._save if self.noting else None, patience=3600.0, farewell=0.0
        )
        opened = Opened(mirror, Total(counters), mirror)
        with self.site_of(opened):
            yield self

    def status(self) -> Status:
        return report.status(self.site, pending=Pending())

    async def catch_up(self) -> None:
        await keep_mirrored_once(self.site)
