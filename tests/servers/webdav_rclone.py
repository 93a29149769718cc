"""`rclone serve webdav` on a free port of the loopback: what Go's WebDAV package does, which many servers are built of.

It ignores conditions of a PUT, and shows readers what has come so far. Needs the packages of tests/servers/install.
"""

from __future__ import annotations

from typing import ClassVar

from rclone_process import RcloneProcess


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
        self._process = RcloneProcess()

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        who = ("--user", str(self.username), "--pass", str(self.password))
        self.endpoint = self._process.start("rclone", "webdav", "--dir-cache-time", "0", *who)
        return self.endpoint

    def stop(self) -> None:
        """Stop it and remove its folder."""
        self._process.stop()
