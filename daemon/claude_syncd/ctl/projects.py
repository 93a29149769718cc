"""`projects`: how the projects of all devices are matched here."""

from __future__ import annotations

import sys

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import line, painter, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.core.status import ProjectInfo
    from claude_syncd.ctl.options import Given

_MATCHES = {
    "home-relative": ("below home", ""),
    "same-path": ("same path", ""),
    "nowhere": ("nowhere", "yellow"),
}


def run(given: Given) -> int:
    """`projects [list] [--json]`."""
    if given.words not in ([], ["list"]):
        raise usage_error(given.command, given.command.usage())
    with remote.anyone() as there:
        answer = there.projects()
    if given.has("--json"):
        say_json(answer)
    else:
        say("\n".join(lines(answer.projects, painter(sys.stdout))))
    return 0


def lines(projects: list[ProjectInfo], paint: Callable[[str, str], str]) -> list[str]:
    """One line for each project: its name in the vault, how it is matched, its sessions, its folder here."""
    if not projects:
        return ["the vault has no projects"]
    names = [line(project.name) for project in projects]
    width = max(map(len, [*names, "project"]))
    shown = [paint(f"{'project':<{width}}  {'matched':<10}  {'sessions':>8}  {'here':>5}  folder here", "dim")]
    for name, project in zip(names, projects, strict=True):
        word, colour = _MATCHES.get(project.match, (str(project.match), "yellow"))
        matched = f"{word:<10}"
        counts = f"{project.sessions:>8}  {project.here:>5}"
        shown.append(f"{name:<{width}}  {paint(matched, colour) if colour else matched}  {counts}  {_folder(project)}")
    return shown


def _folder(project: ProjectInfo) -> str:
    if project.key is None:
        return "its place here belongs to another project"
    if project.folder is None:
        return f"(not known; projects/{line(project.key)})"
    return line(project.folder) if project.exists else f"{line(project.folder)} (not there)"
