"""fake-gcs-server on a free port of the loopback: what somebody else takes Google Cloud Storage to be.

tests/servers/install builds it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
_PORT_ATTEMPTS = 5


class GcsEmulator:
    """Start it, use `endpoint` and `bucket`, stop it. Nothing of it is left afterwards."""

    def __init__(self, bucket: str = "vaults") -> None:
        self.bucket = bucket
        self.endpoint = ""
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self._command = Path(cache) / "claude-syncd-tests" / "fake-gcs-server-1.56.1"
        if not self._command.exists():
            raise RuntimeError("run tests/servers/install first")
        self._place = Path(tempfile.mkdtemp(prefix="fake-gcs-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it, wait until it answers, and make the bucket; the endpoint."""
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            with (self._place / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(str(self._command), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
                        *("-backend", "memory", "-public-host", f"127.0.0.1:{port}"),
                    ],
                    cwd=self._place,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if wait_for_port(port, START_WITHIN, self._process):
                self.endpoint = f"http://127.0.0.1:{port}"
                self._make_bucket()
                return self.endpoint
        raise RuntimeError(f"the emulator did not start:\n{(self._place / 'log').read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            end_process(self._process)
            self._process = None
        shutil.rmtree(self._place, ignore_errors=True)

    def _make_bucket(self) -> None:
        request = urllib.request.Request(
            f"{self.endpoint}/storage/v1/b?project=tests",
            data=json.dumps({"name": self.bucket}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=START_WITHIN):
            pass
