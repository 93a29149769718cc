"""What `init` and `run-default` do: look at a store, create or join the vault in it, and keep that on this device.

The order makes every failure harmless: nothing is written here before the vault is open, config.toml is written
last, and what a failed attempt wrote is taken back.
"""

from __future__ import annotations

import asyncio
import shutil
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_syncd import config
from claude_syncd.crypto.keys import load_keys, save_keys
from claude_syncd.errors import LocalError, StoreError, StoreRefused, SyncError
from claude_syncd.local import device as devices
from claude_syncd.local.device import Device
from claude_syncd.local.private_file import make_private_folder, write_private
from claude_syncd.store.open import FolderOptions, StoreOptions, create_store, open_store
from claude_syncd.store.probe import probe
from claude_syncd.vault import header as headers
from claude_syncd.vault.layout import HEADER_NAME, KEYS_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.local.home import Places
    from claude_syncd.store.base import Store
    from claude_syncd.vault.header import Header

_ATTEMPTS = 2
"""Somebody is waiting for the answer: a store that does not answer is reported, not waited for."""

# What a creation that was cut off may have left; anything else means that the place is in use.
_LEFTOVERS = (KEYS_PREFIX, "probe/")


@dataclass(frozen=True, slots=True)
class Found:
    """A store that answers, and the vault in it, if there is one. `notes`: what is odd yet bearable about it."""

    options: StoreOptions
    address: str
    header: Header | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """An open vault. `recovery_code` is None where the vault was there before."""

    address: str
    keys: VaultKeys
    recovery_code: str | None = None


async def look(options: StoreOptions) -> Found:
    """Try the store for real and look for a vault in it. A folder that is not there yet, or empty, is left alone.

    Raises StoreError, FormatError; StoreRefused where the place holds other things.
    """
    if isinstance(options, FolderOptions) and await asyncio.to_thread(_untouched, options.path):
        return Found(options, options.path.as_uri(), None)
    await create_store(options)  # refuses a folder of other things; makes nothing anew here
    store = open_store(options, attempts=_ATTEMPTS).store
    try:
        header = await headers.read_header(store)
        tried = await probe(store)
        if header is None:
            await _refuse_others(store)
        return Found(options, store.address, header, tried.problems)
    finally:
        await store.close()


async def join(found: Found, secret: str) -> Opened:
    """Open the vault that was found with its passphrase or recovery code. Raises WrongKey and its kin."""
    if found.header is None:
        raise StoreError(f"there is no vault at {found.address}")
    store = open_store(found.options, attempts=_ATTEMPTS).store
    try:
        return Opened(found.address, await headers.unlock(store, found.header, secret))
    finally:
        await store.close()


async def create(found: Found, passphrase: str | None) -> Opened:
    """Make a vault where none was found; None: it opens with the recovery code only. Raises StoreError."""
    await create_store(found.options)
    store = open_store(found.options, attempts=_ATTEMPTS).store
    try:
        await probe(store)  # a folder that was not there could not be tried before
        made = await headers.create(store, passphrase=passphrase)
        return Opened(found.address, made.keys, made.recovery_code)
    finally:
        await store.close()


async def uncreate(found: Found, opened: Opened) -> None:
    """Take back a vault that nobody can have used: its recovery code was never shown. Never fails."""
    if opened.recovery_code is None:
        return
    store = open_store(found.options, attempts=_ATTEMPTS).store
    with suppress(SyncError):
        header = await headers.read_header(store)
        if header is not None and header.vault_id == opened.keys.vault_id:
            await store.delete(HEADER_NAME)
            for info in await store.list(KEYS_PREFIX):
                await store.delete(info.name)
    with suppress(SyncError):
        await store.close()


def keep(places: Places, opened: Opened, settings: dict[str, Any], name: str | None, *, force: bool) -> Device:
    """Write vault.key, device.json and, last, config.toml. After a failure all is as it was.

    `settings` are the sections of config.toml to set; others in an older file stay. `name` is the device's name, None
    for the one it has or the host's. A device that changes to another vault gets a new id and forgets the old
    vault's state. Raises LocalError, also where a key or config is there and `force` is not set.
    """
    refuse_replacing(places, force=force)
    make_private_folder(places.state)
    written = (places.key, places.device, places.config)
    before = {path: _contents(path) for path in written}
    device, same_vault = _device(places, opened, name)
    try:
        save_keys(places.key, opened.keys, replace=force)
        devices.save(places.device, device)
        if not same_vault:
            _forget_state(places)
        config.write_config(places.config, {**_old_settings(places.config), **settings})
    except BaseException:
        for path in written:
            _restore(path, before[path])
        raise
    return device


def refuse_replacing(places: Places, *, force: bool) -> None:
    """Raise LocalError where this device is set up already, unless `force`."""
    if force:
        return
    for path, what in ((places.key, "a vault key"), (places.config, "settings")):
        if path.exists():
            raise LocalError(
                f"this device is set up already: {path} holds {what}",
                hint="`claude-syncctl status` shows how it is; `init --force` replaces both",
            )


def _device(places: Places, opened: Opened, name: str | None) -> tuple[Device, bool]:
    """Who this device is in the opened vault, and whether that is the vault that it was in."""
    with suppress(SyncError):
        if load_keys(places.key).vault_id == opened.keys.vault_id:
            known = devices.load(places.device)
            return (known if name is None else Device(id=known.id, name=devices.create(name).name)), True
    return devices.create(name or devices.default_name()), False


def _forget_state(places: Places) -> None:
    """What is known of another vault is worse than nothing."""
    for suffix in ("", "-wal", "-shm"):
        places.database.with_name(places.database.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(places.outbox, ignore_errors=True)


async def _refuse_others(store: Store) -> None:
    others = [info.name for info in await store.list("") if not info.name.startswith(_LEFTOVERS)]
    if others:
        raise StoreRefused(
            f"{store.address} holds other things ({others[0]!r}) and no vault",
            hint="choose an empty place, for example with --prefix",
        )


def _untouched(path: Path) -> bool:
    """Whether the folder is not there or holds nothing at all."""
    try:
        return not any(path.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False  # the store says what is wrong with it


def _old_settings(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return tomllib.loads(path.read_text(encoding="utf-8"))
    return {}


def _contents(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalError(f"can't read {path}: {error.strerror}") from error


def _restore(path: Path, before: bytes | None) -> None:
    with suppress(LocalError, OSError):
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_private(path, before)
