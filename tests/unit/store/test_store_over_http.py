"""What the stores that speak HTTP have in common."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

import aiohttp
import pytest

from claude_syncd.store.base import Span
from claude_syncd.store.over_http import Body, left, meaning_of, part_of, proxy_for, range_of, retry_after


def test_a_body_is_read_like_a_file_and_not_copied() -> None:
    data = bytes(range(256)) * 100
    body = Body(data)
    with body.getbuffer() as buffer:
        assert buffer.obj is data
    assert body.read(10) + body.read() == data
    body.seek(0)
    assert body.read() == data


@pytest.mark.parametrize(
    ("error", "word", "has_left"),
    [
        (aiohttp.ConnectionTimeoutError(), "no connection", False),
        (aiohttp.ServerDisconnectedError(), "connection broke", True),
        (aiohttp.SocketTimeoutError(), "no answer in time", True),
        (aiohttp.ClientPayloadError(), "cut off", True),
        (aiohttp.InvalidURL("x"), "address", True),
        (TimeoutError(), "no answer in time", True),
        (ssl.SSLError(), "certificate", True),
        (OSError(), "connection broke", True),
        (ValueError(), "settings", True),
    ],
)
def test_what_a_failure_means(error: Exception, word: str, has_left: bool) -> None:
    assert word in meaning_of(error).what
    assert left(error) is has_left


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0.0), ("30", 30.0), ("1000000", 3600.0), ("1e9", None), ("Fri, 21 Nov 2025 08:00:00 GMT", None), ("", None)],
)
def test_how_long_the_server_asks_to_wait(header: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": header}) == seconds
    assert retry_after(None) is None


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("http_proxy", "")
    monkeypatch.setenv("no_proxy", "127.0.0.1,.inside.example")
    assert proxy_for("https://dav.example/x") == "http://proxy.example:3128"
    assert proxy_for("https://dav.inside.example/x") is None
    assert proxy_for("https://127.0.0.1:8443/x") is None
    assert proxy_for("http://dav.example/x") is None


@dataclass
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("span", "header", "whole"),
    [
        (Span(0, 1), "bytes=0-0", b"0"),
        (Span(3, 4), "bytes=3-6", b"3456"),
        (Span(4, 0), "bytes=4-4", b""),
        (Span(-4, 4), "bytes=-4", b"6789"),
        (Span(-4, 2), "bytes=-4", b"67"),
        (Span(30, 1), "bytes=30-30", b""),
    ],
)
def test_a_span_in_the_words_of_http(span: Span, header: str, whole: bytes) -> None:
    assert range_of(span) == header
    assert part_of(b"0123456789", span, Response(200)) == whole  # type: ignore[arg-type]  # what is looked at
    part = Response(200, {"Content-Range": "bytes 3-6/10"})
    assert part_of(b"3456", span, part) == b"3456"[: span.length]  # type: ignore[arg-type]  # what is looked at
