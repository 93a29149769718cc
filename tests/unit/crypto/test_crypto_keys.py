import hashlib
import os
import stat
from pathlib import Path

import pyrage
import pytest
from vault_samples import sample_keys

from claude_syncd.crypto import bech32
from claude_syncd.crypto.keys import (
    EpochKey,
    VaultKeys,
    age_identity,
    decode_keys,
    derive,
    encode_keys,
    load_keys,
    save_keys,
)
from claude_syncd.errors import FormatError, LocalError, WrongKey


def test_bech32_agrees_with_a_vector_of_its_standard() -> None:
    # BIP 173 lists this among the valid strings: no data at all behind the prefix "a".
    assert bech32.encode("a", b"") == "a12uel5l"


@pytest.mark.parametrize("secret", [bytes(range(32)), b"\xff" * 32, bytes(31) + b"\x01"])
def test_an_identity_is_spelt_as_age_spells_it(secret: bytes) -> None:
    assert str(pyrage.x25519.Identity.from_str(age_identity(secret))) == age_identity(secret)


def test_an_identity_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        age_identity(b"short")


def test_labels_and_keys_tell_derived_keys_apart() -> None:
    assert (
        derive(bytes(32), "age")
        == hashlib.blake2b(b"age", key=bytes(32), digest_size=32, person=b"claude-syncd-v1").digest()
    )
    assert len({derive(bytes(32), "age"), derive(bytes(32), "mac"), derive(b"\x01" * 32, "age")}) == 3


def test_nothing_that_shows_keys_shows_secrets() -> None:
    keys = sample_keys()
    for text in (repr(keys), str(keys), f"{keys.current!r}"):
        assert keys.current.secret.hex() not in text
        assert str(keys.current.secret) not in text
        assert "AGE-SECRET" not in text
        assert str(keys.current.mac) not in text


def test_a_ring_writes_with_the_newest_epoch_and_reads_the_others() -> None:
    keys = sample_keys(epochs=3)
    assert keys.epoch == 3
    assert keys.at(1).epoch == 1
    with pytest.raises(WrongKey, match="epoch 4"):
        keys.at(4)


@pytest.mark.parametrize("epochs", [(), (2, 1), (1, 1)])
def test_a_ring_out_of_order_is_refused(epochs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ring"):
        VaultKeys("ab" * 16, "cd" * 32, tuple(EpochKey(epoch, bytes(32)) for epoch in epochs))


@pytest.mark.parametrize(("epoch", "secret"), [(0, bytes(32)), (65_536, bytes(32)), (1, bytes(31))])
def test_an_epoch_beyond_bounds_is_refused(epoch: int, secret: bytes) -> None:
    with pytest.raises(ValueError, match="epoch"):
        EpochKey(epoch, secret)


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_text_of_keys_reads_back(epochs: int) -> None:
    keys = sample_keys(epochs=epochs)
    assert decode_keys(encode_keys(keys), "it") == keys


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: text.replace(b"version 1", b"version 2"),
        lambda text: text.replace(b"# vault: ab", b"# vault: AB"),
        lambda text: text.replace(b"epoch 1:", b"epoch 0:"),
        lambda text: text.replace(b"epoch 1:", b"epoch 99999:"),
        lambda text: text.replace(b"epoch 2:", b"epoch 1:"),
        lambda text: text.replace(b"KEY-1", b"KEY-1\xff"),
        lambda text: text.replace(encode_keys(sample_keys()).split()[-1], encode_keys(sample_keys(2)).split()[-1]),
        lambda text: text + b" " * 70_000,
    ],
)
def test_damaged_text_is_refused_and_not_repeated(damage: object) -> None:
    assert callable(damage)
    text = damage(encode_keys(sample_keys(epochs=2)))
    with pytest.raises(FormatError, match="it is not a claude-syncd vault key") as caught:
        decode_keys(text, "it")
    assert "AGE-SECRET" not in str(caught.value)


def test_the_file_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    old_mask = os.umask(0)
    try:
        save_keys(path, sample_keys())
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(path) == sample_keys()


def test_an_existing_file_is_replaced_only_when_told_to(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    save_keys(path, sample_keys(1))
    with pytest.raises(LocalError, match="already"):
        save_keys(path, sample_keys(2))
    assert load_keys(path) == sample_keys(1)
    save_keys(path, sample_keys(2), replace=True)
    assert load_keys(path) == sample_keys(2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["vault.key"]


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "vault.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError):
        save_keys(tmp_path / "vault.key", sample_keys())
    assert not (tmp_path / "elsewhere").exists()


def test_trouble_with_the_file_is_a_local_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="can't read"):
        load_keys(tmp_path / "vault.key")
    with pytest.raises(LocalError, match="can't write"):
        save_keys(tmp_path / "nowhere" / "vault.key", sample_keys())
