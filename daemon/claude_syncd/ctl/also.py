"""`claude-syncctl init --also`: one more store for the vault of this device, filled before it is used."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from claude_syncd import config
from claude_syncd.app.compose import load_settings, opened_store
from claude_syncd.core.status import Progress
from claude_syncd.crypto.keys import load_keys
from claude_syncd.ctl import store_choice, wizard_store
from claude_syncd.ctl.setting_up import SettingUp, without_secrets
from claude_syncd.ctl.show import count, size
from claude_syncd.ctl.terminal import line, note, say
from claude_syncd.errors import AlreadyExists, NoSuchPlace, StoreError, StoreRefused, SyncError, UsageError
from claude_syncd.local import keychain
from claude_syncd.local.lock import Lock
from claude_syncd.store.copy_vault import Copied, copy_vault, same_place
from claude_syncd.store.open import open_store
from claude_syncd.vault.header import read_header
from claude_syncd.vault.reader import no_other_copy
from claude_syncd.vault.verified import Verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.crypto.keys import VaultKeys
    from claude_syncd.ctl.options import Given
    from claude_syncd.ctl.progress import Reporter
    from claude_syncd.ctl.setting_up import Found
    from claude_syncd.ctl.store_choice import Choice
    from claude_syncd.ctl.wizard_questions import Questions
    from claude_syncd.local.home import Places
    from claude_syncd.settings import Settings
    from claude_syncd.store.base import Store

_NOT_HERE = (
    "--passphrase-file", "--passphrase-stdin", "--generate-key", "--device-name", "--scope", "--service", "--force"
)  # fmt: skip
_STORE, _ALSO = "CLAUDE_SYNC_STORE__", "CLAUDE_SYNC_ALSO__"


def run(taken: Given, places: Places, questions: Questions | None, report: Reporter) -> int:
    """Add the store that the options name. Raises SyncError and its kin; then config.toml has not changed, and what
    was copied is found again by another call.
    """
    settings, new = _settings(places)
    for name in _NOT_HERE:
        if taken.has(name):
            raise UsageError(f"{name} makes no sense with --also", hint="the vault and this device stay as they are")
    keys = load_keys(places.key)
    with Lock(places.lock), report, SettingUp(places) as setup:
        with _variables(new):
            choice = store_choice.from_options(taken, places, wizard_store.asker(questions))
            choice, found = _tried(taken, choice, questions, setup, places)
        _refuse_another_vault(found, keys)
        number = _number(settings, found.address)
        others = replace(settings, also=tuple(one for n, one in enumerate(settings.also) if n != number))
        try:
            copied = setup.with_store(lambda target: _copied(places, others, keys, target, report))
        except KeyboardInterrupt:
            note("\nwhat was copied stays there; the same command goes on")
            raise
        _keep(places, choice, number)
        setup.settle()
    report.end()
    for name in copied.stray:
        note(f"note: {line(found.address)} has a key slot that the vault has not: {line(name)}; delete it there")
    if taken.has("--json"):
        import json  # noqa: PLC0415 - only this needs it

        vault = {"id": keys.vault_id, "store": found.address}
        say(json.dumps({"vault": vault, "copied": copied.objects, "bytes": copied.size}))
    else:
        say(f"the vault is in {line(found.address)} too: {count(copied.objects, 'object')} copied, {size(copied.size)}")
        say("next: start the daemon again; `claude-syncctl status` shows how each store is")
    return 0


def _tried(
    taken: Given, choice: Choice | None, questions: Questions | None, setup: SettingUp, places: Places
) -> tuple[Choice, Found]:
    """The store, tried for real, and what is in it."""
    create = taken.has("--create")
    if choice is not None and choice.keychain:
        keychain.check()
    make = create or (choice is not None and choice.provider.kind == "folder")
    if questions is not None:
        chosen = choice or wizard_store.chosen(questions, places)
        chosen, found = wizard_store.tested(chosen, questions, setup, places, create=make, also=True)
    elif choice is not None:
        chosen = choice
        options = config.store_settings(choice.section(), places.state, also=True)
        try:
            found = setup.look(options, make=make, region=choice.region)
        except NoSuchPlace as error:
            error.hint = f"{error.hint}; --create makes it" if choice.provider.kind != "webdav" else error.hint
            raise
    else:
        raise UsageError(
            "no second store given", hint="give --folder PATH, --s3 BUCKET, --git URL or another; see --help"
        )
    if not found.refuses:
        chosen.note_overwriting()
    for text in (*found.notes, *store_choice.notes(chosen)):
        note(f"note: {line(text)}")
    return chosen, found


def _refuse_another_vault(found: Found, keys: VaultKeys) -> None:
    header = found.header
    if header is not None and (header.vault_id, header.sha256) != (keys.vault_id, keys.header):
        raise StoreRefused(
            f"{found.address} holds another vault than this device's",
            hint="choose an empty place, for example with --prefix, or the place of a copy of this vault",
        )


def _number(settings: Settings, address: str) -> int:
    """Which of the further stores has that address; their number for a new one."""
    known = [open_store(options).store.address for options in settings.also]
    return known.index(address) if address in known else len(known)


async def _copied(places: Places, settings: Settings, keys: VaultKeys, target: Store, report: Reporter) -> Copied:
    opened = opened_store(places, settings)
    source = opened.store
    try:
        header = await read_header(source)
        if header is None or header.sha256 != keys.header:
            raise StoreError(
                f"the vault of this device is not in {source.address}",
                hint="see `claude-syncctl status`, mend that first",
            )
        if await same_place(target, source):
            raise AlreadyExists(
                f"the vault is in {target.address} already", hint="a second store has to be another place"
            )

        def told(copied: Copied) -> None:
            report(Progress(phase="copy", done=copied.objects, total=copied.total))

        verified = Verified(source, keys, opened.mirror.doubt if opened.mirror is not None else no_other_copy)
        copied = await copy_vault(verified, target, told)
        for name in sorted(verified.damaged):
            note(f"note: {line(name)} is damaged, and was copied as it is; see `claude-syncctl check`")
        return copied
    finally:
        await source.close()


def _keep(places: Places, choice: Choice, number: int) -> None:
    """Write the store into config.toml, which is the last that is done."""
    before = set(config.keychain_items(places.config))
    section, item = choice.section(), None
    if choice.keychain:
        section, item = without_secrets(section)
    try:
        data: dict[str, Any] = config.read(places.config)
        also = [*data.get("also", [])]
        also[number : number + 1] = [section]
        config.write_config(places.config, {**data, "also": also})
    except BaseException:
        if item is not None:
            keychain.forget(item)
        raise
    for old in before.difference(config.keychain_items(places.config)):
        keychain.forget(old)


def _settings(places: Places) -> tuple[Settings, str]:
    """The settings as they are, and what the variables about the store to be added begin with. Raises NotSetUp."""
    with suppress(SyncError):  # what is wrong with the file is said below
        also = config.read(places.config).get("also", [])
        new = f"{_ALSO}{len(also)}__"
        with _environment({name: value for name, value in os.environ.items() if not name.startswith(new)}):
            return load_settings(places), new
    return load_settings(places), _ALSO


def _variables(new: str) -> AbstractContextManager[None]:
    """Have the variables that begin with `new` read as those of a store are: what CLAUDE_SYNC_STORE__* says is about
    the first store.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith((_STORE, new))}
    mine = {f"{_STORE}{name.removeprefix(new)}": value for name, value in os.environ.items() if name.startswith(new)}
    return _environment({**others, **mine})


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
