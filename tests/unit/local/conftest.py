"""A tree and a trash, hints collected from a watcher, and places where the disk refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE_ROOT = Path(__file__).parents[3] / "daemon"
NOBODY = 65534


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty tree, with its trash to come beside it."""
    root = tmp_path / "tree"
    root.mkdir()
    return root


class InNamespace(Protocol):
    """Runs Python code as root of a user namespace of its own, after some shell commands."""

    def __call__(self, prepare: str, code: str, *arguments: str) -> str: ...


@pytest.fixture
def in_namespace() -> InNamespace:
    """Where mounts and kernel limits can be changed without touching this machine; skips where that is not allowed."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        probe = subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare command")
    if probe.returncode != 0:
        pytest.skip(f"user namespaces are not permitted here: {probe.stderr.decode().strip()}")

    def run(prepare: str, code: str, *arguments: str) -> str:
        done = subprocess.run(
            [*unshare, "sh", "-euc", f'{prepare}\nexec "$@"', "sh", sys.executable, "-B", "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A folder of an ordinary user, whom permissions bind, for as long as the test lasts."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


class Waiting:
    """Something that other threads change and a test waits for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()

    @contextmanager
    def changing(self) -> Iterator[None]:
        with self._condition:
            yield
            self._condition.notify_all()

    def until(self, predicate: Callable[[], bool], seconds: float = 60.0) -> None:
        with self._condition:
            assert self._condition.wait_for(predicate, seconds), "it did not happen"


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()
