"""The client of the control server: HTTP/1.1 over the Unix socket with `socket` and `json` alone, to start fast."""

# Imports cost start-up time; what only an error needs is imported where it is needed, and typing not at all.
# ruff: noqa: PLC0415
from __future__ import annotations

import json
import os
import socket

from claude_syncd.control.reach import reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from claude_syncd.errors import SyncError

_MAX_LINE = 64 * 1024
_MAX_ANSWER = 256 * 1024 * 1024
_CHUNK = 64 * 1024

_NO_ANSWER = "the daemon does not answer"


class Client:
    """Asks the daemon at the socket `path`. Each request has its own connection; not for use by several threads."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._connected: socket.socket | None = None

    def try_connect(self) -> bool:
        """Connect now, for the next request, and say whether somebody listens. Raises SyncError."""
        if self._connected is None:
            self._connected = self._connect()
        return self._connected is not None

    def connect(self) -> None:
        """Connect now, for the next request. Raises NoDaemon when nobody listens."""
        if not self.try_connect():
            from claude_syncd.errors import NoDaemon

            raise NoDaemon("no daemon is running")

    def close(self) -> None:
        """Give back a connection that no request has used."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def request(self, method: str, path: str, body: object = None, *, timeout: float | None = 30.0) -> Any:
        """Give the parsed JSON of the answer, its text when it is of another type, None when it is empty.

        `timeout` is how long the daemon may be silent, in seconds. Raises NoDaemon when there is no daemon, and what
        the daemon answers as an error: UsageError, Held, NotSetUp or a plain SyncError with its message and hint.
        """
        with _Exchange(self._take(), timeout) as exchange:
            exchange.send(method, path, body, "application/json")
            content = exchange.content()
            if exchange.status >= 400:
                raise _refusal(exchange.status, content)
            if exchange.headers.get("content-type", "").startswith("application/json"):
                return _parsed(content)
            return content.decode(errors="replace") if content else None

    def stream(self, method: str, path: str, body: object = None) -> Iterator[tuple[str, Any]]:
        """Give the events of the answer, name and parsed data, as they come; ("", None) every few seconds between them.

        An event `error` is raised, as `request` raises. Ends when the daemon ends the stream.
        """
        with _Exchange(self._take(), 30.0) as exchange:
            exchange.send(method, path, body, "text/event-stream")
            if exchange.status >= 400:
                raise _refusal(exchange.status, exchange.content())
            name = ""
            for line in exchange.lines():
                if line.startswith(b"event: "):
                    name = line[7:].decode(errors="replace")
                elif line.startswith(b"data: "):
                    if name == "error":
                        raise _error(_parsed(line[6:]))
                    yield name, _parsed(line[6:])
                elif line.startswith(b":"):
                    yield "", None

    def _take(self) -> socket.socket:
        self.connect()
        taken, self._connected = self._connected, None
        assert taken is not None  # noqa: S101 - connect() has just set it
        return taken

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with reach(self._path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            from claude_syncd.errors import SyncError

            raise SyncError(
                f"can't connect to {self._path}: {error.strerror}", hint="check who owns the state folder and its mode"
            ) from error
        return connection


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, connection: socket.socket, timeout: float | None) -> None:
        self._connection = connection
        self._connection.settimeout(timeout)
        self._file = connection.makefile("rb")
        self.status = 0
        self.headers: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._connection.close()

    def send(self, method: str, path: str, body: object, accept: str) -> None:
        """Send the request and read the head of the answer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {accept}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        try:
            self._connection.sendall(head.encode("ascii") + content)
        except ConnectionError:
            pass  # it may have refused before it had read all; then the answer says why
        except OSError as error:
            raise _broken(error) from error
        self.status = self._number(self._line().split(b" ")[1:2], 10)
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()

    def content(self) -> bytes:
        """Give the whole body of the answer."""
        pieces: list[bytes] = []
        size = 0
        for piece in self._pieces():
            pieces.append(piece)
            size += len(piece)
            if size > _MAX_ANSWER:
                raise _broken(None)
        return b"".join(pieces)

    def lines(self) -> Iterator[bytes]:
        """Give the lines of the body as they come, without their ends."""
        rest = b""
        for piece in self._pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
            if len(rest) > _MAX_ANSWER:
                raise _broken(None)

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while length := self._number(self._line().split(b";")[:1], 16):
                yield from self._bytes(length)
                self._line()
        elif "content-length" in self.headers:
            yield from self._bytes(self._number([self.headers["content-length"].encode()], 10))
        elif self.status != 204:
            while piece := self._read(_CHUNK):
                yield piece

    def _bytes(self, length: int) -> Iterator[bytes]:
        while length:
            piece = self._read(min(length, _CHUNK))
            if not piece:
                raise _broken(None)
            length -= len(piece)
            yield piece

    def _line(self) -> bytes:
        try:
            line = self._file.readline(_MAX_LINE)
        except OSError as error:
            raise _broken(error) from error
        if not line.endswith(b"\n"):
            raise _broken(None)
        return line.rstrip(b"\r\n")

    def _read(self, length: int) -> bytes:
        try:
            return self._file.read1(length)
        except OSError as error:
            raise _broken(error) from error

    def _number(self, text: list[bytes], base: int) -> int:
        try:
            number = int(text[0], base)
        except (ValueError, IndexError) as error:
            raise _broken(error) from error
        if number < 0:
            raise _broken(None)
        return number


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _broken(error) from error


def _refusal(status: int, content: bytes) -> SyncError:
    try:
        return _error(json.loads(content))
    except (ValueError, RecursionError):
        return _error({"error": f"the daemon answered with HTTP status {status}"})


def _error(body: Any) -> SyncError:
    """Give the error that an ErrorBody tells of."""
    from claude_syncd import errors

    told = body if isinstance(body, dict) else {}
    kinds = (errors.UsageError, errors.NoDaemon, errors.NotSetUp, errors.Held)
    kind = next((k for k in kinds if k.exit_code == told.get("exit_code")), errors.SyncError)
    return kind(str(told.get("error", _NO_ANSWER)), hint=str(told["hint"]) if "hint" in told else None)


def _broken(error: Exception | None) -> SyncError:
    """Give the error for an answer that stops early, never comes, or makes no sense."""
    from claude_syncd.errors import SyncError

    hint = "see `claude-syncctl logs`; start it again with `claude-syncctl service start`"
    if isinstance(error, TimeoutError):
        return SyncError(_NO_ANSWER, hint=hint)
    if error is None or isinstance(error, OSError):
        return SyncError("the daemon ended before it had answered", hint=hint)
    return SyncError("what the daemon answers makes no sense", hint=hint)
