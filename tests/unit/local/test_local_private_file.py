from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from claude_syncd.errors import LocalError
from claude_syncd.local.private_file import make_private_folder, write_private

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys" / "key"
    write_private(path, b"secret")
    assert path.read_bytes() == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_could_read_is_replaced_by_one_that_they_can_not(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    with path.open("rb") as opened_before:
        write_private(path, b"new")
        assert opened_before.read() == b"old"
    assert path.stat().st_mode & 0o777 == 0o600
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path) == ["key"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"not ours")
    path = tmp_path / "state" / "key"
    path.parent.mkdir()
    path.symlink_to(victim)
    write_private(path, b"secret")
    assert victim.read_bytes() == b"not ours"
    assert not path.is_symlink()


def test_what_can_not_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(LocalError, match="can't write"):
        write_private(tmp_path / "key", b"secret")
    assert os.listdir(tmp_path) == ["key"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="can't make the folder"):
        make_private_folder(tmp_path / "file" / "folder")
