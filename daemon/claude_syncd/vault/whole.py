"""Whether an object is whole: every byte of it, without a look at what it says. Pure; callers choose the thread."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claude_syncd.errors import IntegrityError
from claude_syncd.vault import codec

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
