"""Kills a scene's command before one system call after another, and looks what becomes of it.

`python kill_points.py SCENE PART PARTS FOLDER [COUNT]` tries one of so many parts of the points (each PARTSth), of
these at most COUNT, spread evenly, in FOLDER, and prints one JSON object: how many points there are, how many were
tried, what went wrong. The command runs in one thread (`one_thread`), so the Nth call of a kind is the same one each
time; strace delivers the signal before the call does anything.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from one_thread import in_one_thread

in_one_thread()

from crash_scenes import SCENES, Scene, words_of  # noqa: E402 - after in_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = (
    "write,pwrite64,writev,pwritev,copy_file_range,ftruncate,fallocate,open,openat,creat,mkdir,mkdirat,rename,renameat,"
    "renameat2,link,linkat,unlink,unlinkat,rmdir,fsync,fdatasync,syncfs,sync_file_range,fchmod,chmod,fchmodat,"
    "utimensat,symlink,symlinkat"
)
"""Every call that changes something on a disk, and those that make it durable."""
DATABASE = "/state.db"
STRIDE = 6
"""Of a run of writes into the database or its log, the first and last are points, and every so manieth between."""

_CALL = re.compile(r"(?:\d+ +)?(\w+)\((.*)")
_SET_PTRACER = 0x59616D61  # prctl: who else may trace this process
_ANYBODY = ctypes.c_ulong(2**64 - 1)


class Point(NamedTuple):
    """Before the `nth` call of the kind `call`; `what` shows it to people."""

    call: str
    nth: int
    what: str


def forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns in a process of its own, as JSON; nothing of it stays in this one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            result = {"result": function(*arguments)}
        except BaseException:  # noqa: BLE001 - handed on
            result = {"error": traceback.format_exc()}
        with os.fdopen(writing, "w") as out:
            json.dump(result, out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = json.load(answer)
    os.waitpid(pid, 0)
    if "error" in said:
        raise AssertionError(said["error"])
    return said["result"]


def traced(scene: Scene, folder: Path, options: list[str]) -> int:
    """Run the scene's command in a child that strace watches with `options`; how it ended, as `os.waitpid` says."""
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        ctypes.CDLL(None).prctl(_SET_PTRACER, _ANYBODY, 0, 0, 0)
        os.read(go_read, 1)
        try:
            scene.act(folder)
        except BaseException:  # noqa: BLE001 - told, and then it ends here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(go_read)
    command = ["strace", "-f", "-p", str(pid), *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        attached = strace.stderr.readline()
        os.write(go_write, b"g")
        os.close(go_write)
        _, status = os.waitpid(pid, 0)
        told = strace.stderr.read()
    if "attached" not in attached:
        raise AssertionError(f"strace did not attach: {attached}{told}")
    return status


def points_of(scene: Scene, folder: Path) -> list[Point]:
    """Every point of an undisturbed run."""
    trace = folder.with_name("trace")
    forked(scene.prepare, folder)
    status = traced(scene, folder, ["-y", "-e", f"trace=?{CALLS.replace(',', ',?')}", "-o", str(trace)])
    assert status == 0, f"the undisturbed run ended with {status}"
    counts: Counter[str] = Counter()
    points: list[Point] = []
    database_writes: list[Point] = []
    for line in trace.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        call, rest = match.groups()
        counts[call] += 1
        what = re.sub(re.escape(str(folder)), "", line)[:160]
        point = Point(call, counts[call], what)
        if call in {"open", "openat"} and "O_CREAT" not in rest:
            continue
        if call == "pwrite64" and DATABASE in rest:
            database_writes.append(point)
            continue
        points += _thinned(database_writes)
        database_writes = []
        points.append(point)
    return points + _thinned(database_writes)


def _thinned(run: list[Point]) -> list[Point]:
    """Of equal calls in a row: the first, the last, and some between."""
    return [p for at, p in enumerate(run) if at % STRIDE == 0 or at == len(run) - 1]


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def tried(scene: Scene, folder: Path, point: Point, expected: Any) -> tuple[bool, list[str]]:
    """Whether the run was killed at that point, and what was wrong afterwards."""
    forked(scene.prepare, fresh(folder))
    written = words_of(folder)
    inject = f"inject={point.call}:signal=KILL:when={point.nth}"
    status = traced(scene, folder, ["-e", f"trace={point.call}", "-e", inject, "-o", "/dev/null"])
    try:
        tree, wrong = forked(scene.end, folder, written)
    except AssertionError as error:
        return True, [str(error)]
    if not wrong and tree != expected:
        wrong = [f"another end: {path}" for path in {*tree, *expected} if tree.get(path) != expected.get(path)]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, wrong


def _spread(points: list[Point], count: int) -> list[Point]:
    """So many of them, evenly."""
    return [points[(2 * at + 1) * len(points) // (2 * count)] for at in range(count)]


def main(scene_name: str, part: int, parts: int, work: Path, count: int | None = None) -> None:
    """See the module's docstring."""
    scene, folder = SCENES[scene_name], work / "home"
    points = points_of(scene, fresh(folder))
    expected, wrong = forked(lambda: scene.end(folder, words_of(folder)))
    found = {"the undisturbed run": wrong} if wrong else {}
    chosen = points[part::parts] if count is None else _spread(points[part::parts], count)
    missed = []
    for point in chosen:
        reached, wrong = tried(scene, folder, point, expected)
        if not reached:
            missed.append(point.what)
        if wrong:
            found[f"{point.call} {point.nth}: {point.what}"] = wrong
    print(json.dumps({"points": len(points), "tried": len(chosen), "missed": missed, "wrong": found}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), *map(int, sys.argv[5:]))
