"""sd_notify against real datagram sockets, abstract and in the file system."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from claude_syncd.local.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + address[1:] if address.startswith("@") else address)
        channel.settimeout(5)
        yield channel


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"@claude-syncd-test-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")


def test_every_message(address: str) -> None:
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
    with listening(address) as channel:
        manager.ready("watching")
        assert channel.recv(4096) == b"READY=1\nSTATUS=watching"
        manager.ready()
        assert channel.recv(4096) == b"READY=1"
        manager.status("3 files to push")
        assert channel.recv(4096) == b"STATUS=3 files to push"
        manager.alive()
        assert channel.recv(4096) == b"WATCHDOG=1"
        manager.reloading()
        reloading, monotonic = channel.recv(4096).decode().splitlines()
        assert reloading == "RELOADING=1"
        assert int(monotonic.removeprefix("MONOTONIC_USEC=")) > 0
        manager.stopping()
        assert channel.recv(4096) == b"STOPPING=1"


def test_a_status_stays_one_line(address: str) -> None:
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
    with listening(address) as channel:
        manager.status("a\nREADY=1\r\nb" + "x" * 1000)
        message = channel.recv(4096)
    assert message.startswith(b"STATUS=a READY=1 bxxx")
    assert b"\n" not in message
    assert len(message) < 600


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:3"}, {"NOTIFY_SOCKET": "/"}])
def test_without_a_service_manager_nothing_happens(environ: dict[str, str]) -> None:
    manager = ServiceManager.from_environment({**environ, "WATCHDOG_USEC": "1000000"})
    assert manager == ServiceManager()
    manager.ready()
    manager.alive()
    manager.stopping()


def test_a_socket_that_nobody_reads_does_no_harm(tmp_path: Path) -> None:
    ServiceManager.from_environment({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_full_socket_does_not_block(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
    with listening(address) as channel:
        for _ in range(5000):
            manager.alive()
        assert channel.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval_is_half_the_limit(environ: dict[str, str], interval: float | None) -> None:
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": "/run/x", **environ}, pid=42)
    assert manager.watchdog == interval


def test_own_process_id_is_the_default() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert ServiceManager.from_environment(environ).watchdog == 1.0
