"""`claude-syncctl reset`: forget this device's state, or delete the vault. Nothing in the synced tree is touched."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from claude_syncd.ctl.flags import ask, confirm, given, on_terminal
from claude_syncd.ctl.options import Command, Option
from claude_syncd.ctl.terminal import line, say
from claude_syncd.errors import LocalError, NotSetUp, UsageError
from claude_syncd.local.home import Places
from claude_syncd.local.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.ctl.options import Given
    from claude_syncd.store.base import Store

COMMAND = Command(
    "reset",
    "forget this device's state (--local), delete the whole vault for every device (--remote)",
    options=(
        Option("--local", "delete key, settings, database, trash and log of this device; the vault stays"),
        Option("--remote", "delete the vault with everything in it"),
        Option("--vault-id", "the id of the vault to delete, in place of typing it", metavar="ID"),
        Option("--yes", "do not ask", short="-y"),
    ),
)


def run(arguments: Sequence[str]) -> int:
    """Do it. Raises SyncError and its kin; AlreadyRunning while a daemon runs."""
    taken = given(COMMAND, arguments)
    if taken is None:
        return 0
    if not taken.has("--local") and not taken.has("--remote"):
        raise UsageError("say what to reset", hint="--local, --remote or both; see `claude-syncctl reset --help`")
    places = Places.from_environment()
    if not places.state.exists():
        raise NotSetUp("there is nothing to reset: this device is not set up", hint="")
    if taken.has("--local"):
        confirm(taken, f"Delete this device's key, settings and state in {places.state}?", "nothing was deleted")
    with Lock(places.lock):
        if taken.has("--remote"):
            say(_delete_remote(places, taken))
        if taken.has("--local"):
            forget(places)
            say(f"forgot the state in {places.state}; {places.tree} is as it was")
    return 0


def forget(places: Places) -> None:
    """Delete what this program keeps in the state folder, by name: the folder may hold other things, and a vault.

    Raises LocalError. The lock file stays: to remove it would let two processes hold two locks of one name.
    """
    from claude_syncd import config  # noqa: PLC0415 - heavy, and only here
    from claude_syncd.local import keychain  # noqa: PLC0415 - likewise

    for item in config.keychain_items(places.config):
        keychain.forget(item)
    try:
        for path in (places.config, places.key, places.device, places.socket, places.mirrors):
            path.unlink(missing_ok=True)
        for path in places.state.glob(f"{places.database.name}*"):
            path.unlink(missing_ok=True)
        copies = [places.state / config.MIRROR, *places.state.glob("mirror-*.git")]
        for folder in (places.outbox, places.trash, places.conflicts, places.log.parent, *copies):
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                shutil.rmtree(folder)
    except OSError as error:
        raise LocalError(f"can't delete {error.filename or places.state}: {error.strerror}") from error


def _delete_remote(places: Places, taken: Given) -> str:
    """Delete the vault that this device belongs to, from every store that it is in; gives a sentence about each."""
    from claude_syncd import config  # noqa: PLC0415 - heavy, and not needed for --local
    from claude_syncd.crypto.keys import load_keys  # noqa: PLC0415 - likewise
    from claude_syncd.store.open import open_store  # noqa: PLC0415 - likewise
    from claude_syncd.vault.header import read_header  # noqa: PLC0415 - likewise

    settings = config.load(places.config)
    if settings.store is None:
        raise NotSetUp("no vault is configured on this device")
    vault_id = load_keys(places.key).vault_id
    stores = [open_store(options).store for options in (settings.store, *settings.also)]
    said = []
    with asyncio.Runner() as runner:
        try:
            # All are looked at before anything is deleted in one.
            headers = [runner.run(read_header(store)) for store in stores]
            there = [store for store, header in zip(stores, headers, strict=True) if header is not None]
            for store, header in zip(stores, headers, strict=True):
                if header is None:
                    said.append(f"there is no vault at {line(store.address)}")
                elif header.vault_id != vault_id:
                    raise UsageError(
                        f"the vault at {store.address} is not the one that this device belongs to",
                        hint="nothing was deleted; check the store's settings",
                    )
            if there:
                _confirm_vault(taken, " and ".join(store.address for store in there), vault_id)
            for store in there:
                count = runner.run(delete_vault(store))
                said.append(f"deleted the vault at {line(store.address)}: {count} objects")
            return "\n".join(said)
        finally:
            for store in stores:
                runner.run(store.close())


async def delete_vault(store: Store) -> int:
    """Delete every object of the vault in `store`, nothing else; gives their number. Raises StoreError.

    The header goes last: cut off before, what is left is still known as a vault, and the same command goes on.
    """
    from claude_syncd.vault.layout import (  # noqa: PLC0415 - heavy, and not needed for --local
        DEVICES_PREFIX,
        HEADER_NAME,
        KEYS_PREFIX,
        ROSTER_PREFIX,
    )

    count = 0
    for prefix in (DEVICES_PREFIX, ROSTER_PREFIX, KEYS_PREFIX, "probe/"):
        names = [info.name for info in await store.list(prefix)]
        for start in range(0, len(names), 64):
            await asyncio.gather(*map(store.delete, names[start : start + 64]))
        count += len(names)
    await store.delete(HEADER_NAME)
    return count + 1


def _confirm_vault(taken: Given, address: str, vault_id: str) -> None:
    told = taken.value("--vault-id")
    if told is None:
        if not on_terminal():
            raise UsageError("there is nobody to ask", hint=f"say --vault-id {vault_id} if you are sure")
        told = ask(f"This deletes the vault at {line(address)} for every device. Type its id, {vault_id}, to go on:")
    if told != vault_id:
        raise UsageError("that is not the vault's id; nothing was deleted", hint="")
