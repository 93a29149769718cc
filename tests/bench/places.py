"""Where the tools of a comparison store: a new folder, or a new prefix of a bucket on a local S3 server."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from measure import size_of
from s3_server import free_port, s3_client, wait_for_port

if TYPE_CHECKING:
    from pathlib import Path

ACCESS, SECRET, BUCKET = "benchmark", "benchmark-secret", "bench"  # of a server on 127.0.0.1 that ends with the run


class S3(Protocol):
    """A running S3 server."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """One empty place; exactly one of `folder` and `s3` is given."""

    prefix: str
    folder: Path | None = None
    s3: S3 | None = None

    @property
    def kind(self) -> str:
        return "folder" if self.s3 is None else "S3"

    def stored(self) -> int:
        """Bytes that are stored here."""
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
        if self.s3 is None:
            assert self.folder is not None
            shutil.rmtree(self.folder)
            return
        client = s3_client(self.s3.endpoint, self.s3.access_key, self.s3.secret_key)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.s3.bucket, Prefix=f"{self.prefix}/"):
            for entry in page.get("Contents", []):
                client.delete_object(Bucket=self.s3.bucket, Key=entry["Key"])
        client.close()


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
