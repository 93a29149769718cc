from __future__ import annotations

import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from claude_syncd.control.listener import Listener, peer_uid
from claude_syncd.control.reach import LIMIT, ThroughDescriptor, ThroughLink, reach
from claude_syncd.errors import AlreadyRunning, LocalError

if TYPE_CHECKING:
    from pathlib import Path


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with reach(str(path)) as name:
        connection.connect(name)
    return connection


def deep_folder(root: Path) -> Path:
    folder = root.joinpath(*["a-folder-with-a-long-name"] * 8)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 2 * LIMIT
    return folder


def test_it_is_private_whatever_the_umask_and_leaves_only_the_socket(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listener = Listener(tmp_path / "s")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    listener.close()
    assert list(tmp_path.iterdir()) == []


def test_it_listens_at_once_and_knows_its_peer(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "s")
    with connect(tmp_path / "s"):
        listener.socket.setblocking(True)
        accepted, _ = listener.socket.accept()
        with accepted:
            assert peer_uid(accepted.getsockopt) == os.geteuid()
    listener.close()


def test_no_credentials_is_an_error() -> None:
    with pytest.raises(OSError, match="no credentials"):
        peer_uid(lambda _level, _name, _size: b"")


def test_a_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    path = deep_folder(tmp_path) / "control.sock"
    listener = Listener(path)
    connect(path).close()
    with pytest.raises(AlreadyRunning):
        Listener(path)
    listener.close()
    assert not path.exists()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            ThroughDescriptor, marks=pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
        ),
        ThroughLink,
    ],
)
def test_each_way_to_a_long_path_binds_and_connects(
    tmp_path: Path, way: type[ThroughDescriptor | ThroughLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    path = deep_folder(tmp_path) / "s"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        with way(str(path)) as name:
            assert len(name) <= LIMIT
            listening.bind(name)
        listening.listen()
        assert path.is_socket()
        with way(str(path)) as name:
            client.connect(name)
        assert not os.path.lexists(name)  # nothing is left of the short name
        accepted, _ = listening.accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    listener = Listener(path)
    connect(path).close()
    listener.close()


def test_a_living_daemon_is_left_alone_even_when_it_is_too_busy_to_accept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(str(path))
        with pytest.raises(AlreadyRunning):
            Listener(path)
        for client in waiting:
            client.close()
    assert path.is_socket()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(LocalError, match="no socket is in the way"):
        Listener(path)
    assert path.read_text() == "precious"


def test_without_its_folder_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file or directory"):
        Listener(tmp_path / "missing" / "s")


def test_it_never_takes_away_the_socket_of_another(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = Listener(path)
    path.unlink()
    second = Listener(path)
    first.close()
    connect(path).close()
    second.close()
    second.close()
    assert not path.exists()
