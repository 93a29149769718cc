"""Git over HTTP on a free port of the loopback, with a password: `git http-backend` behind a small server.

It is git's own program; only the server around it is ours, in threads of this process.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEADERS = {
    "Content-Type": "CONTENT_TYPE",
    "Content-Length": "CONTENT_LENGTH",
    "Content-Encoding": "HTTP_CONTENT_ENCODING",
    "Git-Protocol": "GIT_PROTOCOL",
}


@dataclass(frozen=True)
class Instead:
    """An answer in the place of git's, to requests whose method and path `pattern` is found in."""

    pattern: str
    status: int
    headers: dict[str, str]
    body: bytes = b""


class Hold:
    """A request that waits."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.reached = threading.Event()
        self.over = threading.Event()


class GitHttpServer:
    """Start it, use `url()`, `username` and `password`, stop it. Nothing of it is left afterwards.

    `certificate` (a file with its key) makes it speak TLS. `asked` are the requests that came with the right
    password: method, path and query; `authorizations` all that was ever said to be one. Of `instead` the first that
    fits is answered. With `altered` git's answers to GET are passed through a function.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.username, self.password = "alice", "p@ss:w%rd 'quoted' $HOME"
        self.folder = Path(tempfile.mkdtemp(prefix="git-http-"))
        self.asked: list[str] = []
        self.authorizations: list[str] = []
        self.newer_protocol = True
        self.instead: list[Instead] = []
        self.hold: Hold | None = None
        self.altered: Callable[[bytes], bytes] = bytes
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.place = self
        self._scheme = "http"
        if certificate is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(certificate)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def url(self, repository: Path) -> str:
        return f"{self.origin}/{repository.relative_to(self.folder)}"

    def start(self) -> None:
        self._thread.start()

    @contextmanager
    def held(self, pattern: str) -> Iterator[threading.Event]:
        """Meanwhile a request that `pattern` is found in gets no answer; the event says that one is there."""
        self.hold = Hold(pattern)
        try:
            yield self.hold.reached
        finally:
            self.hold.over.set()
            self.hold = None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    place: GitHttpServer

    def handle_error(self, *_: object) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        place = cast("_Server", self.server).place
        self.close_connection = True
        body = self._body()
        if "Authorization" in self.headers:
            place.authorizations.append(self.headers["Authorization"])
        if self.headers.get("Authorization") != place.authorization:
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
            return
        request = f"{self.command} {self.path}"
        place.asked.append(request)
        if (hold := place.hold) and re.search(hold.pattern, request):
            hold.reached.set()
            hold.over.wait()
            return
        instead = next((found for found in place.instead if re.search(found.pattern, request)), None)
        if instead is not None:
            self._answer(instead.status, instead.headers, instead.body)
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(place.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": place.username,
            "REMOTE_ADDR": "127.0.0.1",
            **{name: self.headers[header] for header, name in _HEADERS.items() if header in self.headers},
        }
        if not place.newer_protocol:
            environment.pop("GIT_PROTOCOL", None)
        words = ["git", "-c", "safe.directory=*", "http-backend"]
        done = subprocess.run(words, env=environment, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        self._answer(status, headers, place.altered(content) if self.command == "GET" else content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self._whole(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self._whole(size)
            self.rfile.readline()
        self.rfile.readline()
        del self.headers["Content-Length"]
        self.headers["Content-Length"] = str(len(body))
        return body

    def _whole(self, size: int) -> bytes:
        """As many bytes. `git http-backend` would wait for those that are lacking, for ever and busily."""
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("the request was cut off")
        return data

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
