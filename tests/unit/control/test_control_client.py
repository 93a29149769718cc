"""The client against servers that misbehave; how it gets on with ours is in test_control_server."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from claude_syncd import errors
from claude_syncd.control.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(path: Path, *pieces: bytes) -> Iterator[Client]:
    """Accept one connection, read a request's head, send `pieces` and close."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            accepted, _ = listening.accept()
            with accepted:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += accepted.recv(65536)
                for piece in pieces:
                    accepted.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Client(path)
        finally:
            thread.join()


@pytest.mark.parametrize(
    "pieces",
    [
        (OK + b'Content-Length: 8\r\n\r\n{"a": 1}',),
        (OK + b"\r\n", b'{"a"', b": 1}"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b'5\r\n{"a":\r\n', b"3;x=y\r\n 1}\r\n", b"0\r\n\r\n"),
    ],
)
def test_every_way_to_frame_an_answer_is_read(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    with answering(tmp_path / "s", *pieces) as client:
        assert client.request("GET", "/") == {"a": 1}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        OK + b'Content-Length: 9\r\n\r\n{"a": 1}',
        OK + b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"a": 1}',
        OK + b'Transfer-Encoding: chunked\r\n\r\n8\r\n{"a": 1}\r\n',
    ],
)
def test_an_answer_that_stops_early_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with (
        answering(tmp_path / "s", answer) as client,
        pytest.raises(errors.SyncError, match="ended before it had answered"),
    ):
        client.request("GET", "/")


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Content-Length: 3\r\n\r\n{a}",
        OK + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000,
        OK + b"Content-Length: 2\r\n\r\n\xff\xfe",
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "s", answer) as client, pytest.raises(errors.SyncError, match="makes no sense"):
        client.request("GET", "/")


def test_a_daemon_that_is_silent_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        with pytest.raises(errors.SyncError, match="does not answer"):
            Client(tmp_path / "s").request("GET", "/", timeout=0.05)


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [
        (1, errors.SyncError),
        (2, errors.UsageError),
        (3, errors.NoDaemon),
        (4, errors.NotSetUp),
        (5, errors.Held),
        (77, errors.SyncError),
    ],
)
def test_an_error_keeps_its_kind_message_and_hint(tmp_path: Path, exit_code: int, kind: type[errors.SyncError]) -> None:
    body = b'{"error": "no", "hint": "do", "exit_code": %d}' % exit_code
    answer = b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with answering(tmp_path / "s", answer) as client, pytest.raises(errors.SyncError, match="no") as caught:
        client.request("GET", "/")
    assert type(caught.value) is kind
    assert caught.value.hint == "do"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"x"', b""])
def test_an_error_in_another_form_is_still_an_error(tmp_path: Path, body: bytes) -> None:
    answer = b"HTTP/1.1 502 Oh\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with answering(tmp_path / "s", answer) as client, pytest.raises(errors.SyncError) as caught:
        client.request("GET", "/")
    assert caught.value.exit_code == 1


def test_a_stream_is_read_event_by_event_across_its_pieces(tmp_path: Path) -> None:
    pieces = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: pro",
        b'gress\ndata: {"done": 1}\n\n:\n\nevent: result\nda',
        b'ta: {"uploaded": 2}\n\n',
    )
    with answering(tmp_path / "s", *pieces) as client:
        told = list(client.stream("POST", "/v1/push"))
    assert told == [("progress", {"done": 1}), ("", None), ("result", {"uploaded": 2})]


def test_where_nobody_listens_there_is_no_daemon(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "stale"))
    for path in (tmp_path / "none", tmp_path / "none" / "s", tmp_path / "file" / "s", tmp_path / "stale"):
        assert not Client(path).try_connect()
        with pytest.raises(errors.NoDaemon):
            Client(path).request("GET", "/v1/status")
