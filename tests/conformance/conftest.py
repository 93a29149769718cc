"""Every store that there is, each empty, to be held to the promises of the port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ceph_server import CephServer
from s3_place import s3_options
from s3_server import S3Server

from claude_syncd.store.folder import FolderStore
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.open import FolderOptions, create_store, open_store
from claude_syncd.store.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from claude_syncd.store.base import Store

_CEPH = pytest.mark.servers
_KINDS = [
    "memory",
    "folder",
    "s3",
    "folder-opened",
    "s3-opened",
    pytest.param("ceph", marks=_CEPH),
    pytest.param("ceph-opened", marks=_CEPH),
]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[CephServer]:
    server = CephServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=_KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """One store after the other; `opened` ones have the wrappers that the daemon uses."""
    where, _, wrapped = request.param.partition("-")
    made: Store
    if where == "memory":
        made = MemoryStore()
    elif where == "folder":
        folder = FolderOptions(tmp_path / "vault")
        await create_store(folder)
        made = open_store(folder).store if wrapped else FolderStore(folder.path)
    else:
        options = s3_options(request.getfixturevalue(f"{where}_server"))
        made = open_store(options).store if wrapped else S3Store(options)
    yield made
    await made.close()
