"""`claude-syncctl init`: choose a store, then create a vault in it or join the one that is there.

Options say it all, or a person at a terminal is asked for what they leave open; without a terminal nothing is asked.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_syncd.ctl import store_choice
from claude_syncd.ctl.flags import given
from claude_syncd.ctl.options import Command, Option
from claude_syncd.ctl.strength import require_strong
from claude_syncd.ctl.terminal import line, note, say
from claude_syncd.ctl.wizard_questions import Questions, answerable
from claude_syncd.errors import AlreadyRunning, LocalError, NoSuchPlace, StoreError, SyncError, UsageError
from claude_syncd.local.home import Places
from claude_syncd.local.lock import owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.ctl.options import Given
    from claude_syncd.ctl.setting_up import Found, Opened, SettingUp
    from claude_syncd.ctl.store_choice import Choice
    from claude_syncd.local.device import Device

COMMAND = Command(
    "init",
    "set up this device: choose a store, create a vault there or join the one that is there",
    options=(
        *store_choice.OPTIONS,
        Option("--passphrase-file", "the passphrase (or recovery code) is this file's first line", metavar="FILE"),
        Option("--passphrase-stdin", "the passphrase (or recovery code) is the first line of the input"),
        Option("--generate-key", "a new vault without a passphrase: only the recovery code opens it elsewhere"),
        Option("--device-name", "what this device is called; the host's name if not given", metavar="NAME"),
        Option("--scope", "what is synced", choices=("sessions", "portable", "full")),
        Option("--service", "have the daemon started, now and at each login"),
        Option("--yes", "do not ask", short="-y"),
        Option("--force", "replace the key and the settings that this device has"),
        Option("--json", "print one JSON object"),
    ),
)
_SECRETS = ("--passphrase-file", "--passphrase-stdin", "--generate-key")
_MAX_SECRET = 4096


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be done once everything is known. `code`: the recovery code, where it was shown already."""

    choice: Choice
    found: Found
    opened: Opened | None
    passphrase: str | None
    code: str | None
    name: str | None
    service: bool


def run(arguments: Sequence[str]) -> int:
    """Do it. Raises SyncError and its kin; then nothing on this device has changed."""
    taken = given(COMMAND, arguments)
    if taken is None:
        return 0
    named = [name for name in _SECRETS if taken.has(name)]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: give one of them")
    places = Places.from_environment()
    questions = Questions() if answerable() and not taken.has("--yes") else None

    # Imported here: it takes a while, and whoever only mistyped an option should not wait for it.
    from claude_syncd.ctl import setting_up, wizard_store  # noqa: PLC0415

    if taken.has("--also"):
        return _also(taken, places, questions)
    setting_up.refuse_replacing(places, force=taken.has("--force"))
    refuse_while_running(places)
    choice = store_choice.from_options(taken, places, wizard_store.asker(questions))
    try:
        with setting_up.SettingUp(places) as setup:
            wanted = _wanted(taken, choice, questions, setup, places)
            opened = wanted.opened or setup.create(wanted.found, wanted.passphrase, wanted.code)
            settings: dict[str, Any] = {"store": wanted.choice.section()}
            if scope := taken.value("--scope"):
                settings["scope"] = scope
            device = setup.keep(
                opened, settings, wanted.name, force=taken.has("--force"), in_keychain=wanted.choice.keychain
            )
    except StoreError as error:
        error.hint = wizard_store.for_setting_up(error.hint)
        raise
    except KeyboardInterrupt:
        note("\nnothing was kept")
        raise
    if taken.has("--json"):
        say(_as_json(places, opened, device))
    else:
        say(described(places, opened, device, passphrase=wanted.passphrase is not None, shown=wanted.code is not None))
    if wanted.service:
        from claude_syncd.ctl import service  # noqa: PLC0415 - only who wants it

        with redirect_stdout(sys.stderr):
            service.run(["install"])
    return 0


def _also(taken: Given, places: Places, questions: Questions | None) -> int:
    from claude_syncd.ctl import also, wizard_store  # noqa: PLC0415 - only who wants it
    from claude_syncd.ctl.progress import reporter  # noqa: PLC0415 - likewise

    refuse_while_running(places)
    try:
        return also.run(taken, places, questions, reporter(taken))
    except StoreError as error:
        error.hint = wizard_store.for_setting_up(error.hint)
        raise


def refuse_while_running(places: Places) -> None:
    """Raise AlreadyRunning if a process works on the state folder."""
    owner = owner_of(places.lock)
    if owner is not None:
        raise AlreadyRunning(
            f"a daemon works on {places.state}" + (f" (process {owner})" if owner else ""),
            hint="stop it first: `claude-syncctl service stop`",
        )


def described(places: Places, opened: Opened, device: Device, *, passphrase: bool, shown: bool = False) -> str:
    """What was done, for a person; the recovery code is in it if the vault is new, unless it was `shown` already."""
    done = "joined the vault" if opened.recovery_code is None else "created a vault"
    lines = [f"{done} at {line(opened.address)}", f"this device is called {line(device.name)}; state: {places.state}"]
    if opened.recovery_code is not None and not shown:
        other = "opens the vault if the passphrase is forgotten" if passphrase else "opens the vault on another device"
        lines += [
            "",
            f"Recovery code. It {other}. Write it down; it is shown only now:",
            "",
            f"    {opened.recovery_code}",
            "",
        ]
    lines.append("next: `claude-syncctl service install` keeps the daemon running; `claude-syncd` runs it here")
    return "\n".join(lines)


def _as_json(places: Places, opened: Opened, device: Device) -> str:
    import msgspec  # noqa: PLC0415 - only this needs it

    return msgspec.json.encode(
        {
            "created": opened.recovery_code is not None,
            "recovery_code": opened.recovery_code,
            "vault": {"id": opened.keys.vault_id, "store": opened.address},
            "device": {"id": device.id, "name": device.name},
            "state": str(places.state),
        }
    ).decode()


def _wanted(
    taken: Given, choice: Choice | None, questions: Questions | None, setup: SettingUp, places: Places
) -> _Wanted:
    """Find out all that is to be known, by options and by asking; nothing but an empty place is made before that."""
    secret, generate = _told(taken), taken.has("--generate-key")
    if questions is None:
        if choice is None:
            raise UsageError("no store given", hint="give --folder PATH, --s3 BUCKET, --git URL or another; see --help")
        if secret is None and not generate:
            raise UsageError(
                "no passphrase given", hint="give --passphrase-file FILE or --passphrase-stdin, or --generate-key"
            )
    name = _name(taken)
    choice, found = _found(taken, choice, questions, setup, places)
    passphrase = opened = code = None
    if found.header is not None:
        opened = _joined(found, secret, questions, setup, generate=generate)
    else:
        choice, found, passphrase = _opening(taken, choice, found, secret, questions, setup, places)
        if found.header is not None:
            opened = _joined(found, None, questions, setup, generate=False)
    service = taken.has("--service")
    if questions is not None and questions.asked:
        from claude_syncd.ctl import wizard_vault  # noqa: PLC0415 - only who is asked

        if opened is None:
            code = wizard_vault.confirmed_code(questions, passphrase=passphrase is not None)
        if choice.asked:
            _ask_where_to_keep(choice, questions)
            name = name or wizard_vault.device_name(questions)
            service = service or (_can_serve(places) and questions.agreed("Start the daemon now, and at each login?"))
    return _Wanted(choice, found, opened, passphrase, code, name, service)


def _found(
    taken: Given, choice: Choice | None, questions: Questions | None, setup: SettingUp, places: Places
) -> tuple[Choice, Found]:
    """The store, tried for real, and what is in it."""
    from claude_syncd import config  # noqa: PLC0415 - imported by now
    from claude_syncd.ctl import wizard_store  # noqa: PLC0415 - likewise
    from claude_syncd.local import keychain  # noqa: PLC0415 - only who wants it

    create = taken.has("--create")
    if choice is not None and choice.keychain:
        keychain.check()
    if questions is not None:
        chosen = choice or wizard_store.chosen(questions, places)
        # A folder that was named as an option is wanted; one that was typed may be a mistake.
        make = create or (choice is not None and choice.provider.kind == "folder")
        chosen, found = wizard_store.tested(chosen, questions, setup, places, create=make, also=False)
    elif choice is not None:
        chosen = choice
        make = create or choice.provider.kind == "folder"
        try:
            found = setup.look(config.store_settings(choice.section(), places.state), make=make, region=choice.region)
        except NoSuchPlace as error:
            error.hint = f"{error.hint}; --create makes it" if choice.provider.kind != "webdav" else error.hint
            raise
    else:
        raise UsageError("no store given")
    if not found.refuses:
        chosen.note_overwriting()
    for text in (*found.notes, *store_choice.notes(chosen)):
        note(f"note: {line(text)}")
    return chosen, found


def _joined(
    found: Found, secret: str | None, questions: Questions | None, setup: SettingUp, *, generate: bool
) -> Opened:
    if generate:
        raise UsageError(
            f"there is a vault at {found.address} already: --generate-key is for a new one",
            hint="give its passphrase or recovery code with --passphrase-file or --passphrase-stdin",
        )
    if secret is not None or questions is None:
        return setup.join(found, secret or "")
    from claude_syncd.ctl import wizard_vault  # noqa: PLC0415 - only who is asked

    return wizard_vault.joined(questions, setup, found)


def _opening(
    taken: Given,
    choice: Choice,
    found: Found,
    secret: str | None,
    questions: Questions | None,
    setup: SettingUp,
    places: Places,
) -> tuple[Choice, Found, str | None]:
    """The passphrase of the vault to be made, or None; and the store, which a person may change over that question."""
    from claude_syncd.crypto.recovery import looks_like_code  # noqa: PLC0415 - only this needs it
    from claude_syncd.ctl import wizard_store, wizard_vault  # noqa: PLC0415 - likewise

    if secret is not None:
        if looks_like_code(secret):
            raise UsageError(
                f"that is a recovery code, but there is no vault at {found.address}",
                hint="check the store's address and the prefix",
            )
        require_strong(secret)
        return choice, found, secret
    while questions is not None and not taken.has("--generate-key") and found.header is None:
        way = wizard_vault.way_of_opening(questions, found)
        if way != wizard_vault.BACK:
            return choice, found, wizard_vault.new_passphrase(questions) if way == wizard_vault.PASSPHRASE else None
        setup.take_back()
        choice = wizard_store.corrected(choice, UsageError("nothing was done", hint=""), questions, places)
        choice, found = wizard_store.tested(choice, questions, setup, places, create=False, also=False)
    return choice, found, None


def _ask_where_to_keep(choice: Choice, questions: Questions) -> None:
    from claude_syncd.ctl.setting_up import SECRETS  # noqa: PLC0415 - imported by now
    from claude_syncd.local import keychain  # noqa: PLC0415 - only who has secrets

    if choice.keychain or not any(key in SECRETS for key in choice.access or {}) or not keychain.usable():
        return
    ways = [("file", "in config.toml, which only you may read"), ("keychain", "in this system's keychain")]
    choice.keychain = questions.choose("Where are the store's credentials to be kept?", ways) == "keychain"


def _can_serve(places: Places) -> bool:
    """Whether there is a service manager that answers."""
    from claude_syncd.ctl.service_hosts import service_host  # noqa: PLC0415 - only who is asked

    try:
        service_host(places).status()
    except SyncError:
        return False
    return True


def _name(taken: Given) -> str | None:
    from claude_syncd.local.device import clean_name  # noqa: PLC0415 - heavy

    name = taken.value("--device-name")
    if name is not None and not clean_name(name):
        raise UsageError(f"{name!r} can't be a device's name", hint="take a name of 1 to 64 printable characters")
    return name


def _told(taken: Given) -> str | None:
    """The passphrase from a file or the input; None if there is none. Raises UsageError, LocalError."""
    file = taken.value("--passphrase-file")
    if file is not None:
        try:
            with Path(file).expanduser().open(encoding="utf-8") as opened:
                secret = opened.readline(_MAX_SECRET)
        except UnicodeDecodeError:
            raise UsageError(f"{file} is not text") from None
        except OSError as error:
            raise LocalError(f"can't read {file}: {error.strerror}") from error
    elif taken.has("--passphrase-stdin"):
        secret = sys.stdin.readline(_MAX_SECRET)
    else:
        return None
    secret = secret.rstrip("\r\n")
    if not secret:
        raise UsageError("the passphrase is empty")
    return secret
