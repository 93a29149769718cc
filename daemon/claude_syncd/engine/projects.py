"""How the projects of all devices are matched on this one."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.core.model import FileClass, Kind, heads
from claude_syncd.core.rules import classify_portable
from claude_syncd.core.status import Match, ProjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.engine.site import Site
    from claude_syncd.local.state import Known

_UNDER = "tree/projects/"


def listed(site: Site) -> list[ProjectInfo]:
    """Every project that has a file in the vault, by name. Decides no project's place."""
    found = []
    for name, paths in groupby(site.state.paths(_UNDER), key=lambda path: path.split("/", 3)[2]):
        alive = {path: known for path, known in site.state.known(list(paths)).items() if _is_file(known)}
        if alive:
            found.append(_described(site, name, alive.items()))
    return sorted(found, key=lambda project: project.name)


def _described(site: Site, name: str, files: Iterable[tuple[str, Known]]) -> ProjectInfo:
    sessions = [known for path, known in files if path.count("/") == 3 and _is_session(path)]
    key = site.paths.project_place(name)
    folder = site.paths.worked_in(key) if key is not None else None
    return ProjectInfo(
        name=name,
        match=Match.NOWHERE if key is None else Match.HOME_RELATIVE if name.startswith("~") else Match.SAME_PATH,
        key=key,
        folder=folder,
        exists=folder is not None and Path(folder).is_dir(),
        sessions=len(sessions),
        here=sum(_is_here(known) for known in sessions),
    )


def _is_file(known: Known) -> bool:
    return any(head.kind is Kind.FILE for head in heads(known.newest))


def _is_session(path: str) -> bool:
    return classify_portable(path) is FileClass.TRANSCRIPT


def _is_here(known: Known) -> bool:
    base = known.tracked.base if known.tracked is not None else None
    return base is not None and base.kind is Kind.FILE and not base.evicted
