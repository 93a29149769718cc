"""Where the tools of a comparison store: a new folder, a new prefix of a bucket on a local S3 server, or a place of a
store that claude-syncd alone can use.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from git_place import new_repository
from measure import size_of
from s3_server import free_port, s3_client, wait_for_port

if TYPE_CHECKING:
    from pathlib import Path

    from gcs_server import GcsServer
    from webdav_server import WebDavServer

ACCESS, SECRET, BUCKET = "benchmark", "benchmark-secret", "bench"  # of a server on 127.0.0.1 that ends with the run


class S3(Protocol):
    """A running S3 server."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    def stop(self) -> None: ...


class Own(Protocol):
    """A place that the rivals can't use as it is: the flags of `init`, and what the environment needs beside."""

    flags: list[str]
    environment: dict[str, str]

    def stored(self) -> int: ...

    def remove(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """One empty place; exactly one of `folder`, `s3` and `own` is given."""

    prefix: str
    folder: Path | None = None
    s3: S3 | None = None
    own: Own | None = None

    @property
    def flags(self) -> list[str]:
        """Where it is, for claude-syncd's `init`."""
        if self.own is not None:
            return self.own.flags
        if self.s3 is None:
            return ["--folder", str(self.folder)]
        where = ["--s3", self.s3.bucket, "--endpoint", self.s3.endpoint, "--region", "us-east-1"]
        return [*where, "--prefix", self.prefix]

    @property
    def environment(self) -> dict[str, str]:
        """Its credentials, for claude-syncd."""
        if self.own is not None:
            return self.own.environment
        if self.s3 is None:
            return {}
        return {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}

    def stored(self) -> int:
        """Bytes that are stored here."""
        if self.own is not None:
            return self.own.stored()
        if self.s3 is None:
            assert self.folder is not None
            return size_of(self.folder)
        client = s3_client(self.s3.endpoint, self.s3.access_key, self.s3.secret_key)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket, Prefix=f"{self.prefix}/")
        total: int = sum(entry["Size"] for page in pages for entry in page.get("Contents", []))
        client.close()
        return total

    def remove(self) -> None:
        """Give the space back."""
        if self.own is not None:
            self.own.remove()
            return
        if self.s3 is None:
            assert self.folder is not None
            shutil.rmtree(self.folder)
            return
        client = s3_client(self.s3.endpoint, self.s3.access_key, self.s3.secret_key)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket, Prefix=f"{self.prefix}/"):
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=self.s3.bucket, Key=entry["Key"])
        client.close()


class GitPlace:
    """A bare repository on this disk."""

    def __init__(self, repository: Path) -> None:
        self._repository = new_repository(repository)
        self.flags, self.environment = ["--git", str(repository)], dict[str, str]()

    def stored(self) -> int:
        return size_of(self._repository)

    def remove(self) -> None:
        shutil.rmtree(self._repository)


class GcsPlace:
    """A prefix of a bucket on the tests' own server of Google's API, which keeps everything in memory."""

    def __init__(self, server: GcsServer, prefix: str) -> None:
        self._server, self._begin = server, f"{prefix}/"
        self.flags = ["--gcs", server.bucket, "--prefix", prefix]
        self.environment = {"STORAGE_EMULATOR_HOST": server.endpoint}

    def stored(self) -> int:
        objects = self._server.objects
        return sum(len(data) for name, (data, _) in objects.items() if name.startswith(self._begin))

    def remove(self) -> None:
        for name in [name for name in self._server.objects if name.startswith(self._begin)]:
            del self._server.objects[name]


class WebDavPlace:
    """A folder on the tests' WebDAV server."""

    def __init__(self, server: WebDavServer, name: str) -> None:
        self._folder = server.folder / name
        self.flags = ["--webdav", f"{server.endpoint}/{name}", "--username", str(server.username)]
        self.environment = {"CLAUDE_SYNC_STORE__PASSWORD": str(server.password)}

    def stored(self) -> int:
        return size_of(self._folder)

    def remove(self) -> None:
        shutil.rmtree(self._folder)


class RcloneServer:
    """`rclone serve s3` over a folder: compiled, and so no bottleneck. Needs rclone 1.65 or newer."""

    bucket, access_key, secret_key = BUCKET, ACCESS, SECRET

    def __init__(self, rclone: str, folder: Path) -> None:
        (folder / BUCKET).mkdir(parents=True)
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [rclone, "serve", "s3", "--config", "", "--auth-key", f"{ACCESS},{SECRET}", "--addr", f"127.0.0.1:{port}",
             "--vfs-cache-mode", "off", folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if not wait_for_port(port, 20, self._process):
            raise SystemExit("rclone does not serve S3")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def can_serve_s3(rclone: str) -> bool:
    """Whether this rclone is new enough."""
    done = subprocess.run([rclone, "help", "serve"], capture_output=True, text=True, check=False)
    listed = subprocess.run([rclone, "serve", "--help"], capture_output=True, text=True, check=False)
    return "s3" in (done.stdout + listed.stdout).split()
