"""Puts one device together: settings, keys, state, store, engine."""

from __future__ import annotations

import gc
import json
import os
import resource
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd import config
from claude_syncd.core.portable import Root
from claude_syncd.core.rules import Rules, Scope
from claude_syncd.crypto.keys import load_keys
from claude_syncd.engine.pathmap import PathMap
from claude_syncd.engine.site import Site
from claude_syncd.engine.timing import Intervals
from claude_syncd.engine.versions import expire_trash
from claude_syncd.errors import NotSetUp, StateBroken
from claude_syncd.local import device as device_file
from claude_syncd.local.apply import Applier
from claude_syncd.local.content import Contents
from claude_syncd.local.database import copied, empty
from claude_syncd.local.private_file import write_private
from claude_syncd.local.state import State
from claude_syncd.local.syscalls import keep_freed_memory
from claude_syncd.local.trash import Trash
from claude_syncd.log import get_logger
from claude_syncd.store.open import Opened, open_mirrored
from claude_syncd.vault.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.local.home import Places
    from claude_syncd.settings import Settings

_log = get_logger(__name__)

WORKERS = min(4, max(2, os.cpu_count() or 2) + 1)
"""Threads for blocking work: one more than cores, since one often waits for the disk. Still more of them only take the
interpreter's lock from each other.
"""
_AT_REST = "at_rest"


def load_settings(places: Places) -> Settings:
    """The settings. Raises NotSetUp where `init` has not been run, ConfigError, LocalError."""
    if not places.config.exists() or not places.key.exists():
        raise NotSetUp("this device is not set up")
    return config.load(places.config)


def intervals(settings: Settings) -> Intervals:
    """The times of the settings as the engine takes them."""
    return Intervals(
        quiet=settings.debounce.quiet,
        limit=settings.debounce.limit,
        active=settings.poll.active,
        idle=settings.poll.idle,
        roster=settings.poll.roster,
        list=settings.poll.list,
        scan=settings.scan.interval,
    )


def opened_store(places: Places, settings: Settings) -> Opened:
    """The store of the settings, or all of them as one; nothing is connected before its first use. Raises NotSetUp
    where there is none.
    """
    if settings.store is None:
        raise NotSetUp("no store is configured on this device")
    limits = settings.limits
    notes = None
    with suppress(OSError):  # there are none, or they say nothing: listings tell what is missing
        notes = places.mirrors.read_bytes()
    return open_mirrored(
        [settings.store, *settings.also],
        notes=notes,
        save=partial(write_private, places.mirrors),
        parallel=limits.parallel,
        up=limits.up * 1024.0 if limits.up is not None else None,
        down=limits.down * 1024.0 if limits.down is not None else None,
    )


@contextmanager
def opened_site(places: Places, settings: Settings, opened: Opened) -> Iterator[Site]:
    """One device ready to work. The caller holds the lock, and closes the store on its event loop."""
    keys, device = load_keys(places.key), device_file.load(places.device)
    with _state(places, keys.vault_id, device.id) as state, _site(places, settings, opened, keys, state) as site:
        yield site


@contextmanager
def viewed_site(places: Places, settings: Settings, opened: Opened) -> Iterator[Site]:
    """One device to look at, while another process may work on it: its state is a copy in memory, so that nothing needs
    the lock, and the database is never made, written or set aside. Raises StateBroken, LocalError.
    """
    keys, device = load_keys(places.key), device_file.load(places.device)
    with _copied_state(places, keys.vault_id, device.id) as state, _site(places, settings, opened, keys, state) as site:
        yield site


@contextmanager
def _site(places: Places, settings: Settings, opened: Opened, keys: VaultKeys, state: State) -> Iterator[Site]:
    device = device_file.load(places.device)
    places.conflicts.mkdir(mode=0o700, parents=True, exist_ok=True)
    _allow_many_files()
    keep_freed_memory()
    gc.freeze()  # what is loaded by now stays
    rules = Rules(Scope(settings.scope), tuple(settings.include), tuple(settings.exclude))
    follow = tuple(Path(os.path.realpath(folder)) for folder in settings.follow)
    state.set_meta("vault", keys.vault_id)
    state.set_meta("device", device.id)
    _note_rules(state, settings)
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="worker")
    trash = Trash(places.trash)

    def new_id() -> device_file.Device:
        before = device_file.load(places.device)
        position = state.positions().get(before.id)
        fresh = device_file.renewed(before, position.seq if position is not None else 0)
        device_file.save(places.device, fresh)
        state.set_meta("device", fresh.id)
        _log.warning("this device's id lived twice; it has a new one", device=fresh.id)
        return fresh

    try:
        yield Site(
            me=device.id,
            former=device.former,
            name=device.name,
            vault_id=keys.vault_id,
            places=places,
            state=state,
            store=opened.store,
            counter=opened.counter,
            keys=keys,
            reader=_reader(opened, keys, pool, settings.limits.parallel),
            rules=rules,
            paths=PathMap(rules=rules, state=state, homes=_homes(places), tree=places.tree),
            appliers={
                Root.TREE: Applier(places.tree, trash),
                Root.CONFLICTS: Applier(places.conflicts, trash),
            },
            contents={
                Root.TREE: Contents(places.tree, follow),
                Root.CONFLICTS: Contents(places.conflicts),
            },
            pool=pool,
            now_ns=time.time_ns,
            monotonic=time.monotonic,
            rest_ns=int(settings.live.seconds * 1e9),
            new_id=new_id,
            retention_days=settings.retention.days,
            retention_bytes=settings.retention.bytes,
            follow=follow,
            mirror=opened.mirror,
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def tidied(site: Site) -> Iterator[None]:
    """Around all work that changes something. What a crash left behind is cleared away, which takes a walk through
    the tree, only after a crash or the loss of the state; and what was kept for long enough to be restored goes.
    """
    if site.state.meta(_AT_REST) is None:
        if site.places.tree.is_dir():
            site.appliers[Root.TREE].clean_leftovers(site.rules.descends)
        site.appliers[Root.CONFLICTS].clean_leftovers(lambda _: True)
    site.state.set_meta_durably(_AT_REST, None)  # or a power cut would take it back and leave what was begun
    expire_trash(site)
    yield  # an error passes by the next line on purpose: what it left behind is looked for at the next start
    site.state.set_meta(_AT_REST, "yes")


def _reader(opened: Opened, keys: VaultKeys, pool: Executor, parallel: int) -> Reader:
    """What reads the vault; where one store of a mirror has damaged an object, from another."""
    if opened.mirror is None:
        return Reader(opened.store, keys, pool, parallel=parallel)
    return Reader(opened.store, keys, pool, parallel=parallel, doubt=opened.mirror.doubt)


def _homes(places: Places) -> tuple[str, ...]:
    spellings = [os.path.realpath(places.user_home), str(places.user_home)]
    return tuple(dict.fromkeys(spellings))


def _state(places: Places, vault_id: str, device_id: str) -> State:
    """The state of this device in this vault. A broken one, or one of another vault or device, is set aside: all of
    it is rebuilt from the vault and the disk.
    """
    try:
        state = State(places.database)
    except StateBroken as error:
        reason = str(error)
    else:
        if _belongs(state, vault_id, device_id):
            return state
        state.close()
        reason = "the state database belongs to another vault or device"
    _log.warning("the state is rebuilt from the vault and the disk", reason=reason)
    for ending in ("", "-wal", "-shm"):
        old = places.database.with_name(places.database.name + ending)
        if old.exists():
            old.replace(old.with_name(f"broken-{old.name}"))
    return State(places.database)


def _copied_state(places: Places, vault_id: str, device_id: str) -> State:
    """A copy of the state, in memory; an empty one where it is of another vault or device, as the next sync begins."""
    try:
        state = State(places.database, copied)
    except StateBroken as error:
        raise StateBroken("the state is damaged", hint="the next sync rebuilds it: `claude-syncctl sync`") from error
    if _belongs(state, vault_id, device_id):
        return state
    state.close()
    return State(places.database, empty)


def _belongs(state: State, vault_id: str, device_id: str) -> bool:
    return (state.meta("vault") or vault_id) == vault_id and (state.meta("device") or device_id) == device_id


def _note_rules(state: State, settings: Settings) -> None:
    """When another choice of files is synced than the last time, look at everything in the vault again."""
    rules = json.dumps([settings.scope, list(settings.include), list(settings.exclude)])
    if state.meta("rules") not in {None, rules}:
        state.reconsider()
    state.set_meta("rules", rules)


def _allow_many_files() -> None:
    """Batches keep hundreds of files open; the usual soft limit is 1,024, the hard one far above."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(16_384, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
