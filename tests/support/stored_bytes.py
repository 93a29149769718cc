"""Looks for words in stored bytes, in every disguise that a careless tool might store them in."""

from __future__ import annotations

import base64
import bz2
import lzma
import re
import zlib
from typing import TYPE_CHECKING

from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 1 << 26
MAGICS: dict[str, tuple[re.Pattern[bytes], Callable[[memoryview], bytes]]] = {
    "zstd": (re.compile(rb"\x28\xb5\x2f\xfd"), lambda data: zstd.ZstdDecompressor().decompress(data, LIMIT)),
    "gzip": (re.compile(rb"\x1f\x8b\x08"), lambda data: zlib.decompressobj(31).decompress(data, LIMIT)),
    "xz": (re.compile(rb"\xfd7zXZ\x00"), lambda data: lzma.LZMADecompressor().decompress(data, LIMIT)),
    "bzip2": (re.compile(rb"BZh[1-9]1AY"), lambda data: bz2.BZ2Decompressor().decompress(data, LIMIT)),
    "zlib": (re.compile(rb"\x78[\x01\x5e\x9c\xda]"), lambda data: zlib.decompressobj().decompress(data, LIMIT)),
}
"""How each format begins, and how to read as much of it as there is, up to LIMIT bytes."""
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24,}")


def disguises(word: bytes) -> Iterator[tuple[str, bytes]]:
    """The forms of `word` that are looked for, each with its name."""
    yield from (("plain", word), ("upper", word.upper()), ("lower", word.lower()), ("reversed", word[::-1]))
    for encoding in ("utf-16-le", "utf-16-be"):
        yield encoding, word.decode().encode(encoding)
    yield "hex", word.hex().encode()
    yield "HEX", word.hex().upper().encode()
    for alphabet, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        for shift in range(3):
            # What stands before and after is unknown: only the characters that `word` alone decides.
            whole = encode(b"\0" * shift + word)
            begin = (shift * 8 + 5) // 6
            yield f"{alphabet}+{shift}", whole[begin : (shift + len(word)) * 8 // 6]
    yield "base32", base64.b32encode(word)[: len(word) * 8 // 5]


def unpacked(data: bytes, depth: int = 2) -> Iterator[tuple[str, bytes]]:
    """`data`, and all that decompresses or decodes from any place in it; `depth` layers deep."""
    yield "", data
    if depth == 0:
        return
    for origin, inner in _opened(data):
        for deeper, innermost in unpacked(inner, depth - 1):
            yield f"{origin} {deeper}".rstrip(), innermost


def _opened(data: bytes) -> Iterator[tuple[str, bytes]]:
    view = memoryview(data)
    for name, (magic, decompress) in MAGICS.items():
        for match in magic.finditer(data):
            try:
                inner = decompress(view[match.start() :])
            except (zstd.ZstdError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
                continue  # it only looked like one
            yield f"{name} at {match.start()}", inner
    for run in _BASE64_RUN.finditer(data):
        text = run[0].replace(b"-", b"+").replace(b"_", b"/")
        yield f"base64 at {run.start()}", base64.b64decode(text[: len(text) // 4 * 4])


def leaks(stored: dict[str, bytes], words: dict[str, bytes]) -> list[str]:
    """Where any of `words` (by what they are) shows in the names or bytes of `stored`; empty if nowhere."""
    forms = {what: dict(disguises(word)) for what, word in words.items()}
    found = []
    for name, content in stored.items():
        for origin, data in (("name", name.encode()), *unpacked(content)):
            found += [
                f"{what} ({form}) in {name} {origin}"
                for what, variants in forms.items()
                for form, variant in variants.items()
                if variant in data
            ]
    return found
