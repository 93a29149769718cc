"""Finds the paths that may have changed here: by a scan, which is the truth, or by hints."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from claude_syncd.core.portable import Root
from claude_syncd.local.scan import Problem, scan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.engine.site import Site


def survey(site: Site, under: str = "") -> set[str]:
    """Portable paths below the folder `under` of the tree ("" for all, and the kept sides of conflicts with it)
    whose files are new, touched, or gone. Synchronous. Raises LocalError when the tree is not there.
    """
    dirty = _compare(site, Root.TREE, under)
    if not under:
        dirty |= _compare(site, Root.CONFLICTS, "")
    return dirty


def _compare(site: Site, root: Root, under: str) -> set[str]:
    problems: list[Problem] = []
    tree = root is Root.TREE
    seen: dict[str, tuple[int, int, int, int, int]] = {}
    for found in scan(
        site.folder(root),
        wanted=site.rules.selects if tree else lambda _: True,
        descends=site.rules.descends if tree else lambda _: True,
        follow=site.follow if tree else (),
        under=under,
        problems=problems,
    ):
        path = site.paths.portable(found.path) if tree else f"conflicts/{found.path}"
        if path is None or (tree and not _travels(found.path)):
            site.problems[f"name:{found.path}"] = f"{found.path!r} has a name that can't be synced"
            continue
        i = found.identity
        seen[path] = (i.device, i.inode, i.size, i.mtime_ns, i.ctime_ns)
    _note(site, root, under, problems)
    dirty = set()
    prefix = "tree/" if tree else "conflicts/"
    for path, known in site.state.identities(prefix):
        spot = site.paths.spot(path)
        if spot is None or (under and spot.rel != under and not spot.rel.startswith(f"{under}/")):
            continue
        now = seen.pop(path, None)
        if now is None:
            if not any(problem.hides(spot.rel) for problem in problems):
                dirty.add(path)
        elif known is None or now[1:] != (known.inode, known.size, known.mtime_ns, known.ctime_ns):
            dirty.add(path)
    dirty.update(seen)
    return dirty


def _travels(rel: str) -> bool:
    """A name in another normal form is another name on other devices: macOS makes both one, Linux does not."""
    return unicodedata.is_normalized("NFC", rel)


def _note(site: Site, root: Root, under: str, problems: Iterable[Problem]) -> None:
    for key in [k for k in site.problems if k.startswith(f"scan:{root}/{under}")]:
        del site.problems[key]
    for problem in problems:
        site.problems[f"scan:{root}/{problem.path}"] = problem.message


def hinted(site: Site, rels: Iterable[str]) -> set[str]:
    """The portable paths of files of the tree that something happened to."""
    paths = set()
    for rel in rels:
        if site.rules.selects(rel) and _travels(rel):
            path = site.paths.portable(rel)
            if path is not None:
                paths.add(path)
    return paths
