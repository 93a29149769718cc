"""The wizard's part about the vault: how it opens, the recovery code, and what this device is called."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from claude_syncd.ctl.strength import MINIMUM_BITS, estimated_bits
from claude_syncd.ctl.terminal import line
from claude_syncd.errors import UsageError, WrongKey

if TYPE_CHECKING:
    from claude_syncd.ctl.setting_up import Found, Opened, SettingUp
    from claude_syncd.ctl.wizard_questions import Questions

PASSPHRASE, KEY, BACK = "passphrase", "key", "back"


def way_of_opening(questions: Questions, found: Found) -> str:
    """How a new vault is to open: PASSPHRASE, KEY, or BACK where none was meant to be made there."""
    questions.tell(f"There is no vault at {line(found.address)} yet; a new one is made.")
    ways = [
        (PASSPHRASE, "with a passphrase that I choose (and with a recovery code)"),
        (KEY, "with a generated key: other devices join with its recovery code only"),
        (BACK, "not at all: there should be a vault already; change the store"),
    ]
    return questions.choose("How should it open?", ways)


def new_passphrase(questions: Questions) -> str:
    """A passphrase that is strong enough, typed twice."""
    while True:
        passphrase = questions.secret("A passphrase:", _strong, _strength)
        if questions.secret("Once more:") == passphrase:
            return passphrase
        questions.tell("The two differ; from the start.")


def confirmed_code(questions: Questions, *, passphrase: bool) -> str:
    """A new recovery code, shown, and a part of it typed back."""
    from claude_syncd.crypto.recovery import new_code  # noqa: PLC0415 - heavy

    code = new_code()
    other = "opens the vault if the passphrase is forgotten" if passphrase else "opens the vault on your other devices"
    questions.tell(f"\nThe recovery code {other}. Nobody can tell it to you again: write it down.\n\n    {code}\n")
    groups = code.split("-")
    number = secrets.randbelow(len(groups))

    def check(text: str) -> str:
        if text.upper().replace("O", "0").replace("I", "1").replace("L", "1") != groups[number]:
            raise UsageError(f"that is not group {number + 1}", hint="four characters, from the code above")
        return text

    questions.text(f"To see that it is written down, type its group {number + 1} of {len(groups)}:", check)
    return code


def joined(questions: Questions, setup: SettingUp, found: Found) -> Opened:
    """Have the vault that is there opened with what the user knows, however often that takes."""
    questions.tell(f"There is a vault at {line(found.address)}; this device joins it.")
    while True:
        secret = questions.secret("Its passphrase, or the recovery code:", _something)
        try:
            return setup.join(found, secret)
        except WrongKey as error:
            questions.tell(f"error: {error}")


def device_name(questions: Questions) -> str:
    """What this device is called."""
    from claude_syncd.local import device  # noqa: PLC0415 - heavy

    def check(text: str) -> str:
        if not device.clean_name(text):
            raise UsageError("a name of 1 to 64 printable characters is needed")
        return device.clean_name(text)

    return questions.text("What is this device called?", check, device.default_name())


def _strong(passphrase: str) -> str:
    from claude_syncd.crypto.recovery import looks_like_code  # noqa: PLC0415 - heavy

    if looks_like_code(passphrase):
        raise UsageError("that is a recovery code, and there is no vault for it here")
    bits = estimated_bits(passphrase)
    if bits < MINIMUM_BITS:
        raise UsageError(
            f"too easy to guess (about {bits:.0f} bits, {MINIMUM_BITS} are needed)",
            hint="four random words, or 12 random letters",
        )
    return passphrase


def _strength(passphrase: str) -> str:
    bits = estimated_bits(passphrase)
    word = "too easy to guess" if bits < MINIMUM_BITS else "good" if bits < 2 * MINIMUM_BITS - 10 else "very good"
    return f"about {bits:.0f} bits: {word} ({MINIMUM_BITS} are needed)"


def _something(text: str) -> str:
    if not text:
        raise UsageError("something is needed here")
    return text
