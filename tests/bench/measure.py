"""Measuring commands: wall time, processor time and memory of a child process, and of one that runs on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: seconds of wall clock and of processor (children included), peak memory in MiB."""

    wall: float
    processor: float
    peak: float
    output: str = ""
    messages: str = ""


@dataclass(slots=True)
class Series:
    """Runs of the same thing."""

    runs: list[Run] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(run.wall for run in self.runs)

    @property
    def spread(self) -> str:
        """The fastest and the slowest."""
        return f"{min(r.wall for r in self.runs):.2f}-{max(r.wall for r in self.runs):.2f}"

    @property
    def processor(self) -> float:
        return statistics.median(run.processor for run in self.runs)

    @property
    def peak(self) -> float:
        return max(run.peak for run in self.runs)


def run(command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path | None = None) -> Run:
    """Run to the end; a command that fails ends the benchmark with what it said."""
    os.sync()  # what earlier steps left to be written is not this run's to wait for
    begin = time.perf_counter()
    with subprocess.Popen(
        command, env={"PATH": os.environ["PATH"], **environment}, cwd=cwd, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.read()
        problems = process.stderr.read()
        # wait4 tells what this one child used; Popen is told the code, so that it does not wait again.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}\n{output}{problems}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, output, problems)


def processor_seconds(pid: int) -> float:
    """Processor time that a running process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> tuple[float, float]:
    """Resident memory of a running process, and its proportional share, in MiB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) / 1024
    return found["Rss"], found["Pss"]


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def machine_facts() -> str:
    """Processor, cores, memory, kernel, Python: one line."""
    cpu = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        os.uname().machine,
    )
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = platform.python_version()
    return f"{cpu}, {os.cpu_count()} cores, {total:.0f} GiB, Linux {os.uname().release}, Python {version}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)
