"""Where the machines of a lab keep their vault: one class for each kind of store, with its test server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from faults import FaultProxy
from git_place import git, git_bytes, new_repository
from s3_server import s3_client

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gcs_server import GcsServer
    from git_http import GitHttpServer
    from s3_place import Server as AnyS3Server
    from webdav_server import WebDavServer


class Vault(Protocol):
    """The flags of `init`, and settings that machines need beside.

    `wire`: what all requests of the machines go through; None where there is no network.
    """

    flags: list[str]
    environment: dict[str, str]
    wire: FaultProxy | None

    def stored(self) -> dict[str, bytes]:
        """Every object, by name, as the store holds it, and whatever else can be read there."""
        ...

    def place(self, objects: Mapping[str, bytes]) -> None:
        """Put the objects of a vault there, before any machine comes."""
        ...


def wire_to(endpoint: str) -> FaultProxy:
    """A proxy in front of a server of the loopback, up already."""
    made = FaultProxy(urlsplit(endpoint).port or 0)
    made.start()
    return made


def _write(folder: Path, objects: Mapping[str, bytes]) -> None:
    for name, data in objects.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(data)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class FolderVault:
    """A vault in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flags = ["--folder", str(folder)]
        self.environment: dict[str, str] = {}
        self.wire: FaultProxy | None = None
        folder.mkdir(mode=0o700)

    def stored(self) -> dict[str, bytes]:
        return _files(self.folder)

    def place(self, objects: Mapping[str, bytes]) -> None:
        _write(self.folder, objects)


class S3Vault:
    """A vault below a prefix of a bucket."""

    def __init__(self, server: AnyS3Server, wire: FaultProxy, prefix: str) -> None:
        self.server, self.prefix = server, prefix
        self.wire: FaultProxy | None = wire
        endpoint = f"http://127.0.0.1:{wire.port}"
        self.flags = ["--s3", server.bucket, "--endpoint", endpoint, "--region", "us-east-1", "--prefix", prefix]
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

    def place(self, objects: Mapping[str, bytes]) -> None:
        client = s3_client(self.server.endpoint, self.server.access_key, self.server.secret_key)
        for name, data in objects.items():
            client.put_object(Bucket=self.server.bucket, Key=f"{self.prefix}/{name}", Body=data)
        client.close()


class GcsVault:
    """A vault below a prefix of a bucket of Google's."""

    def __init__(self, server: GcsServer, wire: FaultProxy, prefix: str) -> None:
        self.server, self.prefix = server, prefix
        self.wire: FaultProxy | None = wire
        self.flags = ["--gcs", server.bucket, "--prefix", prefix]
        self.environment = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{wire.port}"}

    def stored(self) -> dict[str, bytes]:
        begin = f"{self.prefix}/"
        objects = dict(self.server.objects)
        return {name.removeprefix(begin): data for name, (data, _) in objects.items() if name.startswith(begin)}

    def place(self, objects: Mapping[str, bytes]) -> None:
        for name, data in objects.items():
            self.server.objects[f"{self.prefix}/{name}"] = (data, 1)


class GitVault:
    """A vault in a repository that is reached over HTTP, with a password."""

    def __init__(self, server: GitHttpServer, wire: FaultProxy, name: str) -> None:
        self.repository = new_repository(server.folder / f"{name}.git")
        self.wire: FaultProxy | None = wire
        self.flags = ["--git", f"http://127.0.0.1:{wire.port}/{name}.git", "--username", server.username]
        self.environment = {"CLAUDE_SYNC_STORE__PASSWORD": server.password}

    def stored(self) -> dict[str, bytes]:
        names = git("ls-tree", "-r", "--name-only", "claude-sync", repository=self.repository).split()
        found = {name: self._object(name) for name in names}
        return {**found, "commits": git("log", "--format=raw", "claude-sync", repository=self.repository).encode()}

    def commits(self) -> int:
        """How many commits the branch has."""
        return int(git("rev-list", "--count", "claude-sync", repository=self.repository))

    def place(self, objects: Mapping[str, bytes]) -> None:
        """The first machine makes it, and the branch with it."""

    def _object(self, name: str) -> bytes:
        return git_bytes("cat-file", "blob", f"claude-sync:{name}", repository=self.repository)


class WebDavVault:
    """A vault in a folder of a WebDAV server."""

    def __init__(self, server: WebDavServer, wire: FaultProxy, name: str) -> None:
        assert server.username is not None
        assert server.password is not None
        self.folder = server.folder / name
        self.wire: FaultProxy | None = wire
        self.flags = ["--webdav", f"http://127.0.0.1:{wire.port}/dav/{name}", "--username", server.username]
        self.environment = {"CLAUDE_SYNC_STORE__PASSWORD": server.password}

    def stored(self) -> dict[str, bytes]:
        return _files(self.folder)

    def place(self, objects: Mapping[str, bytes]) -> None:
        _write(self.folder, objects)
