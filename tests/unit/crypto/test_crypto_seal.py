import subprocess
import sys

import pyrage
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from vault_samples import sample_keys

from claude_syncd.crypto import seal
from claude_syncd.errors import FormatError, IntegrityError

KEY = sample_keys().current


def encrypted(packed: bytes) -> bytes:
    identity = pyrage.x25519.Identity.from_str(KEY.identity)
    sealed: bytes = pyrage.encrypt(packed, [identity.to_public()])
    return sealed


@given(st.binary(max_size=5000))
def test_what_is_sealed_unseals(plain: bytes) -> None:
    assert seal.unseal(KEY, seal.seal(KEY, plain), len(plain), "it") == plain


def test_another_key_does_not_unseal() -> None:
    with pytest.raises(IntegrityError, match="the blob does not decrypt"):
        seal.unseal(sample_keys(2).current, seal.seal(KEY, b"plain"), 5, "the blob")


@pytest.mark.parametrize("sealed", [b"", b"age-encryption.org/v1\n", b"\0" * 1000])
def test_what_is_no_age_file_does_not_unseal(sealed: bytes) -> None:
    with pytest.raises(IntegrityError, match="does not decrypt"):
        seal.unseal(KEY, sealed, 5, "the blob")


def test_one_byte_over_the_limit_is_refused() -> None:
    with pytest.raises(FormatError, match="more than it may hold"):
        seal.unseal(KEY, seal.seal(KEY, b"123456"), 5, "the blob")


@pytest.mark.parametrize("declared", [True, False])
def test_a_bomb_is_refused_without_taking_its_memory(declared: bool) -> None:
    # In a process of its own with 600 MB of address space: a bomb of 1 GiB would kill it.
    code = f"""
import resource, sys
from backports import zstd
from claude_syncd.crypto import seal
from claude_syncd.errors import FormatError
compressor = zstd.ZstdCompressor(level=3)
if {declared}:
    compressor.set_pledged_input_size(1 << 30)
zeros = bytes(1 << 20)
packed = b"".join([compressor.compress(zeros) for _ in range(1024)] + [compressor.flush()])
assert len(packed) < 100_000
resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
try:
    seal._decompress(packed, 1 << 20, "it")
except FormatError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "it decompresses to more than it may hold\n", done.stderr


def test_a_window_larger_than_honest_writers_use_is_refused() -> None:
    packed = zstd.compress(bytes(100), options={zstd.CompressionParameter.window_log: 27})
    streamed = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    unsized = streamed.compress(bytes(100)) + streamed.flush()
    assert seal.unseal(KEY, encrypted(packed), 100, "it") == bytes(100)  # its size is known: no window needed
    with pytest.raises(FormatError, match="does not decompress"):
        seal.unseal(KEY, encrypted(unsized), 100, "it")


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (zstd.compress(b"plain")[:-1], "not exactly one"),
        (zstd.compress(b"plain") + b"x", "not exactly one"),
        (zstd.compress(b"plain") * 2, "not exactly one"),
        (b"plain", "does not decompress"),
        (b"", "not exactly one"),
    ],
)
def test_anything_but_one_frame_is_refused(packed: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        seal.unseal(KEY, encrypted(packed), 5, "it")


def test_macs_depend_on_key_and_content() -> None:
    assert seal.mac(KEY, (b"a", b"b")) == seal.mac(KEY, (b"ab",))
    assert seal.mac(KEY, (b"a",)) != seal.mac(sample_keys(2).current, (b"a",))
    assert not seal.same(seal.mac(KEY, (b"a",)), seal.mac(KEY, (b"b",)))
    assert seal.same(seal.mac(KEY, (b"a",)), seal.mac(KEY, (b"a",)))


def test_files_for_a_recipient_open_with_its_identity_only() -> None:
    sealed = seal.encrypt_to(seal.recipient_of(KEY.identity), b"plain")
    assert seal.decrypt_with(KEY.identity, sealed) == b"plain"
    assert seal.decrypt_with(sample_keys(2).current.identity, sealed) is None


@pytest.mark.parametrize("recipient", ["", "age1nonsense", "ssh-ed25519 nonsense", "me@example.org"])
def test_what_is_no_public_key_is_refused(recipient: str) -> None:
    with pytest.raises(FormatError, match="public key"):
        seal.encrypt_to(recipient, b"plain")


@pytest.mark.parametrize("identity", ["AGE-SECRET-KEY-1NONSENSE", "-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense"])
def test_what_is_no_private_key_is_refused(identity: str) -> None:
    with pytest.raises(FormatError, match="identity") as caught:
        seal.decrypt_with(identity, seal.encrypt_to(seal.recipient_of(KEY.identity), b"plain"))
    assert "NONSENSE" not in str(caught.value).upper()


def test_sealing_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, claude_syncd.vault.reader, claude_syncd.vault.header; print({'pyrage', 'argon2'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
