"""How a run gets on, for who looks on: nothing, a line for each phase, or a bar. All of it goes to stderr."""

# Imports cost start-up time; rich alone takes 100 ms, and only a terminal wants it.
# ruff: noqa: PLC0415
from __future__ import annotations

import sys

from claude_syncd.ctl.terminal import line, lively, note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from claude_syncd.core.status import Progress
    from claude_syncd.ctl.options import Given


def reporter(given: Given) -> Reporter:
    """What the command's options and its terminal ask for."""
    if given.has("--quiet") or given.has("--json"):
        return Reporter()
    if lively(sys.stderr):
        return Bar()
    return Lines() if given.has("--verbose") else Reporter()


class Reporter:
    """Shows nothing. Called with each event of the run, from any thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __call__(self, progress: Progress) -> None:
        """Take one event."""

    def end(self) -> None:
        """The run is over."""


class Lines(Reporter):
    """A line when a phase begins."""

    def __init__(self) -> None:
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        """Print the phase when it is a new one."""
        if progress.phase != self._phase:
            self._phase = progress.phase
            note(f"{line(progress.phase)} ({progress.total:,})" if progress.total else line(progress.phase))


class Bar(Reporter):
    """A bar for each phase on the terminal, gone at the end. Nothing is drawn for a run without events."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        """Move the bar of the phase."""
        bars = self._bars = self._bars or self._start()
        total = progress.total or None
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = bars.add_task(line(progress.phase), total=total)
        bars.update(self._tasks[progress.phase], completed=progress.done, total=total)

    def end(self) -> None:
        """Take the bars off the screen."""
        if self._bars is not None:
            self._bars.stop()

    @staticmethod
    def _start() -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bars.start()
        return bars
