"""What every store checks alike: names, prefixes, sizes, and which bytes a span means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreRefused
from claude_syncd.store.base import MAX_OBJECT

if TYPE_CHECKING:
    from claude_syncd.store.base import Span

MAX_NAME = 512
MAX_PART = 200
RESERVED = "tmp"
"""First part of the names that a store may use for itself; no object has such a name."""

_PART = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_PART}}}")
_BAD_NAME_HINT = "this is a fault in the program; please report it"


def name_parts(name: str) -> list[str]:
    """The parts of an object's name. Raises StoreRefused unless each is [A-Za-z0-9._-]+ and neither "." nor ".."."""
    parts = name.split("/")
    if len(name) > MAX_NAME or parts[0] == RESERVED or not all(map(is_part, parts)):
        raise StoreRefused(f"not a name that an object may have: {name[:80]!r}", hint=_BAD_NAME_HINT)
    return parts


def is_part(part: str) -> bool:
    """Whether `part` may stand between the slashes of a name."""
    return part not in {".", ".."} and _PART.fullmatch(part) is not None


def prefix_parts(prefix: str) -> tuple[list[str], str]:
    """The complete parts of a prefix, and the beginning of the next part (may be empty). Raises StoreRefused."""
    folder, _, beginning = prefix.rpartition("/")
    parts = folder.split("/") if "/" in prefix else []
    if len(prefix) > MAX_NAME or not all(map(is_part, parts)) or (beginning and not _PART.fullmatch(beginning)):
        raise StoreRefused(f"not a prefix of names: {prefix[:80]!r}", hint=_BAD_NAME_HINT)
    return parts, beginning


def check_size(name: str, size: int) -> None:
    """Raises StoreRefused for more bytes than an object of a vault has, so that nobody allocates them."""
    if size > MAX_OBJECT:
        raise StoreRefused(
            f"{name} has {size} bytes; no object of a vault is larger than {MAX_OBJECT}",
            hint="it was not written by claude-syncd; remove it from the store",
        )


def span_bounds(span: Span | None, size: int) -> tuple[int, int]:
    """First byte and number of bytes that `span` means in an object of `size` bytes; both within the object."""
    if span is None:
        return 0, size
    start = max(0, size + span.start) if span.start < 0 else min(span.start, size)
    return start, max(0, min(span.length, size - start))
