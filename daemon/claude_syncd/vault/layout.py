"""The names of a vault's objects, and the bounds of what they hold (docs/format.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from claude_syncd.errors import FormatError

HEADER_NAME: Final = "vault.json"
KEYS_PREFIX: Final = "keys/"
ROSTER_PREFIX: Final = "roster/"
DEVICES_PREFIX: Final = "devices/"

MAX_SEQ: Final = 999_999_999_999
MAX_ROSTER: Final = 999_999
MAX_BLOB_PLAIN: Final = 1024 * 1024
MAX_BLOBS: Final = 65_536
MAX_INDEX: Final = 16 * 1024 * 1024
MAX_CHECKPOINT_INDEX: Final = 64 * 1024 * 1024
MAX_RECORDS: Final = 8192
MAX_CHECKPOINT_RECORDS: Final = 1_048_576
MAX_OBJECTS: Final = 65_536
MAX_SLICES: Final = 524_288
MAX_DEVICES: Final = 4096
MAX_PATH_BYTES: Final = 4096
MAX_PART_BYTES: Final = 255
MAX_NAME_CHARS: Final = 255
INLINE_LIMIT: Final = 8 * 1024 * 1024
PACK_LIMIT: Final = 32 * 1024 * 1024

_OBJECT: Final = re.compile(
    r"roster/(?P<roster>[0-9]{6})"
    r"|devices/(?P<device>[0-9a-f]{32})/"
    r"(?:log/(?P<log>[0-9]{12})|checkpoints/(?P<checkpoint>[0-9]{12})|packs/(?P<pack>[0-9a-f]{64}))"
)
_SLOT: Final = re.compile(r"keys/([a-z0-9][a-z0-9-]{0,63})\.age")
_DEVICE: Final = re.compile(r"[0-9a-f]{32}")
_ROOTS: Final = frozenset({"tree", "conflicts"})
_ASCII_PATH: Final = re.compile(rf"(?:tree|conflicts)(?:/(?!\.{{1,2}}(?:/|\Z))[^/\0]{{1,{MAX_PART_BYTES}}})+")


class Type(IntEnum):
    """The type byte of an object."""

    ROSTER = 1
    LOG = 2
    PACK = 3
    CHECKPOINT = 4


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A name taken apart. `device` is "" for the roster; `number` is the seq or roster number, 0 for a pack."""

    type: Type
    device: str = ""
    number: int = 0


def roster_name(number: int) -> str:
    """`roster/<n>`."""
    return _checked(f"{ROSTER_PREFIX}{number:06d}")


def log_name(device: str, seq: int) -> str:
    """`devices/<device>/log/<seq>`."""
    return _checked(f"{area(device)}log/{seq:012d}")


def pack_name(device: str, digest: str) -> str:
    """`devices/<device>/packs/<digest>`; `digest` is the SHA-256 (hex) of the object up to its MAC."""
    return _checked(f"{area(device)}packs/{digest}")


def checkpoint_name(device: str, seq: int) -> str:
    """`devices/<device>/checkpoints/<seq>`."""
    return _checked(f"{area(device)}checkpoints/{seq:012d}")


def slot_name(slot: str) -> str:
    """`keys/<slot>.age`."""
    name = f"{KEYS_PREFIX}{slot}.age"
    if _SLOT.fullmatch(name) is None:
        raise FormatError(f"{slot!r} can't be the name of a key slot")
    return name


def parse_slot(name: str) -> str | None:
    """The slot of `keys/<slot>.age`, None for any other name."""
    match = _SLOT.fullmatch(name)
    return match[1] if match else None


def area(device: str) -> str:
    """`devices/<device>/`: what every name in the device's area begins with. FormatError for no device id."""
    if not is_device(device):
        raise FormatError(f"{device!r} is no device id")
    return f"{DEVICES_PREFIX}{device}/"


def is_device(text: str) -> bool:
    """Whether `text` is a device id: 32 lower-case hex digits."""
    return _DEVICE.fullmatch(text) is not None


def parse(name: str) -> ObjectName:
    """The name of a roster entry, log entry, pack or checkpoint taken apart. FormatError for any other name."""
    parsed = try_parse(name)
    if parsed is None:
        raise FormatError(f"{name!r} is not the name of an object of a vault")
    return parsed


def try_parse(name: str) -> ObjectName | None:
    """As `parse`, but None for any other name: a store may hold files that are not ours."""
    match = _OBJECT.fullmatch(name)
    if match is None or not name.isascii():
        return None
    if match["roster"]:
        return ObjectName(Type.ROSTER, "", int(match["roster"])) if int(match["roster"]) else None
    device = match["device"]
    if match["pack"]:
        return ObjectName(Type.PACK, device)
    if match["log"]:
        return ObjectName(Type.LOG, device, int(match["log"])) if int(match["log"]) else None
    return ObjectName(Type.CHECKPOINT, device, int(match["checkpoint"])) if int(match["checkpoint"]) else None


def is_portable_shape(path: str) -> bool:
    """Whether `path` has the shape of a portable path: a known root, then parts that no folder could misread.

    Whether it may be read or written on a device is for the rules to say, on use.
    """
    if path.isascii():  # nearly all are, and each record of each entry comes by here, when written and when read
        return len(path) <= MAX_PATH_BYTES and _ASCII_PATH.fullmatch(path) is not None
    parts = path.split("/")
    return (
        len(parts) > 1
        and parts[0] in _ROOTS
        and "\0" not in path
        and len(path.encode(errors="surrogatepass")) <= MAX_PATH_BYTES
        and all(
            part not in ("", ".", "..") and len(part.encode(errors="surrogatepass")) <= MAX_PART_BYTES for part in parts
        )
    )


def _checked(name: str) -> str:
    if try_parse(name) is None:
        raise FormatError(f"{name!r} is not the name of an object of a vault")
    return name
