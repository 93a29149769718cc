"""What every part of a round works with: this device, its disk, its state, and the vault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from claude_syncd.core.portable import Root
from claude_syncd.tasks import off_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from claude_syncd.core.rules import Rules
    from claude_syncd.core.status import Progress
    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.engine.pathmap import PathMap
    from claude_syncd.local.apply import Applier
    from claude_syncd.local.content import Contents
    from claude_syncd.local.device import Device
    from claude_syncd.local.home import Places
    from claude_syncd.local.state import State
    from claude_syncd.store.base import Store
    from claude_syncd.store.count import Counter
    from claude_syncd.store.mirror import Mirrored
    from claude_syncd.vault.reader import Reader

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(slots=True)
class Site:
    """One device at work on one vault. Made by the composition root; `me` changes only when the id lives twice.

    `former`: the ids that it had before, with the seq of the last log entry that it wrote as each. `retention_days`: so
    long superseded versions are remembered, and at the most `retention_bytes` of them. `mirror`: the store, where it
    is made of several. `looked`: when `passed` was called last, by the clock that never jumps.
    `rest_ns`: a session is live for so long after its last change, in nanoseconds.
    """

    me: str
    former: dict[str, int]
    name: str
    vault_id: str
    places: Places
    state: State
    store: Store
    counter: Counter
    keys: VaultKeys
    reader: Reader
    rules: Rules
    paths: PathMap
    appliers: dict[Root, Applier]
    contents: dict[Root, Contents]
    pool: ThreadPoolExecutor
    now_ns: Callable[[], int]
    monotonic: Callable[[], float]
    rest_ns: int
    new_id: Callable[[], Device]
    retention_days: int = 30
    retention_bytes: int | None = None
    follow: tuple[Path, ...] = ()
    mirror: Mirrored | None = None
    problems: dict[str, str] = field(default_factory=dict)
    progress: Callable[[Progress], None] = lambda _: None
    looked: float | None = None

    def folder(self, root: Root) -> Path:
        """The folder on this device that paths of `root` are relative to."""
        return self.places.tree if root is Root.TREE else self.places.conflicts

    def passed(self) -> int:
        """Note what time has passed; the seconds that this device has lived through (core/elapsed.py). Synchronous."""
        now = self.monotonic()
        running, self.looked = now - (self.looked if self.looked is not None else now), now
        return self.state.live(wall_ns=self.now_ns(), running=running)

    async def off_loop(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run blocking work in the pool; see `tasks.off_loop`."""
        return await off_loop(self.pool, function, *args, **kwargs)
