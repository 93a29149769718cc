"""Compress, encrypt and authenticate, and back. CPU-bound and synchronous; callers choose the thread."""

from __future__ import annotations

import hmac
import sys
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from claude_syncd.errors import FormatError, IntegrityError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_syncd.crypto.keys import EpochKey

MAC_BYTES: Final = 32
_LEVEL: Final = 3
_MAX_WINDOW_LOG: Final = 23  # 8 MiB: what an honest writer at level 3 never exceeds
_MAC_PERSON: Final = b"claude-syncd-mac"


def seal(key: EpochKey, plain: bytes) -> bytes:
    """age(zstd(plain)), encrypted to the vault's identity of that epoch. `plain` must be bytes."""
    return _encrypted(key, zstd.compress(plain, _LEVEL))


def seal_stream(key: EpochKey, chunks: Iterable[bytes]) -> bytes:
    """As `seal`, of the chunks one after another: no more of the plaintext than one of them is held."""
    compressor = zstd.ZstdCompressor(_LEVEL)
    packed = [compressor.compress(chunk) for chunk in chunks]
    packed.append(compressor.flush())
    return _encrypted(key, b"".join(packed))


def unseal(key: EpochKey, sealed: bytes, limit: int, what: str) -> bytes:
    """The plaintext of `seal`, at most `limit` bytes of it.

    Raises IntegrityError if it does not decrypt and FormatError if it does not decompress to `limit` bytes or
    fewer; the messages call it `what`.
    """
    pyrage = _pyrage()
    identity, _ = _age_keys(key.identity)
    try:
        packed: bytes = pyrage.decrypt(sealed, [identity])
    except pyrage.DecryptError:
        raise IntegrityError(f"{what} does not decrypt with the vault key") from None
    return _decompress(packed, limit, what)


def encrypt_to(recipient: str, plain: bytes) -> bytes:
    """An age file for one recipient: `age1...`, `ssh-ed25519 ...` or `ssh-rsa ...`. Raises FormatError."""
    pyrage = _pyrage()
    kind = pyrage.ssh if recipient.startswith("ssh-") else pyrage.x25519
    try:
        sealed: bytes = pyrage.encrypt(plain, [kind.Recipient.from_str(recipient.strip())])
    except (pyrage.RecipientError, pyrage.EncryptError):
        raise FormatError(
            "that is no age or SSH public key that can be encrypted to",
            hint="give an `age1...`, `ssh-ed25519 ...` or `ssh-rsa ...` public key",
        ) from None
    return sealed


def decrypt_with(identity: str, sealed: bytes) -> bytes | None:
    """The plaintext of an age file, or None if it is not encrypted to `identity`.

    `identity`: `AGE-SECRET-KEY-1...`, or the text of an unencrypted OpenSSH private key; FormatError otherwise.
    """
    pyrage = _pyrage()
    try:
        if identity.lstrip().startswith("-----BEGIN"):
            loaded = pyrage.ssh.Identity.from_buffer(identity.encode())
        else:
            loaded = pyrage.x25519.Identity.from_str(identity.strip())
    except pyrage.IdentityError:
        raise FormatError(
            "that is no age identity and no SSH private key without a passphrase",
            hint="give an `AGE-SECRET-KEY-1...` or an OpenSSH private key",
        ) from None
    try:
        plain: bytes = pyrage.decrypt(sealed, [loaded])
    except pyrage.DecryptError:
        return None
    return plain


def recipient_of(identity: str) -> str:
    """The `age1...` recipient of an `AGE-SECRET-KEY-1...` identity."""
    return str(_age_keys(identity)[1])


def mac(key: EpochKey, parts: Iterable[bytes | memoryview]) -> bytes:
    """Keyed BLAKE2b-256 of the parts, one after another; the caller sees to it that they can't be confused."""
    state = blake2b(key=key.mac, digest_size=MAC_BYTES, person=_MAC_PERSON)
    for part in parts:
        state.update(part)
    return state.digest()


def same(left: bytes, right: bytes) -> bool:
    """Whether two MACs are equal, in constant time."""
    return hmac.compare_digest(left, right)


def _encrypted(key: EpochKey, packed: bytes) -> bytes:
    _, recipient = _age_keys(key.identity)
    sealed: bytes = _pyrage().encrypt(packed, [recipient])
    return sealed


def _decompress(packed: bytes, limit: int, what: str) -> bytes:
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})
    try:
        # One byte more than allowed tells "exactly the limit" from "more than the limit".
        plain = decompressor.decompress(packed, max_length=limit + 1)
    except zstd.ZstdError:
        raise FormatError(f"{what} does not decompress") from None
    if len(plain) > limit:
        raise FormatError(f"{what} decompresses to more than it may hold")
    if not decompressor.eof or decompressor.unused_data:
        raise FormatError(f"{what} is not exactly one zstd frame")
    return plain


def _pyrage() -> Any:
    # Loading it costs 10 ms that most commands need not pay.
    import pyrage  # noqa: PLC0415 - see above

    return pyrage


@lru_cache(maxsize=16)
def _age_keys(identity: str) -> tuple[Any, Any]:
    loaded = _pyrage().x25519.Identity.from_str(identity)
    return loaded, loaded.to_public()
