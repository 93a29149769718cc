"""`rclone serve webdav` on a free port of the loopback: what Go's WebDAV package does, which many servers are built of.

It ignores conditions of a PUT, and shows readers what has come so far. Needs the packages of tests/servers/install.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
_PORT_ATTEMPTS = 5


class RcloneServer:
    """Start it, use `endpoint`, `username` and `password`, stop it. Nothing of it is left afterwards.

    `lacks` names the tests of stores that it can't pass, and says why.
    """

    lacks: ClassVar[dict[str, str]] = {
        "test_a_listing_of_many_objects_is_complete": "takes half a minute; Apache passes it",
        "test_readers_see_whole_objects_while_others_write": "a MOVE deletes what is there, then renames",
    }

    def __init__(self) -> None:
        self.endpoint = ""
        self.username: str | None = "ann"
        self.password: str | None = "the-password-of-ann"
        self._place = Path(tempfile.mkdtemp(prefix="rclone-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        (self._place / "files").mkdir()
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            with (self._place / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *("rclone", "serve", "webdav", str(self._place / "files"), "--addr", f"127.0.0.1:{port}"),
                        *("--config", str(self._place / "config"), "--dir-cache-time", "0"),
                        *("--user", str(self.username), "--pass", str(self.password)),
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
