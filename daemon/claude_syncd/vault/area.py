"""What a listing shows of the devices' areas: which objects are there, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claude_syncd.vault import layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.store.base import ObjectInfo


@dataclass(frozen=True, slots=True)
class Area:
    """The objects of one device's area, with their sizes in bytes: `log` and `checkpoints` by seq, `packs` by name."""

    log: dict[int, int] = field(default_factory=dict)
    checkpoints: dict[int, int] = field(default_factory=dict)
    packs: dict[str, int] = field(default_factory=dict)

    @property
    def newest_entry(self) -> int:
        """The newest seq of the log, 0 without a log."""
        return max(self.log, default=0)

    @property
    def newest_checkpoint(self) -> int:
        """The seq of the newest checkpoint, 0 without one."""
        return max(self.checkpoints, default=0)

    @property
    def reaches(self) -> int:
        """How far the device's log reaches, whether its entries are still there or a checkpoint stands for them."""
        return max(self.newest_entry, self.newest_checkpoint)

    def objects(self, device: str) -> dict[str, int]:
        """Every object by its name."""
        return {
            **{layout.log_name(device, seq): size for seq, size in self.log.items()},
            **{layout.checkpoint_name(device, seq): size for seq, size in self.checkpoints.items()},
            **self.packs,
        }


def areas(listing: Iterable[ObjectInfo]) -> dict[str, Area]:
    """Every area in a listing, by device; names that are not ours are passed over."""
    found: dict[str, Area] = {}
    for info in listing:
        name = layout.try_parse(info.name)
        if name is None or not name.device:
            continue
        area = found.setdefault(name.device, Area())
        if name.type is layout.Type.LOG:
            area.log[name.number] = info.size
        elif name.type is layout.Type.CHECKPOINT:
            area.checkpoints[name.number] = info.size
        else:
            area.packs[info.name] = info.size
    return found
