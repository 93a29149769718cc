"""Whether an object is whole: every byte of it, without a look at what it says. Pure; callers choose the thread."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claude_syncd.errors import IntegrityError, VaultError
from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from claude_syncd.crypto.keys import VaultKeys


def verify(keys: VaultKeys, name: str, data: bytes) -> str:
    """See that `data` is the object `name` of this vault, to the last byte; gives its SHA-256 (hex).

    Raises IntegrityError, FormatError, WrongKey as the codec does.
    """
    for number, info in enumerate(codec.open_blobs(keys, name, data)):
        if sha256(data[info.offset : info.offset + info.length]).hexdigest() != info.sha256:
            raise IntegrityError(f"blob {number} of {name} was altered: its SHA-256 is not the one in the index")
    return sha256(data).hexdigest()


def may_be_whole(keys: VaultKeys, name: str, data: bytes) -> bool:
    """Whether `data` is the object `name` as far as these keys can tell: of what they can't, a key slot say, it may."""
    if name == layout.HEADER_NAME:
        return sha256(data).hexdigest() == keys.header
    if layout.try_parse(name) is None:
        return True
    try:
        verify(keys, name, data)
    except IntegrityError:
        return False
    except VaultError:  # of another version, or of a key that this device has not got yet
        return True
    return True
