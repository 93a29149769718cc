"""Devices in this process whose vault is on a real server, behind a network that can be broken."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devices import Device, Vault
from gcs_place import gcs_options
from git_place import git_options
from s3_place import s3_options
from webdav_place import webdav_options

from claude_syncd.store.count import Counting
from claude_syncd.store.gcs import GcsStore
from claude_syncd.store.git import GitStore
from claude_syncd.store.limit import Limited
from claude_syncd.store.open import Opened, create_store
from claude_syncd.store.options import GcsOptions, GitOptions, S3Options, WebDavOptions
from claude_syncd.store.retry import Retrying
from claude_syncd.store.s3 import S3Store
from claude_syncd.store.webdav import WebDavStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faults import FaultProxy
    from gcs_server import GcsServer
    from git_http import GitHttpServer
    from s3_server import S3Server
    from webdav_server import WebDavServer

    from claude_syncd.store.report import ReportingStore

    Server = S3Server | GcsServer | WebDavServer | GitHttpServer

PATIENCE = 2.0
"""Seconds of silence after which a request is given up, where the network is broken; users have a minute or two."""


@dataclass(frozen=True)
class Place:
    """One empty place on a server, reached through `wire` by the server's name `host`."""

    wire: FaultProxy
    host: str
    make: Callable[[Path, str], ReportingStore]
    """A store for the device that keeps its own files in a folder; by any origin (`http://host:port`)."""

    def store(self, folder: Path) -> ReportingStore:
        return self.make(folder, f"http://{self.host}:{self.wire.port}")


async def new_place(server: Server, wire: FaultProxy, host: str = "127.0.0.1", *, patience: float = PATIENCE) -> Place:
    """Made ready for a vault."""
    make = await _maker(server, patience)
    return Place(wire, host, make)


async def _maker(server: Server, patience: float) -> Callable[[Path, str], ReportingStore]:
    kind = type(server).__name__
    options: S3Options | GcsOptions | GitOptions | WebDavOptions
    if kind == "S3Server":
        options = s3_options(server)  # type: ignore[arg-type]
    elif kind == "GcsServer":
        options = gcs_options(server)  # type: ignore[arg-type]
    elif kind == "GitHttpServer":
        options = git_options(server)  # type: ignore[arg-type]
    else:
        options = webdav_options(server)  # type: ignore[arg-type]
        await create_store(options)

    def store(folder: Path, origin: str) -> ReportingStore:
        match options:
            case S3Options():
                return S3Store(replace(options, endpoint=origin), patience=patience)
            case GcsOptions():
                return GcsStore(replace(options, endpoint=origin), patience=patience)
            case WebDavOptions():
                return WebDavStore(replace(options, url=f"{origin}/dav"), patience=patience)
            case GitOptions():
                path = "/".join(options.url.split("/")[3:])
                here = replace(options, url=f"{origin}/{path}", mirror=folder / "mirror.git")
                return GitStore(here, patience=patience)

    return store


class RemoteDevice(Device):
    """A device whose store is wrapped as the daemon's is, with waits of a test's length."""

    def __init__(self, vault: Vault, folder: Path, name: str, place: Place) -> None:
        super().__init__(vault, folder, name)
        self.store = place.store(self.places.state)

    @contextmanager
    def running(self) -> Iterator[RemoteDevice]:
        counting = Counting(self.store)
        store = Retrying(Limited(counting, 8), attempts=2, base=0.01, cap=0.5)
        with self.site_of(Opened(store, counting)):
            yield self
