"""`claude-syncctl run-default`, which is `make run`: set up with a vault in the state folder if need be, then run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from claude_syncd.ctl.flags import given
from claude_syncd.ctl.init import described, refuse_while_running
from claude_syncd.ctl.options import Command
from claude_syncd.ctl.terminal import say
from claude_syncd.local.home import Places

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMAND = Command("run-default", "set up with a vault in the state folder if need be, then run the daemon here")


def run(arguments: Sequence[str]) -> int:
    """This process becomes the daemon; it returns after `--help` only. Raises SyncError and its kin."""
    if given(_COMMAND, arguments) is not None:
        _become_daemon()
    return 0


def _become_daemon() -> NoReturn:
    places = Places.from_environment()
    refuse_while_running(places)
    if not places.config.exists():
        _set_up(places)
    say(f"syncing {places.tree}; settings are in {places.config}; Ctrl-C ends it")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "claude_syncd"])  # noqa: S606 - no shell is wanted


def _set_up(places: Places) -> None:
    from claude_syncd.ctl.setting_up import SettingUp  # noqa: PLC0415 - it takes a while, and is needed once
    from claude_syncd.store.open import FolderOptions  # noqa: PLC0415 - likewise

    folder = places.state / "vault"
    section = {"kind": "folder", "path": str(folder)}
    with SettingUp(places) as setup:
        opened = setup.create(setup.look(FolderOptions(folder), make=True), None)
        device = setup.keep(opened, {"store": section}, None, force=False)
    say(described(places, opened, device, passphrase=False))
