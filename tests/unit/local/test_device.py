"""device.json: made once, read back, never believed blindly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claude_syncd.errors import ConfigError, LocalError, NotSetUp
from claude_syncd.local import device

if TYPE_CHECKING:
    from pathlib import Path


def test_create_save_load(tmp_path: Path) -> None:
    path = tmp_path / "state" / "device.json"
    made = device.create("  Büro\n MacBook ")
    assert made.name == "Büro MacBook"
    assert len(made.id) == 32
    device.save(path, made)
    assert device.load(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(path.read_text()) == {"id": made.id, "name": made.name}


def test_ids_come_from_the_random_source() -> None:
    assert device.create("x", random=lambda n: b"\xab" * n).id == "ab" * 16
    assert device.create("x").id != device.create("x").id


def test_the_default_name_is_usable() -> None:
    assert device.create(device.default_name()).name == device.default_name()


@pytest.mark.parametrize("name", ["", "  ", "\x00\x1b"])
def test_a_name_needs_something_printable(name: str) -> None:
    with pytest.raises(ConfigError):
        device.create(name)


def test_long_names_are_cut() -> None:
    assert device.create("x" * 100).name == "x" * 64


def test_a_renewed_device_remembers_what_it_was(tmp_path: Path) -> None:
    first = device.create("laptop", random=lambda n: b"\x01" * n)
    second = device.renewed(first, 7, random=lambda n: b"\x02" * n)
    assert (second.id, second.name, second.former) == ("02" * 16, "laptop", {"01" * 16: 7})
    assert device.renewed(first, 0).former == {}, "what has written nothing leaves nothing behind"
    third = device.renamed(device.renewed(second, 3, random=lambda n: b"\x03" * n), " new\nname ")
    assert third.former == {"01" * 16: 7, "02" * 16: 3}
    assert third.name == "new name"
    path = tmp_path / "device.json"
    device.save(path, third)
    assert device.load(path) == third
    with pytest.raises(ConfigError):
        device.renamed(third, "\n")


def test_of_many_former_ids_the_latest_are_remembered(tmp_path: Path) -> None:
    known = device.create("x", random=bytes)
    for number in range(1, 41):
        known = device.renewed(known, number, random=lambda n, number=number: number.to_bytes(n))  # type: ignore[misc]
    assert list(known.former.values()) == list(range(9, 41))
    device.save(tmp_path / "device.json", known)
    assert device.load(tmp_path / "device.json") == known


def test_missing_is_not_set_up(tmp_path: Path) -> None:
    with pytest.raises(NotSetUp):
        device.load(tmp_path / "device.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"id": "ab", "name": "x"}',
        b'{"id": "' + b"AB" * 16 + b'", "name": "x"}',
        b'{"id": "' + b"ab" * 16 + b'", "name": ""}',
        b'{"id": "' + b"ab" * 16 + b'"}',
        b'{"id": "../../../../../../../../../../x", "name": "x"}',
        b'{"id": "' + b"ab" * 16 + b'", "name": "' + b"x" * 5000 + b'"}',
        b'{"id": "' + b"ab" * 16 + b'", "name": "x", "former": {"..": 1}}',
        b'{"id": "' + b"ab" * 16 + b'", "name": "x", "former": {"' + b"cd" * 16 + b'": 0}}',
    ],
)
def test_damage_is_noticed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "device.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is damaged"):
        device.load(path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError):
        device.save(tmp_path / "file" / "device.json", device.create("x"))
    with pytest.raises(LocalError):
        device.load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.mkdir()
    with pytest.raises(LocalError):
        device.save(path, device.create("x"))
    assert [item.name for item in tmp_path.iterdir()] == ["device.json"]
