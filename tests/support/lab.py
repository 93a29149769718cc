"""The fixtures of the end-to-end tests: a short folder, stores, and machines whose processes end with the test."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fresh_machine import Machine as OfThisProcess
from gcs_server import GcsServer
from git_http import GitHttpServer
from machines import PASSPHRASE, Machine
from prepared_vault import prepared
from s3_server import S3Server
from vaults import FolderVault, GcsVault, GitVault, S3Vault, Vault, WebDavVault, wire_to
from webdav_server import WebDavServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from faults import FaultProxy


STORES = ("folder", "s3", "gcs", "git", "webdav")


class Lab:
    """Makes machines that share one vault."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self.folder, self.vault = folder, vault
        self.machines: list[Machine] = []

    def machine(self, name: str, *, settings: Mapping[str, str] | None = None) -> Machine:
        """A machine that is not set up yet."""
        environment = {**self.vault.environment, **(settings or {})}
        made = Machine(self.folder / name, self.vault.flags, name=name, environment=environment)
        self.machines.append(made)
        return made

    def prepare(self, passphrase: str = PASSPHRASE) -> None:
        """Have the vault there already: all machines join it, which is ten times as quick as making it. For tests
        that are not about `init`.
        """
        self.vault.place(prepared(passphrase))

    def close(self) -> None:
        for machine in self.machines:
            machine.close()


def set_up(machines: Sequence[Machine], *, sync: bool = True) -> None:
    """Have all of them join the vault, and sync until a whole turn had nothing to do; no daemon runs yet. The commands
    run in this process, which takes a tenth of the time: for what comes before the test.
    """
    for machine in machines:
        words = (*machine.store, "--passphrase-stdin", "--device-name", machine.name, "--yes")
        _here(machine, "init", *words, stdin=f"{PASSPHRASE}\n")
    while sync:
        turn = [json.loads(_here(machine, "sync", "--json")) for machine in machines]
        sync = any(done[what] for done in turn for what in ("uploaded", "downloaded", "deleted", "parked"))


def _here(machine: Machine, *words: str, stdin: str = "") -> str:
    done = OfThisProcess(machine.home, machine.environment).run_here(*words, stdin=stdin)
    assert done.code == 0, f"{machine.name}: {words[0]} ended with {done.code}\n{done.out}{done.err}"
    return done.out


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket below it; its real path, as Claude Code would see it."""
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp")).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder_vault(short_folder: Path) -> FolderVault:
    return FolderVault(short_folder / "store")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server for all tests of this process; so are the others."""
    server = S3Server()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def s3_wire(s3_server: S3Server) -> Iterator[FaultProxy]:
    wire = wire_to(s3_server.endpoint)
    yield wire
    wire.stop()


@pytest.fixture
def s3_vault(s3_server: S3Server, s3_wire: FaultProxy, short_folder: Path) -> S3Vault:
    return S3Vault(s3_server, s3_wire, short_folder.name)


@pytest.fixture(scope="session")
def gcs() -> Iterator[tuple[GcsServer, FaultProxy]]:
    server = GcsServer()
    wire = wire_to(server.start())
    yield server, wire
    wire.stop()
    server.stop()


@pytest.fixture
def gcs_vault(gcs: tuple[GcsServer, FaultProxy], short_folder: Path) -> GcsVault:
    return GcsVault(*gcs, short_folder.name)


@pytest.fixture(scope="session")
def git_host() -> Iterator[tuple[GitHttpServer, FaultProxy]]:
    server = GitHttpServer()
    server.start()
    wire = wire_to(server.origin)
    yield server, wire
    wire.stop()
    server.stop()


@pytest.fixture
def git_vault(git_host: tuple[GitHttpServer, FaultProxy], short_folder: Path) -> GitVault:
    return GitVault(*git_host, short_folder.name)


@pytest.fixture(scope="session")
def webdav() -> Iterator[tuple[WebDavServer, FaultProxy]]:
    server = WebDavServer()
    try:
        wire = wire_to(server.start())
        yield server, wire
        wire.stop()
    finally:
        server.stop()


@pytest.fixture
def webdav_vault(webdav: tuple[WebDavServer, FaultProxy], short_folder: Path) -> WebDavVault:
    return WebDavVault(*webdav, short_folder.name)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.long)])
def vault(request: pytest.FixtureRequest) -> Vault:
    """A folder, and in the long run a bucket: what is far from the store is tried over two that differ most. See
    `over_stores`.
    """
    made: Vault = request.getfixturevalue(f"{request.param}_vault")
    return made


def over_stores(*, quick: Sequence[str] = STORES) -> pytest.MarkDecorator:
    """Have a test that uses `lab` run over every store; those that are not `quick` in the long run only."""
    kinds = [kind if kind in quick else pytest.param(kind, marks=pytest.mark.long) for kind in STORES]
    return pytest.mark.parametrize("vault", kinds, indirect=True)


@pytest.fixture
def lab(short_folder: Path, vault: Vault) -> Iterator[Lab]:
    """Machines that share `vault`."""
    made = Lab(short_folder, vault)
    yield made
    made.close()


@pytest.fixture
def folder_lab(short_folder: Path, folder_vault: FolderVault) -> Iterator[Lab]:
    """Machines that share a vault in a folder."""
    made = Lab(short_folder, folder_vault)
    yield made
    made.close()
