from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from claude_syncd.local.inotify import FolderByFolder
from claude_syncd.local.observer import Recursive
from claude_syncd.local.scan import scan
from claude_syncd.local.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.local.conftest import InNamespace, Waiting

    from claude_syncd.local.hints import Hints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="made for what inotify reports; never tried elsewhere")


def everything(_: str) -> bool:
    return True


class Seen:
    """A watcher's hints, added up; and what an engine would know that follows them with scans."""

    def __init__(self, root: Path, waiting: Waiting) -> None:
        self.root = root
        self.paths: set[str] = set()
        self.rescan: set[str] = set()
        self.deliveries: list[Hints] = []
        self._waiting = waiting

    def deliver(self, hints: Hints) -> None:
        with self._waiting.changing():
            self.deliveries.append(hints)
            self.paths |= hints.paths
            self.rescan |= hints.rescan

    def until(self, predicate: Callable[[], bool]) -> None:
        self._waiting.until(predicate)

    def until_told(self, path: str) -> None:
        """Wait until a hint covers `path`: it is named, or is in a folder that is to be scanned."""
        self.until(lambda: self.covers(path))

    def covers(self, path: str) -> bool:
        parents = [path.rsplit("/", depth)[0] for depth in range(path.count("/") + 1)]
        return path in self.paths or any(folder in self.rescan for folder in ["", path, *parents])

    def clear(self) -> None:
        with self._waiting.changing():
            self.paths.clear()
            self.rescan.clear()


@pytest.fixture
def seen(tree: Path, waiting: Waiting) -> Seen:
    return Seen(tree, waiting)


@pytest.fixture(params=[FolderByFolder, Recursive])
def watcher(tree: Path, seen: Seen, request: pytest.FixtureRequest) -> Iterator[Watcher]:
    """A running watcher that does not enter folders called node_modules; from every source."""
    (tree / "node_modules").mkdir()
    (tree / "projects/-a").mkdir(parents=True)

    def descends(path: str) -> bool:
        return path.rpartition("/")[2] != "node_modules"

    one = Watcher(tree, descends=descends, deliver=seen.deliver, source=request.param)
    one.start()
    assert one.problem is None
    yield one
    one.stop()


@pytest.fixture
def best(tree: Path, seen: Seen) -> Iterator[Watcher]:
    """A running watcher of the kind that this system gets."""
    one = Watcher(tree, descends=everything, deliver=seen.deliver)
    one.start()
    yield one
    one.stop()


@pytest.mark.usefixtures("watcher")
def test_each_kind_of_change_is_hinted(tree: Path, seen: Seen) -> None:
    file = tree / "projects/-a/s.jsonl"
    file.write_text("1\n")
    seen.until_told("projects/-a/s.jsonl")
    seen.clear()
    with file.open("a") as out:
        out.write("2\n")
    seen.until_told("projects/-a/s.jsonl")
    seen.clear()
    file.rename(tree / "projects/-a/t.jsonl")
    seen.until_told("projects/-a/s.jsonl")
    seen.until_told("projects/-a/t.jsonl")
    seen.clear()
    (tree / "projects/-a/t.jsonl").unlink()
    seen.until_told("projects/-a/t.jsonl")
    seen.clear()
    (tree / "top").write_text("")
    seen.until_told("top")


@pytest.mark.usefixtures("watcher")
def test_new_folders_are_watched_as_deep_as_they_are(tree: Path, seen: Seen) -> None:
    (tree / "skills/a/b/c").mkdir(parents=True)
    (tree / "skills/a/b/c/SKILL.md").write_text("x")
    seen.until_told("skills/a/b/c/SKILL.md")
    seen.until(lambda: bool(seen.rescan))
    seen.clear()
    (tree / "skills/a/b/c/later").write_text("x")
    seen.until_told("skills/a/b/c/later")


@pytest.mark.usefixtures("watcher")
def test_folders_that_move(tree: Path, seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "outside/deep").mkdir(parents=True)
    (tmp_path / "outside/deep/f").write_text("x")
    (tmp_path / "outside").rename(tree / "projects/in")
    seen.until_told("projects/in/deep/f")
    seen.clear()
    (tree / "projects/in").rename(tree / "projects/there")
    seen.until_told("projects/in/deep/f")
    seen.until_told("projects/there/deep/f")
    (tree / "ready").write_text("")
    seen.until_told("ready")
    seen.clear()
    (tree / "projects/there/deep/f").write_text("y")
    seen.until_told("projects/there/deep/f")
    seen.clear()
    (tree / "projects/there").rename(tmp_path / "outside")
    seen.until_told("projects/there")


@pytest.mark.usefixtures("best")
def test_a_folder_that_moved_out_is_not_watched_any_more(tree: Path, seen: Seen, tmp_path: Path) -> None:
    (tree / "d/deep").mkdir(parents=True)
    seen.until_told("d/deep/x")
    (tree / "d").rename(tmp_path / "out")
    (tree / "first").touch()
    seen.until(lambda: "first" in seen.paths)
    seen.clear()
    (tmp_path / "out/deep/f").touch()
    (tmp_path / "out/f").touch()
    (tree / "second").touch()
    seen.until(lambda: "second" in seen.paths)
    assert not seen.covers("d/f")
    assert not seen.covers("d/deep/f")


def test_an_overflow_of_the_queue_is_a_scan_and_new_folders_are_watched(tree: Path, seen: Seen) -> None:
    """The reader is kept busy until the kernel has thrown events away, among them that of a new folder."""
    busy = threading.Event()
    go_on = threading.Event()

    def descends(path: str) -> bool:
        if path == "busy":
            busy.set()
            assert go_on.wait(60)
        return True

    (tree / "many").mkdir()
    watcher = Watcher(tree, descends=descends, deliver=seen.deliver)
    watcher.start()
    try:
        (tree / "busy").mkdir()
        assert busy.wait(60)
        room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(room // 2 + 1):
            (tree / f"many/{number % 100}").touch()
            (tree / f"many/{number % 100}").unlink()
        (tree / "lost").mkdir()
        (tree / "lost/f").touch()
        go_on.set()
        seen.until_told("lost/f")
        seen.until(lambda: "" in seen.rescan)
        seen.clear()
        (tree / "after").touch()
        seen.until_told("after")  # not by its name where the tree is to be scanned once more: each watch was told
        seen.clear()
        (tree / "lost/g").touch()
        seen.until_told("lost/g")
    finally:
        go_on.set()
        watcher.stop()


@pytest.mark.usefixtures("watcher")
def test_what_is_not_wanted_gives_no_hints(tree: Path, seen: Seen) -> None:
    (tree / "node_modules/deep").mkdir()
    (tree / "node_modules/deep/f").write_text("x")
    (tree / "projects/-a/node_modules").mkdir()
    (tree / "projects/-a/node_modules/f").write_text("x")
    (tree / "projects/-a/.csync-1.tmp").write_text("x")
    list(scan(tree, wanted=everything, descends=everything, problems=[]))
    (tree / "last").write_text("x")
    seen.until_told("last")
    assert (seen.paths, seen.rescan) == ({"last"}, set())


@pytest.mark.usefixtures("best")
def test_what_comes_together_is_delivered_together(tree: Path, seen: Seen) -> None:
    for number in range(100):
        (tree / f"f{number}").write_text("x")
    seen.until(lambda: all(seen.covers(f"f{number}") for number in range(100)))
    assert len(seen.deliveries) < 50


@pytest.mark.usefixtures("best")
def test_a_burst_is_a_scan_and_not_a_list(tree: Path, seen: Seen) -> None:
    (tree / "d").mkdir()
    seen.until_told("d")
    for number in range(2000):
        (tree / f"d/{number}").touch()
    seen.until(lambda: all(seen.covers(f"d/{number}") for number in range(2000)))
    assert all(len(hints.paths) <= 512 for hints in seen.deliveries)


def test_the_tree_may_go_and_come_again(tree: Path, seen: Seen, best: Watcher, tmp_path: Path) -> None:
    (tree / "d").mkdir()
    seen.until_told("d")
    seen.clear()
    shutil.rmtree(tree)
    seen.until_told("")
    seen.until(lambda: best.problem is not None or tree.exists())
    seen.clear()
    (tree / "d").mkdir(parents=True)
    seen.until_told("")
    (tree / "d/f").write_text("x")
    seen.until_told("d/f")
    seen.clear()
    tree.rename(tmp_path / "away")
    seen.until_told("")
    seen.clear()
    (tmp_path / "other/d").mkdir(parents=True)
    (tmp_path / "other").rename(tree)
    seen.until_told("")
    (tree / "sentinel").write_text("x")
    seen.until_told("sentinel")
    seen.clear()
    (tree / "d/g").write_text("x")
    seen.until_told("d/g")
    assert best.problem is None


def test_a_tree_that_is_not_there_yet(tree: Path, seen: Seen) -> None:
    tree.rmdir()
    watcher = Watcher(tree, descends=everything, deliver=seen.deliver)
    watcher.start()
    try:
        assert watcher.problem is not None
        assert str(tree) in watcher.problem
        tree.mkdir()
        seen.until_told("")
        (tree / "f").write_text("x")
        seen.until_told("f")
        assert watcher.problem is None
    finally:
        watcher.stop()


def test_what_links_lead_to_is_watched(tree: Path, seen: Seen, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    (dotfiles / "skills/a").mkdir(parents=True)
    (dotfiles / "settings.json").write_text("{}")
    (tree / "skills").symlink_to(dotfiles / "skills")
    (tree / "settings.json").symlink_to(dotfiles / "settings.json")
    watcher = Watcher(tree, descends=everything, follow=(dotfiles,), deliver=seen.deliver)
    watcher.start()
    try:
        (dotfiles / "unrelated").write_text("x")
        (dotfiles / "skills/a/SKILL.md").write_text("x")
        seen.until_told("skills/a/SKILL.md")
        (dotfiles / "settings.json").write_text('{"a": 1}')
        seen.until_told("settings.json")
        assert seen.paths == {"skills/a/SKILL.md", "settings.json"}
        (dotfiles / "agents").mkdir()
        (tree / "agents").symlink_to(dotfiles / "agents")
        seen.until_told("agents/x")
        seen.clear()
        (dotfiles / "agents/x").write_text("x")
        seen.until_told("agents/x")
    finally:
        watcher.stop()


def test_10_000_folders(tree: Path, seen: Seen) -> None:
    """Watched at once, scanned without waking the watcher, and every one of them is."""
    for number in range(10_000):
        os.makedirs(tree / f"{number // 100}/{number}")
    watcher = Watcher(tree, descends=everything, deliver=seen.deliver)
    watcher.start()
    try:
        assert watcher.problem is None
        assert list(scan(tree, wanted=everything, descends=everything, problems=[])) == []
        (tree / "0/0/first").touch()
        (tree / "99/9999/last").touch()
        seen.until_told("0/0/first")
        seen.until_told("99/9999/last")
        assert (seen.paths, seen.rescan) == ({"0/0/first", "99/9999/last"}, set())
        shutil.rmtree(tree / "5")
        seen.until_told("5/500/gone")
    finally:
        watcher.stop()


def test_folders_that_are_made_while_it_starts(tree: Path, seen: Seen) -> None:
    """From the start on, every file is in a scan that begins afterwards, or in a hint."""
    stop = threading.Event()
    made: list[str] = []

    def make() -> None:
        number = 0
        while not stop.is_set() or number < 300:
            folder = tree / f"{number % 7}/{number}/deep"
            folder.mkdir(parents=True)
            (folder / "f").touch()
            made.append(f"{number % 7}/{number}/deep/f")
            number += 1

    maker = threading.Thread(target=make)
    maker.start()
    watcher = Watcher(tree, descends=everything, deliver=seen.deliver)
    watcher.start()
    try:
        found = {one.path for one in scan(tree, wanted=everything, descends=everything, problems=[])}
        stop.set()
        maker.join()
        seen.until(lambda: all(path in found or seen.covers(path) for path in made))
    finally:
        watcher.stop()


def test_stopping_ends_all_threads_and_delivers_no_more(tree: Path, seen: Seen) -> None:
    before = set(threading.enumerate())
    watcher = Watcher(tree, descends=everything, deliver=seen.deliver)
    watcher.start()
    (tree / "f").write_text("x")
    seen.until_told("f")
    watcher.stop()
    watcher.stop()
    assert set(threading.enumerate()) <= before
    count = len(seen.deliveries)
    (tree / "g").write_text("x")
    assert len(seen.deliveries) == count


SHORT = """
import sys
from pathlib import Path
from claude_syncd.local.watch import Watcher
watcher = Watcher(Path(sys.argv[1]), descends=lambda _: True, deliver=lambda hints: None)
watcher.start()
print(watcher.problem)
watcher.stop()
"""


@pytest.mark.parametrize(
    ("kernel", "limit", "sysctl"),
    [("max_inotify_watches", 5, "max_user_watches=524288"), ("max_inotify_instances", 0, "max_user_instances=1024")],
)
def test_running_out_of_watches_tells_the_exact_sysctl(
    tree: Path, in_namespace: InNamespace, kernel: str, limit: int, sysctl: str
) -> None:
    for number in range(10):
        (tree / f"d{number}").mkdir()
    out = in_namespace(f"echo {limit} > /proc/sys/user/{kernel}", SHORT, str(tree))
    assert f"`sudo sysctl fs.inotify.{sysctl}`" in out
