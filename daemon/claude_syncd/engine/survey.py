"""Finds the paths that may have changed here: by a scan, which is the truth, or by hints."""

from __future__ import annotations

import unicodedata
from itertools import groupby
from typing import TYPE_CHECKING

from claude_syncd.core.portable import Root
from claude_syncd.local.scan import Looker, Problem, scan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.core.model import Identity
    from claude_syncd.engine.site import Site
    from claude_syncd.local.scan import Found


def survey(site: Site, under: str = "") -> set[str]:
    """Portable paths below the folder `under` of the tree ("" for all, and the kept sides of conflicts with it)
    whose files are new, touched, or gone. Synchronous. Raises LocalError when the tree is not there.
    """
    dirty = _compare(site, Root.TREE, under)
    if not under:
        dirty |= _compare(site, Root.CONFLICTS, "")
    return dirty


def rejoined(site: Site) -> set[str]:
    """As `survey`, on a device that was away for so long that nobody waited for it: that a file is missing here says
    nothing.
    """
    dirty = survey(site)
    tree, conflicts = Looker(site.places.tree, site.follow), Looker(site.places.conflicts)
    missing = []
    for path in dirty:
        spot = site.paths.spot(path)
        if spot is not None and (tree if spot.root is Root.TREE else conflicts).look(spot.rel) is None:
            missing.append(path)
    site.state.drop_bases(missing)
    return dirty


def _compare(site: Site, root: Root, under: str) -> set[str]:
    """Folder by folder, so that memory does not grow with the tree."""
    problems: list[Problem] = []
    tree = root is Root.TREE
    for key in [k for k in site.problems if k.startswith(f"scan:{root}/{under}")]:
        del site.problems[key]
    found = scan(
        site.folder(root),
        wanted=site.rules.selects if tree else lambda _: True,
        descends=site.rules.descends if tree else lambda _: True,
        follow=site.follow if tree else (),
        under=under,
        problems=problems,
    )
    dirty: set[str] = set()
    seen: set[str] = set()
    missing: set[str] = set()
    for _, files in groupby(found, key=lambda f: f.path.rpartition("/")[0]):
        here = _named(site, root, files)
        if here:
            folder = next(iter(here)).rpartition("/")[0]
            seen.add(folder)
            changed, gone = _differences(here, site.state.identities(folder))
            dirty |= changed
            missing |= gone
    for folder in site.state.folders("tree" if tree else "conflicts"):
        if folder not in seen:
            missing.update(site.state.identities(folder))
    for path in missing:
        spot = site.paths.spot(path)
        if spot is None or (under and spot.rel != under and not spot.rel.startswith(f"{under}/")):
            continue  # not selected here any more, or not looked at
        if not any(problem.hides(spot.rel) for problem in problems):
            dirty.add(path)
    for problem in problems:
        site.problems[f"scan:{root}/{problem.path}"] = problem.message
    return dirty


def _named(site: Site, root: Root, files: Iterable[Found]) -> dict[str, Identity]:
    """The files of one folder by their portable paths; names that can't travel become problems to show."""
    named = {}
    for found in files:
        path = f"conflicts/{found.path}" if root is Root.CONFLICTS else _portable(site, found.path)
        if path is None:
            site.problems[f"scan:{root}/{found.path}"] = f"{found.path!r} has a name that can't be synced"
        else:
            named[path] = found.identity
    return named


def _differences(here: dict[str, Identity], known: dict[str, Identity | None]) -> tuple[set[str], set[str]]:
    """Which files are new or touched, and which are gone. A file system may come back under another number."""
    changed = {
        path
        for path, now in here.items()
        if (before := known.get(path)) is None
        or (now.inode, now.size, now.mtime_ns, now.ctime_ns)
        != (before.inode, before.size, before.mtime_ns, before.ctime_ns)
    }
    return changed, known.keys() - here.keys()


def _portable(site: Site, rel: str) -> str | None:
    """The portable path; None for a name that can't travel. One in another normal form is another name on other
    devices: macOS makes both one, Linux does not.
    """
    return site.paths.portable(rel) if unicodedata.is_normalized("NFC", rel) else None


def hinted(site: Site, rels: Iterable[str]) -> set[str]:
    """The portable paths of files of the tree that something happened to."""
    return {path for rel in rels if site.rules.selects(rel) and (path := _portable(site, rel)) is not None}
