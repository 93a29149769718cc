"""A WebDAV server on a free port of the loopback: WsgiDAV, as a process of its own with its own folder.

Its PUT writes into the very file that others read. Its MOVE is one step, as a rename on a disk is: the stock one
looks, deletes and renames, so that several writers of one name may win, and readers may meet nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
USERNAME = "ann"
PASSWORD = "the-password-of-ann"
_PORT_ATTEMPTS = 5


class WebDavServer:
    """Start it, use `endpoint`, `username` and `password`, stop it. Nothing of it is left afterwards.

    `folder` is what it shows at `endpoint`. With `digest` it wants its users to sign in that way; with
    `readonly` it takes nothing. `lacks` names tests
    of stores that are not for it, and says why.
    """

    lacks: ClassVar[dict[str, str]] = {
        "test_a_listing_of_many_objects_is_complete": "takes 9 s; Apache passes it, and test_store_webdav has one",
    }

    def __init__(self, *, digest: bool = False, readonly: bool = False) -> None:
        self.endpoint = ""
        self.username: str | None = USERNAME
        self.password: str | None = PASSWORD
        self.folder = Path(tempfile.mkdtemp(prefix="webdav-server-"))
        self._digest = digest
        self._readonly = readonly
        self._log = Path(f"{self.folder}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            ways = ["digest" if self._digest else "basic", "readonly" if self._readonly else "writable"]
            command = [sys.executable, __file__, str(port), str(self.folder), *ways]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if wait_for_port(port, START_WITHIN, self._process):
                self.endpoint = f"http://127.0.0.1:{port}/dav"
                return self.endpoint
        raise RuntimeError(f"the WebDAV server did not start:\n{self._log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            end_process(self._process)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self._log.unlink(missing_ok=True)


def _serve(port: int, folder: str, *, digest: bool, readonly: bool) -> None:
    from cheroot import wsgi
    from wsgidav.dav_error import HTTP_PRECONDITION_FAILED, DAVError  # type: ignore[import-untyped]  # it has no types
    from wsgidav.fs_dav_provider import (  # type: ignore[import-untyped]  # as above
        FileResource,
        FilesystemProvider,
        FolderResource,
    )
    from wsgidav.wsgidav_app import WsgiDAVApp  # type: ignore[import-untyped]  # as above

    class OneStepFile(FileResource):  # type: ignore[misc]  # a class of a package without types
        def __init__(self, path: str, environ: dict[str, Any], file_path: str) -> None:
            super().__init__(path, environ, file_path)
            # The stock one sends one file's length and another one's bytes, if a MOVE comes in between.
            self._opened = Path(file_path).open("rb")  # noqa: SIM115 - closed when the request is over
            self.file_stat = os.fstat(self._opened.fileno())

        def get_content(self) -> Any:
            return self._opened

        def handle_move(self, dest_path: str) -> bool:
            target = self.provider._loc_to_file_path(dest_path, self.environ)
            if self.environ["HTTP_OVERWRITE"] == "T":
                os.replace(self._file_path, target)
                return True
            try:
                os.link(self._file_path, target)
            except FileExistsError:
                raise DAVError(HTTP_PRECONDITION_FAILED) from None
            os.unlink(self._file_path)
            return True

    class OneStepFolder(FolderResource):  # type: ignore[misc]  # a class of a package without types
        def get_member_list(self) -> list[Any]:
            """What is gone again since it was listed is no member; the stock one answers 500 then."""
            return [member for name in self.get_member_names() if (member := self.get_member(name)) is not None]

    class OneStepProvider(FilesystemProvider):  # type: ignore[misc]  # a class of a package without types
        def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Any:
            try:
                found = super().get_resource_inst(path, environ)
                if isinstance(found, FileResource):
                    return OneStepFile(path, environ, found._file_path)
                if isinstance(found, FolderResource):
                    return OneStepFolder(path, environ, found._file_path)
            except FileNotFoundError:
                return None  # deleted or moved since it was looked at
            return found

    application = WsgiDAVApp(
        {
            "http_authenticator": {
                "accept_basic": not digest,
                "accept_digest": digest,
                "default_to_digest": digest,
                "domain_controller": None,
            },
            "lock_storage": False,
            "logging": {"enable": False},
            "provider_mapping": {"/dav": OneStepProvider(folder, readonly=readonly, fs_opts={})},
            "simple_dc": {"user_mapping": {"*": {USERNAME: {"password": PASSWORD}}}},
            "verbose": 0,
        }
    )
    server = wsgi.Server(("127.0.0.1", port), application, numthreads=32, request_queue_size=128)
    try:
        server.start()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], digest=sys.argv[3] == "digest", readonly=sys.argv[4] == "readonly")
