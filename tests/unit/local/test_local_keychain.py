"""Secrets in a keychain: kept, read, forgotten; and every way in which there may be none."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import keyring
import pytest
from keychain_in_a_file import Keychain
from keyring.backends import fail, null

from claude_syncd.errors import LocalError
from claude_syncd.local import keychain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from keyring.backend import KeyringBackend


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = keyring.get_keyring()
    monkeypatch.setenv("KEYCHAIN_FILE", str(tmp_path / "kept"))
    keyring.set_keyring(Keychain())
    yield tmp_path / "kept"
    keyring.set_keyring(before)


def test_what_is_kept_is_read_and_forgotten(file: Path) -> None:
    assert keychain.usable()
    one, two = keychain.keep({"password": "hush"}), keychain.keep({"token": "psst"})
    assert one != two
    assert keychain.read(one) == {"password": "hush"}
    keychain.forget(one)
    keychain.forget(one)
    with pytest.raises(LocalError, match="has no"):
        keychain.read(one)
    assert list(json.loads(file.read_text())) == [f"claude-syncd/{two}"]


def test_an_item_of_another_kind_is_not_shown(file: Path) -> None:
    Keychain().set_password(keychain.SERVICE, "store-x", '["hush"]')
    with pytest.raises(LocalError) as caught:
        keychain.read("store-x")
    assert "hush" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring])
def test_a_system_without_one(file: Path, backend: Callable[[], KeyringBackend]) -> None:
    keyring.set_keyring(backend())
    assert not keychain.usable()
    with pytest.raises(LocalError, match="no keychain"):
        keychain.keep({"password": "hush"})
    assert not file.exists()


def test_keyring_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not keychain.usable()
    with pytest.raises(LocalError, match="not installed") as caught:
        keychain.read("store-x")
    assert "claude-syncd[keyring]" in caught.value.hint


class Locked(Keychain):
    def set_password(self, service: str, username: str, password: str) -> None:
        raise ValueError(f"can't write {password}")


def test_a_refusal_does_not_repeat_the_secret(file: Path) -> None:
    keyring.set_keyring(Locked())
    with pytest.raises(LocalError, match=r"refused \(ValueError\)") as caught:
        keychain.keep({"password": "hush"})
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
