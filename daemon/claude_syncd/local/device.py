"""Who this installation is: `device.json` in the state folder, `{"id": 32 hex digits, "name": text}`, and `former`,
the ids that it had before (id -> seq of the last log entry that it wrote as that), where there are any.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated

import msgspec

from claude_syncd.core.model import DEVICE_ID_LENGTH
from claude_syncd.errors import ConfigError, LocalError, NotSetUp
from claude_syncd.local.private_file import write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_NAME = 64
MAX_FORMER = 32
_MAX_FILE = 4096

DeviceId = Annotated[
    str, msgspec.Meta(pattern=r"\A[0-9a-f]+\Z", min_length=DEVICE_ID_LENGTH, max_length=DEVICE_ID_LENGTH)
]
Seq = Annotated[int, msgspec.Meta(ge=1)]


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """This device's id, the name that its user knows it by, and the ids that it had before."""

    id: DeviceId
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
    former: Annotated[dict[DeviceId, Seq], msgspec.Meta(max_length=MAX_FORMER)] = {}


_decoder = msgspec.json.Decoder(Device)


def default_name() -> str:
    """The host's name without its domain."""
    return clean_name(socket.gethostname().partition(".")[0]) or "device"


def clean_name(text: str) -> str:
    """`text` fit for a device's name: printable, on one line, at most 64 characters; may be empty."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NAME].strip()


def create(name: str, *, random: Callable[[int], bytes] = os.urandom) -> Device:
    """A device that never was: a fresh id. Raises ConfigError where nothing printable is left of `name`."""
    return Device(id=random(DEVICE_ID_LENGTH // 2).hex(), name=_usable(name))


def renamed(device: Device, name: str) -> Device:
    """The same device under another name. Raises ConfigError as `create`."""
    return msgspec.structs.replace(device, name=_usable(name))


def _usable(name: str) -> str:
    cleaned = clean_name(name)
    if not cleaned:
        raise ConfigError(f"{name!r} can't be a device's name", hint="take a name of 1 to 64 printable characters")
    return cleaned


def renewed(device: Device, last: int, *, random: Callable[[int], bytes] = os.urandom) -> Device:
    """The same installation under a fresh id; `last` is the seq of the last log entry that it wrote as what it was."""
    kept = list(device.former.items())[-(MAX_FORMER - 1) :]
    former = dict([*kept, (device.id, last)] if last else kept)
    return msgspec.structs.replace(create(device.name, random=random), former=former)


def save(path: Path, device: Device) -> None:
    """Write `device.json`, 0600, whole or not at all. Raises LocalError."""
    write_private(path, msgspec.json.format(msgspec.json.encode(device)) + b"\n")


def load(path: Path) -> Device:
    """What `device.json` says. Raises NotSetUp where there is none, LocalError, ConfigError where it makes no sense."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError as error:
        raise NotSetUp("this device is not set up") from error
    except OSError as error:
        raise LocalError(f"can't read {path}: {error.strerror}") from error
    try:
        return _decoder.decode(data[:_MAX_FILE])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is damaged: {error}",
            hint="delete it and run `claude-syncctl init --force`; the device then joins under a new id",
        ) from error
