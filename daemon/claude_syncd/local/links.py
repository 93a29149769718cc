"""Which symbolic links are read through: those that lead into the tree or into a folder that the user allows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_MAX_JUMPS = 4
"""Links within linked folders beyond this are not followed: a maze of them has exponentially many paths."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a walk stands: the real path of the folder, and the real folders that it left by a link to get there."""

    real: str
    jumps: tuple[str, ...] = ()

    def into(self, name: str) -> Where:
        """The plain folder `name` in it."""
        return Where(f"{self.real.rstrip('/')}/{name}", self.jumps)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The real paths beneath which a link's target may lie."""

    roots: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, follow: tuple[Path, ...] = ()) -> Self:
        """The tree itself and every folder in `follow`."""
        return cls(tuple(os.path.realpath(folder) for folder in (root, *follow)))

    def base_of(self, real: str) -> str | None:
        """The allowed folder that the real path lies in or is, or None."""
        return next((root for root in self.roots if within(real, root)), None)

    def jump(self, where: Where, name: str) -> Where | None:
        """Where the link `name` leads, or None when it leads out, nowhere, or round in a circle."""
        try:
            real = os.path.realpath(f"{where.real}/{name}", strict=True)
        except OSError:
            return None
        if self.base_of(real) is None or len(where.jumps) >= _MAX_JUMPS:
            return None
        jumps = (*where.jumps, where.real)
        if any(within(jump, real) for jump in jumps):
            return None
        return Where(real, jumps)


def within(path: str, folder: str) -> bool:
    """Whether the real path `path` is `folder` or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
