"""An S3 server on a free port of the loopback: ministack, as a process of its own with its own folder.

It checks no signature of a request's header; tests of wrong credentials need Ceph (ceph_server.py).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from collections.abc import Callable

START_WITHIN = 30.0
STOP_WITHIN = 10.0
_PORT_ATTEMPTS = 5


class S3Server:
    """Start it, use `endpoint`, `bucket`, `access_key` and `secret_key`, stop it. Nothing of it is left afterwards."""

    def __init__(self, bucket: str = "vaults") -> None:
        self.bucket = bucket
        self.endpoint = ""
        self.access_key = "AKIATESTTESTTESTTEST"
        self.secret_key = "secret-key-of-the-test-server"
        self._folder = Path(tempfile.mkdtemp(prefix="s3-server-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            self._process = self._spawn(port)
            if wait_for_port(port, START_WITHIN, self._process):
                self.endpoint = f"http://127.0.0.1:{port}"
                make_bucket(self.endpoint, self.access_key, self.secret_key, self.bucket)
                return self.endpoint
        log = (self._folder / "log").read_text(errors="replace")
        raise RuntimeError(f"the S3 server did not start:\n{log}")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            end_process(self._process)
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {
            **kept,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "SERVICES": "s3",
            "STATE_DIR": str(self._folder),
            "S3_PERSIST": "0",
            "S3_DATA_DIR": str(self._folder / "s3"),
            "TMPDIR": str(self._folder),
            "LOG_LEVEL": "WARNING",
        }
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Wait until something accepts connections at `port`; False if `process` ended or the time ran out."""

    def accepts() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return wait_until(accepts, seconds, lambda: process is not None and process.poll() is not None)


def wait_until(reached: Callable[[], bool], seconds: float, hopeless: Callable[[], bool] = lambda: False) -> bool:
    """Poll until `reached`; False if it is `hopeless` or the time ran out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not hopeless():
        if reached():
            return True
        time.sleep(0.02)
    return False


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then make it."""
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def s3_client(endpoint: str, access_key: str, secret_key: str) -> Any:
    """A plain synchronous client, to set things up and to look behind the store's back."""
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )


def make_bucket(endpoint: str, access_key: str, secret_key: str, bucket: str) -> None:
    """Make a bucket."""
    client = s3_client(endpoint, access_key, secret_key)
    try:
        client.create_bucket(Bucket=bucket)
    finally:
        client.close()
