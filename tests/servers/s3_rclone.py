"""`rclone serve s3` on a free port of the loopback: an S3 server that is small and does little.

It ignores conditions of a PUT, and answers 500 to a DELETE of what is not there. tests/servers/install installs it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from rclone_process import RcloneProcess


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
        self._process = RcloneProcess()

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        (self._process.files / self.bucket).mkdir(exist_ok=True)
        keys = f"{self.access_key},{self.secret_key}"
        self.endpoint = self._process.start(str(self._command), "s3", "--auth-key", keys)
        return self.endpoint

    def stop(self) -> None:
        """Stop it and remove its folder."""
        self._process.stop()
