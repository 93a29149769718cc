"""Secrets of the store in the system's keychain, through keyring: an optional extra, imported only where it is wanted.

An item holds all secrets of one `[store]` section as JSON; the section names it (`keychain = "..."`).
"""

from __future__ import annotations

import importlib.util
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "claude-syncd"
_ELSE = "keep the credentials in config.toml"
_INSTALL = f"install it with `pip install 'claude-syncd[keyring]'`, or {_ELSE}"

_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_decoder = msgspec.json.Decoder(dict[_Text, _Text])


def usable() -> bool:
    """Whether there is a keychain; never asks the user for anything."""
    try:
        check()
    except LocalError:
        return False
    return True


def check() -> None:
    """Raise LocalError if there is no keychain."""
    _backend()


def keep(values: Mapping[str, str]) -> str:
    """Put `values` into a new item; gives its name. Raises LocalError."""
    item = f"store-{secrets.token_hex(8)}"
    _called("set_password", SERVICE, item, msgspec.json.encode(values).decode())
    return item


def read(item: str) -> dict[str, str]:
    """What `keep` put into the item. Raises LocalError."""
    text = _called("get_password", SERVICE, item)
    try:
        return _decoder.decode(text or "")
    except msgspec.DecodeError:  # neither it nor its cause is shown: both quote
        raise LocalError(
            f"the system's keychain has no {item!r} of {SERVICE}",
            hint="run `claude-syncctl init --force` with the store's credentials",
        ) from None


def forget(item: str) -> None:
    """Remove the item; never fails."""
    with suppress(LocalError):
        _called("delete_password", SERVICE, item)


def _backend() -> Any:
    """The keyring in use. Raises LocalError where there is none but the one that refuses or forgets everything."""
    if importlib.util.find_spec("keyring") is None:
        raise LocalError("the system's keychain can't be used: keyring is not installed", hint=_INSTALL)
    import keyring  # noqa: PLC0415 - optional, and heavy
    from keyring.backends import fail, null  # noqa: PLC0415 - likewise

    try:
        found = keyring.get_keyring()
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        raise _failed(error) from None
    if isinstance(found, fail.Keyring | null.Keyring):
        raise LocalError("this system has no keychain", hint=f"start one (a desktop brings it), or {_ELSE}")
    return found


def _called(method: str, *arguments: str) -> str | None:
    backend = _backend()
    try:
        found: str | None = getattr(backend, method)(*arguments)
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        raise _failed(error) from None
    return found


def _failed(error: Exception) -> LocalError:
    # What the backend says may hold what it was given.
    return LocalError(
        f"the system's keychain refused ({type(error).__name__})",
        hint=f"unlock it, and see that the daemon may use it; or {_ELSE}",
    )
