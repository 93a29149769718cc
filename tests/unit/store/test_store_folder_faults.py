"""The store in a folder while its system calls are made to fail, or its process is killed, at an exact point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from claude_syncd.errors import AlreadyExists
from claude_syncd.store.folder import FolderStore

PUT = """
import asyncio, sys
from pathlib import Path
from claude_syncd.store.folder import FolderStore

asyncio.run(FolderStore(Path(sys.argv[1])).put("roster/000001", b"whole", if_absent=sys.argv[2] == "if_absent"))
"""


def put_under(injection: str, root: Path, condition: str) -> subprocess.CompletedProcess[bytes]:
    """Run a put in a process of its own; `injection` is in strace's words."""
    # The interpreter itself: strace would count the calls of a shim.
    python = str(Path(sys.executable).resolve())
    tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", injection]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [*tracer, python, "-c", PUT, str(root), condition]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)


@pytest.fixture(scope="module", autouse=True)
def traced() -> None:
    try:
        subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs strace, and the permission to use it")


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    made = tmp_path / "vault"
    await FolderStore(made).create()
    return made


def leftovers(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in (root / "tmp").iterdir()]


@pytest.mark.parametrize(
    ("call", "condition"), [("linkat", "if_absent"), ("rename,renameat,renameat2", "overwrite"), ("fsync", "overwrite")]
)
async def test_a_process_killed_in_a_put_leaves_nothing_to_be_seen(root: Path, call: str, condition: str) -> None:
    assert put_under(f"inject={call}:error=EIO:signal=KILL:when=1", root, condition).returncode != 0
    store = FolderStore(root)
    assert leftovers(root) == [b"whole"]
    assert list(await store.list("")) == []
    await store.put("roster/000001", b"again", if_absent=True)
    assert await store.get("roster/000001") == b"again"


async def test_without_hard_links_it_looks_and_renames(root: Path) -> None:
    store = FolderStore(root)
    injection = "inject=linkat:error=EPERM"
    assert put_under(injection, root, "if_absent").returncode == 0
    assert await store.get("roster/000001") == b"whole"
    refused = put_under(injection, root, "if_absent")
    assert refused.returncode != 0
    assert AlreadyExists.__name__.encode() in refused.stderr
    assert leftovers(root) == []


@pytest.mark.parametrize(("error", "name"), [("ENOSPC", b"StoreUnavailable"), ("EIO", b"StoreUnavailable")])
async def test_a_disk_that_fails_at_the_sync_fails_the_put(root: Path, error: str, name: bytes) -> None:
    failed = put_under(f"inject=fsync:error={error}:when=1", root, "overwrite")
    assert failed.returncode != 0
    assert name in failed.stderr
    assert leftovers(root) == []
    assert list(await FolderStore(root).list("")) == []
