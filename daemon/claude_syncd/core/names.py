"""Names that are safe on every device: what a portable path may be, and how names compare with the deny-list."""

from __future__ import annotations

import re
import unicodedata

from claude_syncd.errors import FormatError

MAX_PATH_BYTES = 4096
MAX_PART_BYTES = 255
MAX_DEPTH = 64
ROOTS = ("tree", "conflicts")

# What nearly every path looks like; anything else takes the long way round. A part of dots alone is no plain part.
_PLAIN = re.compile(r"(?:tree|conflicts)(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9 ._~@+,=()%-]{1,200}){1,20}")
# Control characters, line and paragraph separators, and what HFS+ and APFS ignore when they compare names
# (also invisible to whoever reads a list of files).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\\\\]")
# "C:" begins an absolute path on Windows, ":$DATA" names the same file again on NTFS.
_COLON = re.compile(r"[A-Za-z]:|.*:\$", re.DOTALL)
# Not shown, or ignored by one file system or another; beyond those of general category Cf.
_IGNORABLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)


def check_portable(path: str) -> None:
    """Raise FormatError unless `path` is a portable path that every device may turn into a local one.

    Such a path is "tree/..." or "conflicts/...", in NFC, bounded in length and depth, and no part of it can escape
    its root or pass for another name on Linux or macOS.
    """
    if len(path) <= MAX_PATH_BYTES and _PLAIN.fullmatch(path):
        return
    try:
        size = len(path.encode()) if len(path) <= MAX_PATH_BYTES else MAX_PATH_BYTES + 1
    except UnicodeEncodeError:
        raise _refused(path, "is not valid Unicode") from None
    if size > MAX_PATH_BYTES:
        raise _refused(path, f"is longer than {MAX_PATH_BYTES} bytes")
    parts = path.split("/")
    if parts[0] not in ROOTS or len(parts) < 2:
        raise _refused(path, "does not begin with tree/ or conflicts/")
    if len(parts) > MAX_DEPTH:
        raise _refused(path, f"is nested more than {MAX_DEPTH} folders deep")
    if not unicodedata.is_normalized("NFC", path):
        raise _refused(path, "is not in Unicode normal form C")
    if _UNSAFE.search(path):
        raise _refused(path, "has control or invisible characters, or a backslash")
    for part in parts:
        if part in ("", ".", ".."):
            raise _refused(path, f"has {part!r} as a part")
        if _COLON.match(part):
            raise _refused(path, "has a drive or a stream in its name")
        if len(part.encode()) > MAX_PART_BYTES:
            raise _refused(path, "has too long a name")


def fold(name: str) -> str:
    """`name` as the most careless file system would compare it: NFKC, case folded, ignorable characters dropped,
    trailing dots and spaces too. Only for comparing.
    """
    if name.isascii():
        return name.lower().rstrip(" .")
    kept = "".join(
        c
        for c in unicodedata.normalize("NFKD", name)
        if c not in _IGNORABLE and unicodedata.category(c) not in ("Cf", "Cc")
    )
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", kept).casefold()).rstrip(" .")


def _refused(path: str, why: str) -> FormatError:
    shown = ascii(path if len(path) <= 120 else path[:120] + "...")
    return FormatError(f"the path {shown} {why}")
