"""Every store that there is, each empty, to be held to the promises of the port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ceph_server import CephServer
from gcs_emulator import GcsEmulator
from gcs_place import gcs_options
from gcs_server import GcsServer
from git_http import GitHttpServer
from git_place import GitFolder, git_options
from git_ssh import GitSshServer
from s3_place import overwriting_s3_options, s3_options
from s3_rclone import RcloneS3Server
from s3_server import S3Server
from webdav_apache import ApacheServer
from webdav_place import webdav_options
from webdav_rclone import RcloneServer
from webdav_server import WebDavServer

from claude_syncd.store.folder import FolderStore
from claude_syncd.store.memory import MemoryStore
from claude_syncd.store.mirror import Mirrored
from claude_syncd.store.open import FolderOptions, _at_the_wire, create_store, open_mirrored, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from claude_syncd.store.base import Store
    from claude_syncd.store.options import StoreOptions

_SERVERS = pytest.mark.servers
_KINDS = [
    "memory",
    "folder",
    "s3",
    "folder-opened",
    "s3-opened",
    "gcs",
    "gcs-opened",
    "git",
    "git-opened",
    "webdav",
    "webdav-opened",
    "mirror",
    "mirror-opened",
    pytest.param("ceph", marks=_SERVERS),
    pytest.param("ceph-opened", marks=_SERVERS),
    pytest.param("fake_gcs", marks=_SERVERS),
    pytest.param("fake_gcs-opened", marks=_SERVERS),
    pytest.param("apache", marks=_SERVERS),
    pytest.param("apache-opened", marks=_SERVERS),
    # Not without the wrappers: it turns away all but one of those who are at a name, for a moment.
    pytest.param("rclone-opened", marks=_SERVERS),
    # Nor this: it overwrites, unless somebody looks first.
    pytest.param("rclone_s3-opened", marks=_SERVERS),
    pytest.param("git_http-opened", marks=_SERVERS),
    pytest.param("git_ssh-opened", marks=_SERVERS),
]
_PLACES: dict[str, Callable[[Any], StoreOptions]] = {
    "s3": s3_options,
    "ceph": s3_options,
    "rclone_s3": overwriting_s3_options,
    "gcs": gcs_options,
    "fake_gcs": gcs_options,
    "git": git_options,
    "git_http": git_options,
    "git_ssh": git_options,
    "webdav": webdav_options,
    "apache": webdav_options,
    "rclone": webdav_options,
}
"""Makes options of a new place in the server whose fixture is named so."""


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


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    server = GcsServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def fake_gcs_server() -> Iterator[GcsEmulator]:
    server = GcsEmulator()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def webdav_server() -> Iterator[WebDavServer]:
    server = WebDavServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def git_server() -> Iterator[GitFolder]:
    server = GitFolder()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def git_http_server() -> Iterator[GitHttpServer]:
    server = GitHttpServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def git_ssh_server() -> Iterator[GitSshServer]:
    server = GitSshServer()
    try:
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GIT_SSH_COMMAND", server.command)
            yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def apache_server() -> Iterator[ApacheServer]:
    server = ApacheServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[RcloneServer]:
    server = RcloneServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rclone_s3_server() -> Iterator[RcloneS3Server]:
    server = RcloneS3Server()
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
    elif where == "mirror":
        folders = [FolderOptions(tmp_path / name) for name in ("one", "two")]
        for folder in folders:
            await create_store(folder)
        made = open_mirrored(folders).store if wrapped else Mirrored([MemoryStore(), MemoryStore()])
    else:
        server = request.getfixturevalue(f"{where}_server")
        lacking = getattr(server, "lacks", {}).get(request.node.originalname)
        if lacking is not None:
            pytest.skip(lacking)
        options = _PLACES[where](server)
        await create_store(options)
        made = open_store(options).store if wrapped else _at_the_wire(options, 16)
    yield made
    await made.close()
