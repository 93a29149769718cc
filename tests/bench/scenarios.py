"""What is measured. Each scenario returns Markdown."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from claude_paths import encode, travels
from machines import ON_REQUEST, Machine, differences
from measure import Series, memory, processor_seconds, run, table
from month import month
from realistic_text import Conversation
from realistic_tree import EPOCH, MB, bench_tree, many_files
from tools import Ours
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from places import Place
    from tools import Tool

T = TypeVar("T")
SESSION = "0aafeadc-5555-4000-8000-000000000001"


class Bench:
    """What all scenarios share. `places`: per kind of store, a function that gives a new empty place."""

    def __init__(self, work: Path, tools: list[type[Tool]], places: dict[str, Callable[[], Place]], runs: int) -> None:
        self.work, self.tools, self.places, self.runs = work, tools, places, runs
        self._count = 0

    def folder(self) -> Path:
        """A new name in the work folder; nothing is there yet."""
        self._count += 1
        return self.work / f"w{self._count}"

    def ours(self) -> bool:
        return Ours in self.tools

    def tools_at(self, kind: str) -> list[type[Tool]]:
        """The rivals store in a folder and on S3."""
        return self.tools if kind in {"folder", "S3"} else [tool for tool in self.tools if tool is Ours]

    def turns(self) -> Iterator[tuple[str, type[Tool]]]:
        """Every store and tool, `runs` times, the tools in turn, so that noise and warmth fall on all alike."""
        for kind in self.places:
            for _ in range(self.runs):
                for tool in self.tools_at(kind):
                    yield kind, tool


def first_push_and_pull(bench: Bench) -> str:
    """All of a large tree to an empty place, and from there to an empty folder."""
    home = bench.folder()
    tree = _made(bench_tree, home)
    _read_all(tree.root)
    pushes: dict[tuple[str, str], Series] = {}
    pulls: dict[tuple[str, str], Series] = {}
    left: list[tuple[Place, list[Path]]] = []
    for kind, kind_of_tool in bench.turns():
        place = bench.places[kind]()
        tool = kind_of_tool(place, bench.folder())
        tool.prepare(tree.root, home)
        push = pushes.setdefault((kind, tool.name), Series())
        push.runs.append(tool.push())
        push.stored.append(place.stored())
        target = bench.folder() / "restored"
        pulls.setdefault((kind, tool.name), Series()).runs.append(tool.pull(target))
        _check_copy(tree.root, target)
        left.append((place, [target.parent, tool.work]))
    # Only now: for seconds after a deletion, ext4 is slow to find inodes for whoever comes next.
    for place, folders in left:
        for folder in folders:
            _drop(folder)
        place.remove()
    rows = []
    for what, all_series in (("push", pushes), ("pull", pulls)):
        for (kind, name), series in all_series.items():
            stored = f"{statistics.median(series.stored) / MB:.0f}" if series.stored else ""
            rows.append([
                kind, what, name, f"**{series.wall:.2f}**", series.spread, f"{series.processor:.1f}",
                f"{series.peak:.0f}", stored,
            ])  # fmt: skip
    _drop(home)
    title = f"### First push and first pull: {tree.files} files, {tree.bytes / MB:.0f} MB, median of {bench.runs}\n\n"
    header = ["store", "", "tool", "wall s", "min-max", "CPU s", "peak MiB", "stored MB"]
    return title + table(header, rows)


def append(bench: Bench) -> str:
    """2 KB more at the end of a session of 200 MB; and nothing new at all."""
    home = bench.folder()
    root = home / ".claude"
    cwd = str(home / "dev/app")
    path = root / "projects" / encode(cwd) / f"{SESSION}.jsonl"
    _made(_one_session, home, cwd)
    talk = Conversation(Random(2), cwd, SESSION, EPOCH)
    rows = []
    for kind, new_place in bench.places.items():
        for kind_of_tool in bench.tools_at(kind):
            place = new_place()
            tool = kind_of_tool(place, bench.folder())
            tool.prepare(root, home)
            tool.push()
            grown, same = Series(), Series()
            before = place.stored()
            for number in range(bench.runs):
                with path.open("ab") as file:
                    file.write(talk.user(Random(number).randbytes(850).hex()))
                grown.runs.append(tool.push())
                same.runs.append(tool.push())
            stored = (place.stored() - before) / bench.runs / 1000
            for what, series in (("2 KB appended", grown), ("nothing new", same)):
                rows.append([
                    kind, what, tool.name, f"**{series.wall:.2f}**", series.spread, f"{series.processor:.2f}",
                    f"{stored:.1f}" if series is grown else "", tool.detail(series.runs[-1]),
                ])  # fmt: skip
            _drop(tool.work)
            place.remove()
    _drop(home)
    title = f"### 2 KB appended to a session of 200 MB, median of {bench.runs}\n\n"
    header = ["store", "", "tool", "wall s", "min-max", "CPU s", "place grows by KB", "the tool says"]
    return title + table(header, rows)


def _one_session(root: Path, home: Path, cwd: str) -> None:
    path = root / "projects" / encode(cwd) / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for piece in Conversation(Random(1), cwd, SESSION, EPOCH).rows(200 * MB):
            file.write(piece)


def no_change(bench: Bench) -> str:
    """Another push of the large tree, all of which is stored already."""
    home = bench.folder()
    tree = _made(bench_tree, home)
    rows = []
    for kind, new_place in bench.places.items():
        for kind_of_tool in bench.tools_at(kind):
            place = new_place()
            tool = kind_of_tool(place, bench.folder())
            tool.prepare(tree.root, home)
            tool.push()
            series = Series()
            series.runs = [tool.push() for _ in range(bench.runs)]
            rows.append([kind, tool.name, f"**{series.wall:.2f}**", series.spread, f"{series.processor:.2f}",
                         tool.detail(series.runs[-1])])  # fmt: skip
            _drop(tool.work)
            place.remove()
    _drop(home)
    title = f"### Nothing changed: {tree.files} files, {tree.bytes / MB:.0f} MB, median of {bench.runs}\n\n"
    return title + table(["store", "tool", "wall s", "min-max", "CPU s", "the tool says"], rows)


def status(bench: Bench) -> str:
    """How long `claude-syncctl status` takes while a daemon runs, beside an interpreter that does nothing."""
    if not bench.ours():
        return ""
    machine, place = _a_running_machine(bench, files=200)
    times: dict[str, list[float]] = {"claude-syncctl status": [], "python -c pass": [], "python -I -S -c pass": []}
    commands: dict[str, list[str | Path]] = {
        "claude-syncctl status": [Machine.command(), "status"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -I -S -c pass": [sys.executable, "-I", "-S", "-c", "pass"],
    }
    for _ in range(60):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, env=machine.environment, stdout=subprocess.DEVNULL, check=True)
            times[name].append((time.perf_counter() - begin) * 1000)
    machine.stop()
    _drop(machine.folder)
    place.remove()
    rows = [
        [name, f"**{statistics.median(t):.0f}**", f"{min(t):.0f}", f"{statistics.quantiles(t, n=10)[-1]:.0f}"]
        for name, t in times.items()
    ]
    return "### Status, 60 runs each, in turn\n\n" + table(["command", "median ms", "min ms", "90 % ms"], rows)


def idle(bench: Bench) -> str:
    """Memory and processor time of a daemon that has nothing to do, with 100,000 files."""
    if not bench.ours():
        return ""
    seconds = 60
    machine, place = _a_running_machine(bench, files=100_000)
    assert machine.daemon is not None
    pid = machine.daemon.pid
    # The scan at the start is not idling.
    used = None
    while used != processor_seconds(pid):
        used = processor_seconds(pid)
        time.sleep(5)
    before, begin = processor_seconds(pid), time.monotonic()
    time.sleep(seconds)
    used, passed = processor_seconds(pid) - before, time.monotonic() - begin
    resident, proportional = memory(pid)
    machine.stop()
    _drop(machine.folder)
    place.remove()
    return "### Idle daemon, 100,000 files\n\n" + table(
        ["seconds", "CPU s", "CPU %", "resident MiB", "proportional MiB"],
        [[f"{passed:.0f}", f"{used:.2f}", f"{100 * used / passed:.2f}", f"{resident:.0f}", f"{proportional:.0f}"]],
    )


def latency(bench: Bench) -> str:
    """From a write at A to the file at B, both daemons running, when the user pokes both."""
    if not bench.ours():
        return ""
    rows = []
    for kind, new_place in bench.places.items():
        place = new_place()
        tool = Ours(place, bench.folder())
        first = bench.folder()
        _made(many_files, first, 200)
        tool.prepare(first / ".claude", first)
        a = tool.machine
        b = tool.a_machine("b", bench.folder())
        b.init()
        for machine in (a, b):
            machine.start()
        wait_until(partial(_equal, a, b), 60, "A and B are equal", [a, b])
        times = []
        for number in range(20):
            written, arrived = a.tree / f"rules/poked-{number}.md", b.tree / f"rules/poked-{number}.md"
            begin = time.perf_counter()
            written.write_text("# New\n")
            a.ctl("push", "-q")
            b.ctl("pull", "-q")
            times.append((time.perf_counter() - begin) * 1000)
            assert arrived.exists()
        for machine in (a, b):
            machine.stop()
        _drop(tool.work)
        place.remove()
        rows.append([kind, f"**{statistics.median(times):.0f}**", f"{min(times):.0f}", f"{max(times):.0f}"])
    title = "### From a write at A to the file at B, poked (`push` at A, `pull` at B), 20 times\n\n"
    return title + table(["store", "median ms", "min ms", "max ms"], rows)


def requests(bench: Bench) -> str:
    """What a push of a small edit, a poll that brings it, and an idle one ask of each store, while two devices are
    known; by the commands, so that what any start asks comes on top.
    """
    if not bench.ours():
        return ""
    rows = []
    for kind, new_place in bench.places.items():
        place = new_place()
        tool = Ours(place, bench.folder())
        first = bench.folder()
        _made(many_files, first, 20)
        tool.prepare(first / ".claude", first)
        a = tool.machine
        b = tool.a_machine("b", bench.folder())
        b.init()
        for machine in (a, b):
            machine.environment |= ON_REQUEST
            machine.start()
            machine.sync()
        a.sync()
        (a.tree / "rules/small.md").write_text("# Small\n")
        asked = [a.json("push"), _pull(b), _pull(b)]
        for machine in (a, b):
            machine.stop()
        _drop(tool.work)
        place.remove()
        rows.append(
            [kind, *(", ".join(f"{n} {k.upper()}" for k, n in done["requests"].items() if n) for done in asked)]
        )
    return "### Requests, with two devices\n\n" + table(["store", "push", "pull of it", "pull of nothing"], rows)


def _pull(machine: Machine) -> dict[str, Any]:
    """A pull for which the store was asked: on git those that closely follow each other share an answer."""
    while True:
        done = machine.json("pull")
        if any(done["requests"].values()):
            return done


def _equal(a: Machine, b: Machine) -> bool:
    return not differences([a, b])


def _a_running_machine(bench: Bench, files: int) -> tuple[Machine, Place]:
    """A machine of `files` files whose daemon has pushed everything."""
    place = bench.places[next(iter(bench.places))]()
    home = bench.folder()
    _made(many_files, home, files)
    tool = Ours(place, bench.folder())
    tool.prepare(home / ".claude", home)
    tool.push()
    machine = tool.machine.start()

    def at_rest() -> bool:
        value = machine.json("status")
        return value["state"] == "idle" and not any(value["pending"].values())

    wait_until(at_rest, 120, "the daemon is at rest", [machine])
    return machine, place


def _made(make: Callable[..., T], home: Path, *more: object) -> T:
    """What `make` makes in `.claude` of `home`; in a process of its own, since a child's peak memory is never told
    as less than what its parent had when it began."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(make, home / ".claude", home, *more).result()


def _read_all(root: Path) -> None:
    """So that every tool finds the files in the page cache."""
    for path in root.rglob("*"):
        if path.is_file():
            path.read_bytes()


def _check_copy(root: Path, target: Path) -> None:
    """A tool that leaves something out is no rival."""
    want = {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
    have = {str(p.relative_to(target)): p.stat().st_size for p in target.rglob("*") if p.is_file()}
    assert all(map(travels, want))
    if want != have:
        raise SystemExit(f"{target} is no copy of {root}: {sorted(set(want.items()) ^ set(have.items()))[:4]}")


def _drop(folder: Path) -> None:
    run(["rm", "-rf", folder], {})


SCENARIOS: dict[str, Callable[[Bench], str]] = {
    "first": first_push_and_pull,
    "append": append,
    "nochange": no_change,
    "status": status,
    "idle": idle,
    "latency": latency,
    "requests": requests,
    "month": lambda _: month(),
}
