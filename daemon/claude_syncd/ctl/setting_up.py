"""What `init` and `run-default` do: look at a store, create or join the vault in it, and keep that on this device.

Whatever fails or is stopped, at any point, leaves nothing behind: nothing is written here before the vault is open,
config.toml is written last, and what was made at the store is taken back.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from claude_syncd import config
from claude_syncd.crypto.keys import load_keys, save_keys
from claude_syncd.errors import LocalError, NoSuchPlace, StoreError, StoreRefused, SyncError
from claude_syncd.local import device as devices
from claude_syncd.local import keychain
from claude_syncd.local.private_file import make_private_folder, write_private
from claude_syncd.store.open import StoreOptions, open_store
from claude_syncd.store.place import place_of
from claude_syncd.store.probe import probe, reach
from claude_syncd.store.undo import Undoing
from claude_syncd.vault import header as headers
from claude_syncd.vault.layout import KEYS_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
    from pathlib import Path

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.local.device import Device
    from claude_syncd.local.home import Places
    from claude_syncd.store.base import Store
    from claude_syncd.vault.header import Header

_T = TypeVar("_T")

SECRETS = ("secret_access_key", "session_token", "password", "token")
"""What of a `[store]` section goes to the system's keychain where that is wanted."""

_STOPPING = (signal.SIGTERM, signal.SIGHUP)
_ATTEMPTS = 2
"""Somebody is waiting for the answer: a store that does not answer is reported, not waited for."""
_THREADS_WITHIN = 3.0
_TAKE_BACK_WITHIN = 20.0
"""Seconds for each thing to take back; after that its remains are left."""

# What a creation that was cut off may have left; anything else means that the place is in use.
_LEFTOVERS = (KEYS_PREFIX, "probe/")


@dataclass(frozen=True, slots=True)
class Found:
    """A store that works, and the vault in it, if there is one. `notes`: what is odd yet bearable about it.

    `refuses`: see `store.probe.Probe`.
    """

    address: str
    header: Header | None
    notes: tuple[str, ...] = ()
    refuses: bool = True


@dataclass(frozen=True, slots=True)
class Opened:
    """An open vault. `recovery_code` is None where the vault was there before."""

    address: str
    keys: VaultKeys
    recovery_code: str | None = None


class SettingUp:
    """One attempt to set this device up, with an event loop of its own. Leaving it, also by SIGTERM or SIGHUP, takes
    back all that it made, here and at the store, unless `keep` has succeeded.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._runner = asyncio.Runner()
        self._threads = ThreadPoolExecutor(thread_name_prefix="setting-up")
        self._store: Store | None = None
        self._undo: list[Callable[[], Awaitable[None]]] = []
        self._before: dict[signal.Signals, Any] = {}
        self._stopped_by: int | None = None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._runner.get_loop().set_default_executor(self._threads)
        self._before = {number: signal.signal(number, self._stop) for number in _STOPPING}
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self.take_back()
        finally:
            self._runner.close()
            for number, handler in self._before.items():
                signal.signal(number, handler)
        if self._stopped_by is not None and isinstance(error, KeyboardInterrupt):
            raise SystemExit(128 + self._stopped_by)  # as a shell tells of who ended by a signal

    def look(self, options: StoreOptions, *, make: bool, region: str | None = None) -> Found:
        """Try the store for real and look for a vault in it. What an earlier look made is taken back.

        `make`: where there is no such folder, bucket or repository, make it (a bucket in `region`). Raises
        StoreError, FormatError; NoSuchPlace unless `make`; StoreRefused where the place holds other things.
        """
        self.take_back()
        return self._run(self._look(options, make=make, region=region))

    def join(self, found: Found, secret: str) -> Opened:
        """Open the vault that was found with its passphrase or recovery code. Raises WrongKey and its kin."""
        if found.header is None or self._store is None:
            raise StoreError(f"there is no vault at {found.address}")
        return Opened(found.address, self._run(headers.unlock(self._store, found.header, secret)))

    def create(self, found: Found, passphrase: str | None, code: str | None = None) -> Opened:
        """Make a vault where none was found, with the recovery code `code` (None: a new one).

        `passphrase` None: it opens with the recovery code only. Raises StoreError.
        """
        if self._store is None:
            raise StoreError(f"there is no store at {found.address}")
        undoing = Undoing(self._store)
        self._undo.append(undoing.undo)
        made = self._run(headers.create(undoing, passphrase=passphrase, code=code))
        return Opened(found.address, made.keys, made.recovery_code)

    def keep(
        self, opened: Opened, settings: Mapping[str, Any], name: str | None, *, force: bool, in_keychain: bool = False
    ) -> Device:
        """Write vault.key, device.json and, last, config.toml. After a failure all is as it was.

        `settings` are the sections of config.toml to set; others in an older file stay. `name` is the device's name,
        None for the one it has or the host's. `in_keychain`: the store's secrets go there. Raises LocalError, also
        where a key or config is there and `force` is not set.
        """
        old_items = config.keychain_items(self._places.config)
        item = None
        try:
            if in_keychain:
                section, item = without_secrets(settings["store"])
                settings = {**settings, "store": section}
            with _uninterrupted():
                device = _keep(self._places, opened, settings, name, force=force)
                self._undo.clear()
        except BaseException:
            if item is not None:
                keychain.forget(item)
            raise
        for old in set(old_items).difference(config.keychain_items(self._places.config)):
            keychain.forget(old)
        return device

    def with_store(self, work: Callable[[Store], Coroutine[Any, Any, _T]]) -> _T:
        """Work with the store that was looked at."""
        if self._store is None:
            raise StoreError("there is no store")
        return self._run(work(self._store))

    def settle(self) -> None:
        """Keep what was made."""
        self._undo.clear()

    def take_back(self) -> None:
        """Take back what was made so far. Never fails: what can't be reached any more is left."""
        with _uninterrupted():
            # Work in threads goes on after it was cancelled, and what it still makes has to go, too. But nobody wants
            # to wait for a name server that does not answer.
            ending = threading.Thread(target=self._threads.shutdown, daemon=True)
            ending.start()
            ending.join(_THREADS_WITHIN)
            self._threads = ThreadPoolExecutor(thread_name_prefix="setting-up")
            self._runner.get_loop().set_default_executor(self._threads)
            while self._undo:
                with suppress(SyncError, TimeoutError):
                    self._run(_in_time(self._undo.pop()))
            self._close()

    async def _look(self, options: StoreOptions, *, make: bool, region: str | None) -> Found:
        self._remember_state_folder()
        place = place_of(options, region)
        self._undo.append(place.take_back)
        store = self._store = open_store(options, attempts=_ATTEMPTS).store
        try:
            await place.prepare()
            await reach(store)
        except NoSuchPlace:
            if not make:
                raise
            await place.make()
            await reach(store)
        header = await headers.read_header(store)
        if header is None:
            await _refuse_others(store)
        tried = await probe(store)
        return Found(store.address, header, tried.problems, tried.refuses)

    def _stop(self, number: int, _frame: object) -> None:
        """Who is told to end, or whose terminal is gone, ends as after Ctrl-C: what is under way is cancelled, so that
        no library is cut off in the middle of its own work.
        """
        self._stopped_by = number
        if self._task is None:
            raise KeyboardInterrupt
        self._runner.get_loop().call_soon_threadsafe(self._task.cancel)

    def _remember_state_folder(self) -> None:
        state = self._places.state
        if state.exists():
            return

        async def remove() -> None:
            with suppress(OSError):  # there is something else in it by now
                state.rmdir()

        self._undo.append(remove)

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with suppress(SyncError):
                self._run(store.close())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        async def stoppable() -> _T:
            self._task = asyncio.current_task()
            try:
                return await work
            finally:
                self._task = None

        try:
            return self._runner.run(stoppable())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


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


async def _in_time(act: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(_TAKE_BACK_WITHIN):
        await act()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Be stopped by nobody: what is under way takes a moment, and half of it would be left behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_STOPPING)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _refuse_others(store: Store) -> None:
    others = [info.name for info in await store.list("") if not info.name.startswith(_LEFTOVERS)]
    if others:
        raise StoreRefused(
            f"{store.address} holds other things ({others[0]!r}) and no vault",
            hint="choose an empty place, for example with --prefix",
        )


def _keep(places: Places, opened: Opened, settings: Mapping[str, Any], name: str | None, *, force: bool) -> Device:
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
        old = _old_settings(places.config)
        if not same_vault:
            old.pop("also", None)  # they mirror another vault
        config.write_config(places.config, {**old, **settings})
    except BaseException:
        for path in written:
            _restore(path, before[path])
        raise
    return device


def without_secrets(section: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A store's section with its secrets gone to the keychain, and the name of the item that holds them."""
    section = {key: value for key, value in section.items() if value is not None}
    secret = {key: section.pop(key) for key in SECRETS if key in section}
    if not secret:
        return section, None
    item = keychain.keep(secret)
    return {**section, "keychain": item}, item


def _device(places: Places, opened: Opened, name: str | None) -> tuple[Device, bool]:
    """Who this device is in the opened vault, and whether that is the vault that it was in."""
    with suppress(SyncError):
        if load_keys(places.key).vault_id == opened.keys.vault_id:
            known = devices.load(places.device)
            return (known if name is None else devices.renamed(known, name)), True
    return devices.create(name or devices.default_name()), False


def _forget_state(places: Places) -> None:
    """What is known of another vault is worse than nothing."""
    for suffix in ("", "-wal", "-shm"):
        places.database.with_name(places.database.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(places.outbox, ignore_errors=True)


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
