"""One of rclone's servers on a free port of the loopback, over a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
_PORT_ATTEMPTS = 5


class RcloneProcess:
    """Start it with what `rclone serve` is told, stop it. Nothing of it is left afterwards.

    `files`: the folder that it serves, which is there from the beginning.
    """

    def __init__(self) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="rclone-"))
        self.files = self._place / "files"
        self.files.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, program: str, kind: str, *options: str) -> str:
        """Start `program serve kind` and wait until it answers; the endpoint."""
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            with (self._place / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(program, "serve", kind, str(self.files), "--addr", f"127.0.0.1:{port}"),
                        *("--config", str(self._place / "config"), *options),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if wait_for_port(port, START_WITHIN, self._process):
                return f"http://127.0.0.1:{port}"
        raise RuntimeError(f"rclone did not start:\n{(self._place / 'log').read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            end_process(self._process)
            self._process = None
        shutil.rmtree(self._place, ignore_errors=True)
