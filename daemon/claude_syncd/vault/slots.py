"""Key slots: age files that each wrap the vault's keys for one recipient."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from claude_syncd.crypto import seal
from claude_syncd.crypto.keys import MAX_KEY_TEXT, VaultKeys, decode_keys, encode_keys
from claude_syncd.errors import FormatError, ObjectMissing, UsageError
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.store.base import Store

MAX_SLOTS: Final = 64


class Kind(StrEnum):
    """Who a slot is for; the first part of its name."""

    PASSPHRASE = "passphrase"  # noqa: S105 - the word, not a passphrase
    RECOVERY = "recovery"
    AGE = "age"
    SSH = "ssh"


def kind_of(slot: str) -> Kind | None:
    """The kind of a slot by its name, None for a name that this program does not give."""
    try:
        return Kind(slot.partition("-")[0])
    except ValueError:
        return None


async def listed(store: Store) -> list[str]:
    """The vault's slots by name, sorted. Raises FormatError beyond 64 of them."""
    found = sorted(
        slot for info in await store.list(layout.KEYS_PREFIX) if (slot := layout.parse_slot(info.name)) is not None
    )
    if len(found) > MAX_SLOTS:
        raise FormatError(f"the vault has {len(found)} key slots, more than the {MAX_SLOTS} that it may")
    return found


async def read(store: Store) -> dict[str, bytes]:
    """Every slot's age file by the slot's name; those of an impossible size are left out."""
    found = {}
    for slot in await listed(store):
        try:
            data = await store.get(layout.slot_name(slot))
        except ObjectMissing:
            continue  # removed since it was listed
        if len(data) <= 2 * MAX_KEY_TEXT:
            found[slot] = data
    return found


def open_slot(slot: str, data: bytes, identity: str) -> VaultKeys | None:
    """The keys in a slot's age file; None if it is not for `identity`. Raises FormatError."""
    text = seal.decrypt_with(identity, data)
    return None if text is None else decode_keys(text, f"the key slot {slot}")


async def add(
    store: Store, keys: VaultKeys, kind: Kind, recipient: str, random: Callable[[int], bytes] = os.urandom
) -> str:
    """Add a slot for a recipient `age1...` or `ssh-...`; gives its name, which no earlier slot has."""
    slot = f"{kind}-{random(8).hex()}"
    await store.put(layout.slot_name(slot), seal.encrypt_to(recipient, encode_keys(keys)), if_absent=True)
    return slot


async def add_recipient(
    store: Store, keys: VaultKeys, recipient: str, random: Callable[[int], bytes] = os.urandom
) -> str:
    """Add a slot for another person's or machine's public key; gives its name. FormatError for no such key."""
    kind = Kind.SSH if recipient.lstrip().startswith("ssh-") else Kind.AGE
    return await add(store, keys, kind, recipient.strip(), random)


async def remove(store: Store, slot: str) -> None:
    """Remove a slot. Raises UsageError for one that is not there, or the last one."""
    present = await listed(store)
    if slot not in present:
        raise UsageError(f"there is no key slot {slot!r}", hint="`claude-syncctl key list` shows them")
    if len(present) == 1:
        raise UsageError("that is the last key slot; without it nobody could open the vault", hint="add another first")
    await store.delete(layout.slot_name(slot))
