"""`rclone serve s3` on a free port of the loopback: an S3 server that is small and does little.

It ignores conditions of a PUT, and answers 500 to a DELETE of what is not there. tests/servers/install installs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
_PORT_ATTEMPTS = 5


class RcloneS3Server:
    """Start it, use `endpoint`, `bucket`, `access_key` and `secret_key`, stop it. Nothing of it is left afterwards.

    `lacks` names the tests of stores that it can't pass, and says why.
    """

    lacks: ClassVar[dict[str, str]] = {
        "test_readers_see_whole_objects_while_others_write": "it deletes what is there, then renames what came",
        "test_one_of_many_conditional_writers_wins": "it ignores conditions, and who looks first sees nothing yet",
        "test_the_probe_finds_nothing_wrong_and_leaves_nothing": "the probe finds that; test_conformance_rclone_s3.py",
    }

    def __init__(self, bucket: str = "vaults") -> None:
        self.bucket = bucket
        self.endpoint = ""
        self.access_key = "AKIATESTTESTTESTTEST"
        self.secret_key = "secret-key-of-the-test-server"
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self._command = Path(cache) / "claude-syncd-tests" / "rclone-1.75.2" / "bin" / "rclone"
        if not self._command.exists():
            raise RuntimeError("run tests/servers/install first")
        self._place = Path(tempfile.mkdtemp(prefix="rclone-s3-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        (self._place / "files" / self.bucket).mkdir(parents=True)
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            with (self._place / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(str(self._command), "serve", "s3", str(self._place / "files")),
                        *("--addr", f"127.0.0.1:{port}", "--config", str(self._place / "config")),
                        *("--auth-key", f"{self.access_key},{self.secret_key}"),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if wait_for_port(port, START_WITHIN, self._process):
                self.endpoint = f"http://127.0.0.1:{port}"
                return self.endpoint
        raise RuntimeError(f"rclone did not start:\n{(self._place / 'log').read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            end_process(self._process)
            self._process = None
        shutil.rmtree(self._place, ignore_errors=True)
