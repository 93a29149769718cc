"""`claude-syncctl init`: choose a store, then create a vault in it or join the one that is there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_syncd.ctl.flags import agreed, ask_secret, given, on_terminal
from claude_syncd.ctl.options import Command, Option
from claude_syncd.ctl.store_choice import OPTIONS as STORE_OPTIONS
from claude_syncd.ctl.store_choice import chosen_store
from claude_syncd.ctl.strength import require_strong
from claude_syncd.ctl.terminal import line, note, say
from claude_syncd.errors import AlreadyRunning, LocalError, UsageError, WrongKey
from claude_syncd.local.home import Places
from claude_syncd.local.lock import owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claude_syncd.ctl.options import Given
    from claude_syncd.ctl.setting_up import Found, Opened
    from claude_syncd.local.device import Device

_COMMAND = Command(
    "init",
    "set up this device: choose a store, create a vault there or join the one that is there",
    options=(
        *STORE_OPTIONS,
        Option("--passphrase-file", "the passphrase (or recovery code) is this file's first line", metavar="FILE"),
        Option("--passphrase-stdin", "the passphrase (or recovery code) is the first line of the input"),
        Option("--generate-key", "a new vault without a passphrase: only the recovery code opens it elsewhere"),
        Option("--device-name", "what this device is called; the host's name if not given", metavar="NAME"),
        Option("--scope", "what is synced", choices=("sessions", "portable", "full")),
        Option("--yes", "do not ask", short="-y"),
        Option("--force", "replace the key and the settings that this device has"),
        Option("--json", "print one JSON object"),
    ),
)
_SECRETS = ("--passphrase-file", "--passphrase-stdin", "--generate-key")
_MAX_SECRET = 4096
_TRIES = 3


def run(arguments: Sequence[str]) -> int:
    """Do it. Raises SyncError and its kin; then nothing on this device has changed."""
    taken = given(_COMMAND, arguments)
    if taken is None:
        return 0
    named = [name for name in _SECRETS if taken.has(name)]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: give one of them")
    places = Places.from_environment()
    settings: dict[str, Any] = {"store": chosen_store(taken, places)}
    if scope := taken.value("--scope"):
        settings["scope"] = scope

    # Imported here: it takes a while, and whoever only mistyped an option should not wait for it.
    from claude_syncd import config  # noqa: PLC0415
    from claude_syncd.ctl import setting_up  # noqa: PLC0415

    setting_up.refuse_replacing(places, force=taken.has("--force"))
    refuse_while_running(places)
    options = config.store_settings(settings["store"])
    with asyncio.Runner() as runner:
        found = runner.run(setting_up.look(options))
        for problem in found.notes:
            note(f"note: {line(problem)}")
        opened = _join(runner, found, taken) if found.header else _create(runner, found, taken)
        try:
            device = setting_up.keep(places, opened, settings, taken.value("--device-name"), force=taken.has("--force"))
        except BaseException:
            runner.run(setting_up.uncreate(found, opened))
            raise
    if taken.has("--json"):
        say(_as_json(places, opened, device))
    else:
        say(described(places, opened, device, passphrase=not taken.has("--generate-key")))
    return 0


def refuse_while_running(places: Places) -> None:
    """Raise AlreadyRunning if a process works on the state folder."""
    owner = owner_of(places.lock)
    if owner is not None:
        raise AlreadyRunning(
            f"a daemon works on {places.state}" + (f" (process {owner})" if owner else ""),
            hint="stop it first: `claude-syncctl service stop`",
        )


def described(places: Places, opened: Opened, device: Device, *, passphrase: bool) -> str:
    """What was done, for a person; the recovery code is in it if the vault is new."""
    done = "joined the vault" if opened.recovery_code is None else "created a vault"
    lines = [f"{done} at {line(opened.address)}", f"this device is called {line(device.name)}; state: {places.state}"]
    if opened.recovery_code is not None:
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


def _join(runner: asyncio.Runner, found: Found, taken: Given) -> Opened:
    """Open the vault that is there; somebody at a terminal may mistype."""
    from claude_syncd.ctl import setting_up  # noqa: PLC0415 - imported by now

    if taken.has("--generate-key"):
        raise UsageError(
            f"there is a vault at {found.address} already: --generate-key is for a new one",
            hint="give its passphrase or recovery code with --passphrase-file or --passphrase-stdin",
        )
    secret = _told(taken)
    if secret is not None:
        return runner.run(setting_up.join(found, secret))
    note(f"There is a vault at {line(found.address)}.")
    for left in reversed(range(_TRIES)):
        try:
            return runner.run(setting_up.join(found, ask_secret("Its passphrase, or the recovery code:")))
        except WrongKey as error:
            if not left:
                raise
            note(f"{error}; try again")
    raise AssertionError


def _create(runner: asyncio.Runner, found: Found, taken: Given) -> Opened:
    from claude_syncd.crypto.recovery import looks_like_code  # noqa: PLC0415 - only this needs it
    from claude_syncd.ctl import setting_up  # noqa: PLC0415 - imported by now

    passphrase = None
    if not taken.has("--generate-key"):
        passphrase = _told(taken)
        if passphrase is not None and looks_like_code(passphrase):
            raise UsageError(
                f"that is a recovery code, but there is no vault at {found.address}",
                hint="check the store's address and the prefix",
            )
        if passphrase is None:
            passphrase = _new_passphrase(found, taken)
        else:
            require_strong(passphrase)
    return runner.run(setting_up.create(found, passphrase))


def _new_passphrase(found: Found, taken: Given) -> str | None:
    """What the user thinks of; None for an empty answer."""
    if not taken.has("--yes") and not agreed(
        f"There is no vault at {line(found.address)} yet. Create one?", default=True
    ):
        raise UsageError("nothing was done", hint="")
    for left in reversed(range(_TRIES)):
        passphrase = ask_secret("A new passphrase (empty: none, the recovery code alone opens the vault):")
        if not passphrase:
            return None
        try:
            require_strong(passphrase)
            if ask_secret("Once more:") == passphrase:
                return passphrase
            raise UsageError("the two differ")  # noqa: TRY301 - one way out for both mistakes
        except UsageError as error:
            if not left:
                raise
            note(f"{error}; {error.hint}" if error.hint else f"{error}; try again")
    raise AssertionError


def _told(taken: Given) -> str | None:
    """The passphrase from a file or the input; None if there is a terminal to ask at. Raises UsageError, LocalError."""
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
    elif on_terminal():
        return None
    else:
        raise UsageError(
            "no passphrase given", hint="give --passphrase-file FILE or --passphrase-stdin, or --generate-key"
        )
    secret = secret.rstrip("\r\n")
    if not secret:
        raise UsageError("the passphrase is empty")
    return secret
