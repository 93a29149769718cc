"""The vault's public header, creating a vault, and opening one with a passphrase or a recovery code."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from claude_syncd.crypto import seal
from claude_syncd.crypto.keys import KEY_BYTES, EpochKey, VaultKeys
from claude_syncd.crypto.passphrase import Argon2, passphrase_identity
from claude_syncd.crypto.recovery import looks_like_code, new_code, parse_code, recovery_identity
from claude_syncd.errors import AlreadyExists, FormatError, IntegrityError, ObjectMissing, StoreError, WrongKey
from claude_syncd.vault import layout, slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from claude_syncd.store.base import Store

FORMAT: Final = "claude-syncd vault"
VERSION: Final = 1
MAX_HEADER: Final = 16 * 1024

_Hex32 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
_Cost = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["argon2id"]
    salt: _Hex32
    memory_kib: _Cost
    time: _Cost
    parallelism: _Cost


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    version: int
    vault: _Hex32
    kdf: _Kdf


class _Version(msgspec.Struct, frozen=True):
    """What every version's header has; the rest is read once the version is known."""

    format: str
    version: int


_version_decoder = msgspec.json.Decoder(_Version)
_file_decoder = msgspec.json.Decoder(_File)


@dataclass(frozen=True, slots=True)
class Header:
    """vault.json. `salt` is ASCII text; `sha256` (hex) is that of the file's bytes, which the key slots repeat."""

    vault_id: str
    salt: str
    cost: Argon2
    sha256: str


@dataclass(frozen=True, slots=True)
class Created:
    """A new vault. The recovery code is nowhere else: show it to the user once."""

    keys: VaultKeys
    header: Header
    recovery_code: str = field(repr=False)


def encode_header(vault_id: str, salt: str, cost: Argon2) -> bytes:
    """The bytes of vault.json."""
    kdf = _Kdf("argon2id", salt, cost.memory_kib, cost.time, cost.parallelism)
    return msgspec.json.format(msgspec.json.encode(_File(FORMAT, VERSION, vault_id, kdf)), indent=2) + b"\n"


def decode_header(data: bytes) -> Header:
    """Reads vault.json. Raises FormatError, also for costs below or beyond what is safe."""
    if len(data) > MAX_HEADER:
        raise FormatError("vault.json is too large to be a vault's header")
    try:
        version = _version_decoder.decode(data)
        if version.format != FORMAT:
            raise FormatError("vault.json is not the header of a claude-syncd vault")
        if version.version != VERSION:
            raise FormatError(
                f"the vault is of format version {version.version}; this program reads version {VERSION}",
                hint="update claude-syncd on this device",
            )
        file = _file_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FormatError(f"vault.json is malformed: {error}") from None
    cost = Argon2(file.kdf.memory_kib, file.kdf.time, file.kdf.parallelism)
    return Header(file.vault, file.kdf.salt, cost, sha256(data).hexdigest())


async def read_header(store: Store) -> Header | None:
    """The header of the vault in `store`, None where there is none."""
    try:
        data = await store.get(layout.HEADER_NAME)
    except ObjectMissing:
        return None
    return decode_header(data)


async def create(
    store: Store,
    *,
    passphrase: str | None,
    code: str | None = None,
    kdf: Argon2 | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Created:
    """Make a vault that opens with the recovery code, and with `passphrase` unless that is None.

    `code`: the recovery code, from `new_code`; None: a new one.
    The slots are written before the header: cut off anywhere, there is either no vault yet or one that opens.
    Raises AlreadyExists if there is a vault, also one that another device made at the same moment.
    """
    taken = AlreadyExists(
        f"there is a vault in {store.address} already",
        hint="join it with its passphrase or recovery code, or choose another place",
    )
    if await read_header(store) is not None:
        raise taken
    data = encode_header(random(16).hex(), random(16).hex(), kdf or Argon2())
    header = decode_header(data)
    keys = VaultKeys(header.vault_id, header.sha256, (EpochKey(1, random(KEY_BYTES)),))
    written = []
    if passphrase is not None:
        written.append(await add_passphrase(store, header, keys, passphrase, random=random))
    code = code or new_code(random)
    written.append(await _add_code(store, keys, code, random))
    with suppress(AlreadyExists):  # perhaps our own, its first answer lost: what is there now decides
        await store.put(layout.HEADER_NAME, data, if_absent=True)
    if (await read_header(store)) != header:
        for slot in written:
            await _drop(store, slot)
        raise taken
    return Created(keys, header, code)


async def unlock(store: Store, header: Header, secret: str) -> VaultKeys:
    """The vault's keys, opened with a passphrase, a recovery code, or an age or SSH identity.

    Raises WrongKey if no slot opens, IntegrityError if slots open but belong to another header: then vault.json
    or the slots were replaced.
    """
    sealed = await slots.read(store)
    foreign = False
    async for identity in _identities(header, secret):
        for slot, data in sealed.items():
            keys = await asyncio.to_thread(slots.open_slot, slot, data, identity)
            if keys is None:
                continue
            if keys.vault_id == header.vault_id and keys.header == header.sha256:
                return keys
            foreign = True
    if foreign:
        raise IntegrityError(
            f"vault.json in {store.address} is not the one that the vault was made with",
            hint="do not enter the passphrase again; ask who else can write to this store",
        )
    if looks_like_code(secret) and parse_code(secret) is None:
        raise WrongKey("the recovery code has a typing error, or this is not the vault's passphrase")
    raise WrongKey("that passphrase or recovery code does not open this vault")


async def add_passphrase(
    store: Store, header: Header, keys: VaultKeys, passphrase: str, *, random: Callable[[int], bytes] = os.urandom
) -> str:
    """Add a slot that opens with `passphrase`; gives its name. UsageError for one that is empty or too long."""
    identity = await asyncio.to_thread(passphrase_identity, passphrase, header.salt, header.cost)
    recipient = await asyncio.to_thread(seal.recipient_of, identity)
    return await slots.add(store, keys, slots.Kind.PASSPHRASE, recipient, random)


async def add_recovery(store: Store, keys: VaultKeys, *, random: Callable[[int], bytes] = os.urandom) -> str:
    """Add a slot for a new recovery code; gives the code."""
    code = new_code(random)
    await _add_code(store, keys, code, random)
    return code


async def change_passphrase(
    store: Store, header: Header, keys: VaultKeys, passphrase: str, *, random: Callable[[int], bytes] = os.urandom
) -> None:
    """Make `passphrase` the only one: the new slot is there before the old ones go."""
    old = [slot for slot in await slots.listed(store) if slots.kind_of(slot) is slots.Kind.PASSPHRASE]
    new = await add_passphrase(store, header, keys, passphrase, random=random)
    for slot in old:
        if slot != new:
            await store.delete(layout.slot_name(slot))


async def _add_code(store: Store, keys: VaultKeys, code: str, random: Callable[[int], bytes]) -> str:
    secret = parse_code(code)
    if secret is None:
        raise FormatError("that is no recovery code")
    recipient = await asyncio.to_thread(seal.recipient_of, recovery_identity(secret))
    return await slots.add(store, keys, slots.Kind.RECOVERY, recipient, random)


async def _identities(header: Header, secret: str) -> AsyncIterator[str]:
    """The identities that `secret` may stand for, the cheap ones first."""
    if secret.lstrip().startswith(("AGE-SECRET-KEY-1", "-----BEGIN")):
        yield secret
        return
    code = parse_code(secret)
    if code is not None:
        yield recovery_identity(code)
    if secret:
        yield await asyncio.to_thread(passphrase_identity, secret, header.salt, header.cost)


async def _drop(store: Store, slot: str) -> None:
    with suppress(StoreError):  # if it stays behind, it opens nothing but the vault that was never made
        await store.delete(layout.slot_name(slot))
