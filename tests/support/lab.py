"""The fixtures of the end-to-end tests: a short folder, stores, and machines whose processes end with the test."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from machines import Machine
from s3_server import S3Server, s3_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Vault(Protocol):
    """Where the machines of a lab keep their vault: the flags of `init`, and settings they need beside."""

    flags: list[str]
    environment: dict[str, str]

    def stored(self) -> dict[str, bytes]:
        """Every object, by name, as the store holds it."""
        ...


class FolderVault:
    """A vault in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flags = ["--folder", str(folder)]
        self.environment: dict[str, str] = {}
        folder.mkdir(mode=0o700)

    def stored(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


class S3Vault:
    """A vault below a prefix of a bucket."""

    def __init__(self, server: S3Server, prefix: str) -> None:
        self.server, self.prefix = server, prefix
        self.flags = [
            "--s3", server.bucket, "--endpoint", server.endpoint, "--region", "us-east-1", "--prefix", prefix
        ]  # fmt: skip
        self.environment = {
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stored(self) -> dict[str, bytes]:
        server = self.server
        client = s3_client(server.endpoint, server.access_key, server.secret_key)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=server.bucket, Prefix=f"{self.prefix}/")
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        found = {
            name.removeprefix(f"{self.prefix}/"): client.get_object(Bucket=server.bucket, Key=name)["Body"].read()
            for name in names
        }
        client.close()
        return found


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

    def close(self) -> None:
        for machine in self.machines:
            machine.close()


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
    """One S3 server for all tests of this process."""
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3_vault(s3_server: S3Server, short_folder: Path) -> S3Vault:
    return S3Vault(s3_server, short_folder.name)


@pytest.fixture(params=["folder", "s3"])
def vault(request: pytest.FixtureRequest) -> Vault:
    """Each store in turn."""
    made: Vault = request.getfixturevalue(f"{request.param}_vault")
    return made


@pytest.fixture
def lab(short_folder: Path, vault: Vault) -> Iterator[Lab]:
    """Machines that share a vault in each store in turn."""
    made = Lab(short_folder, vault)
    yield made
    made.close()


@pytest.fixture
def folder_lab(short_folder: Path, folder_vault: FolderVault) -> Iterator[Lab]:
    """Machines that share a vault in a folder."""
    made = Lab(short_folder, folder_vault)
    yield made
    made.close()
