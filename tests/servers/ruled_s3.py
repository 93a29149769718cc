"""An S3 server on the loopback, in threads of this process, that refuses what a test tells it to refuse."""

from __future__ import annotations

import re
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "vaults"

Said: TypeAlias = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


class RuledS3:
    """Start it, use `endpoint`, stop it. `objects` are its contents by key, `buckets` the names of its buckets.

    `refuses` are the operations that it refuses, `list`, `get`, `put`, `delete`, `make` or `all`, with the status and
    the code of its answer; `page` is what it answers to everything instead. `overwrites`: also where it is asked not
    to. `certificate` makes it speak TLS.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.buckets = {BUCKET}
        self.objects: dict[str, bytes] = {}
        self.refuses: dict[str, tuple[int, str]] = {}
        self.page = b""
        self.overwrites = False
        self._held: tuple[str, threading.Event, threading.Event] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def holding(self, key: str) -> Iterator[threading.Event]:
        """Answer no put of `key` before the block has ended; gives what tells that one has come."""
        reached, over = threading.Event(), threading.Event()
        self._held = key, reached, over
        yield reached
        self._held = None
        over.set()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Said:
        """Status and body of an answer, and perhaps headers."""
        if self.page:
            return 200, self.page
        parts = urlsplit(path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        kind = "get" if method == "HEAD" else method.lower()
        kind = {"get": "list", "put": "make"}.get(kind, kind) if not key else kind
        for refused in ("all", kind):
            if refused in self.refuses:
                return self._error(*self.refuses[refused])
        if kind == "make":
            self.buckets.add(bucket)
            return 200, b""
        if bucket not in self.buckets:
            return self._error(404, "NoSuchBucket")
        if kind == "delete" and not key:
            if self.objects:
                return self._error(409, "BucketNotEmpty")
            self.buckets.discard(bucket)
            return 204, b""
        if kind == "list":
            return 200, self._listing(parse_qs(parts.query).get("prefix", [""])[0])
        return self._object(kind, key, headers, body)

    def _object(self, kind: str, key: str, headers: Any, body: bytes) -> Said:
        if kind == "put":
            if self._held is not None and self._held[0] == key:
                _, reached, over = self._held
                reached.set()
                over.wait(60)
            if headers.get("If-None-Match") == "*" and key in self.objects and not self.overwrites:
                return self._error(412, "PreconditionFailed")
            self.objects[key] = body
            return 200, b""
        if kind == "delete":
            self.objects.pop(key, None)
            return 204, b""
        if key not in self.objects:
            return self._error(404, "NoSuchKey")
        data = self.objects[key]
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))
        if span is None:
            return 200, data
        first = int(span[1]) if span[1] else len(data) - int(span[2])
        part = data[first : int(span[2]) + 1 if span[1] else len(data)]
        return 206, part, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}

    def _listing(self, prefix: str) -> bytes:
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(data)}</Size></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    def _error(self, status: int, code: str) -> tuple[int, bytes]:
        return status, f"<Error><Code>{code}</Code><Message>said with secret-key</Message></Error>".encode()


def _handler(server: RuledS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer, *more = server.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            if not server.page:
                self.send_header("ETag", '"0"')
            for name, value in more[0].items() if more else ():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer if self.command != "HEAD" else b"")

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "PUT", "DELETE", "HEAD", "POST", "PROPFIND", "MKCOL", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler._any)
    return Handler
