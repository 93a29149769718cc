"""Portable paths: one name for a file on every device, though Claude Code names project folders by absolute paths.

`projects/-home-ann-dev-app/x` on one device and `projects/-Users-ann-dev-app/x` on another are both
`tree/projects/~-dev-app/x` in the vault. Claude Code's project keys lose information (every character that is not a
letter or digit becomes "-"), so a transcript's recorded folder decides where it is known.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from claude_syncd.core.names import MAX_PART_BYTES, check_portable
from claude_syncd.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_KEY = 200
"""Claude Code cuts longer project keys here and appends a hash of the whole path."""
MAX_SHORT = 120
"""A longer relative path could be cut on a device with a longer home, so it is kept in full ("~=")."""
WINDOW = 64 * 1024
"""How far into a transcript, from either end, Claude Code looks for the folder it was recorded in."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,240}")
_NOT_KEY = re.compile(r"[^A-Za-z0-9]")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_TORN_CWD = re.compile(rb'"cwd": ?("(?:[^"\\]|\\.)*")')
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Root(StrEnum):
    """The folder that a local path is relative to."""

    TREE = "tree"  # ~/.claude
    CONFLICTS = "conflicts"  # the kept sides, in the state folder


class _Line(msgspec.Struct):
    cwd: object = None
    type: object = None
    relocated_cwd: object = msgspec.field(default=None, name="relocatedCwd")


_decoder = msgspec.json.Decoder(_Line)
_text_decoder = msgspec.json.Decoder(str)


def encode_key(path: str) -> str:
    """Claude Code's name for the project folder of the absolute `path`: ASCII letters, digits and "-".

    Over 200 characters it is cut there and "-" and a hash of the whole path in base 36 follow.
    """
    path = unicodedata.normalize("NFC", path)
    if path.isascii():
        key = _NOT_KEY.sub("-", path)
    else:
        key = "".join(chr(u) if u < 128 and chr(u).isalnum() else "-" for u in _units(path))
    if len(key) <= MAX_KEY:
        return key
    value = 0
    for unit in _units(path):
        value = (value * 31 + unit) & 0xFFFFFFFF
    return f"{key[:MAX_KEY]}-{_base36(min(value, 0x100000000 - value))}"


def portable_project(key: str, homes: tuple[str, ...], cwd: str | None) -> str:
    """What the vault calls the local project folder `key`; `local_project` with the same homes gives `key` back.

    `homes`: this user's home folder, absolute; first as Claude Code sees it (symlinks resolved), then other
    spellings of it. `cwd`: the folder recorded in one of its transcripts. One that does not lead to `key` was
    recorded elsewhere (another device, or before a move) and says nothing; then the text of `key` decides.
    """
    home = _home(homes)
    home_key = encode_key(home)
    if not home or len(home_key) > MAX_KEY:
        return key
    if cwd:
        for spelling in homes:
            rel = _below(spelling, cwd)
            if rel is not None and encode_key(_join(home, rel)) == key:
                return _under_home(key, home_key, rel)
        if encode_key(cwd) == key:
            return key
    rest = key.removeprefix(home_key)
    if rest == key or len(rest) > MAX_SHORT or not (rest == "" or rest.startswith("-")):
        return key
    if len(key) > MAX_KEY:  # cut by Claude Code: the same text means another folder elsewhere
        return key
    return "~" + rest


@lru_cache(maxsize=1 << 12)
def local_project(portable: str, homes: tuple[str, ...]) -> str:
    """The name of the project folder on this device. Raises FormatError for what `portable_project` can't return."""
    if portable.startswith("~="):
        rel = unquote(portable[2:], errors="replace")
        climbs = any(part in {"", ".", ".."} for part in rel.split("/"))
        if climbs or len(portable) > MAX_PART_BYTES or "~=" + quote(rel, safe="") != portable:
            raise FormatError(f"the project name {portable[:120]!a} is malformed")
        return encode_key(_join(_home(homes), rel))
    if portable == "~" or portable.startswith("~-"):
        rest = portable[1:]
        if rest and not (_KEY.fullmatch(rest) and len(rest) <= MAX_SHORT):
            raise FormatError(f"the project name {portable[:120]!a} is malformed")
        # Longer than a key may be only under a home of over 80 characters; what Claude Code would make of it then
        # can't be known.
        return encode_key(_home(homes)) + rest
    if not _KEY.fullmatch(portable):
        raise FormatError(f"the project name {portable[:120]!a} is malformed")
    return portable


class Projects:
    """Project folders of this device and their names in the vault, one to one, as decided first.

    Two names of the vault can mean one folder here: "-home-ann-b", which lies beside the home of one device, and
    "~-b". The first that is learned owns the folder; the other one has no place on this device.
    """

    def __init__(self, homes: tuple[str, ...], cwds: Callable[[str], Iterable[str]]) -> None:
        """`cwds` gives the folders recorded in the transcripts of a local project folder, the likeliest first."""
        self._homes = homes
        self._cwds = cwds
        self._portable: dict[str, str] = {}

    def learn(self, portable: str) -> str | None:
        """The local project folder for a name of the vault; None where another name owns it. Raises FormatError."""
        key = local_project(portable, self._homes)
        return key if self._portable.setdefault(key, portable) == portable else None

    def local(self, portable: str) -> str:
        """The local project folder for a name of the vault. Raises FormatError where it has no place here."""
        key = self.learn(portable)
        if key is None:
            raise FormatError(f"the project {portable!r} has the same folder here as another project")
        return key

    def portable(self, key: str) -> str:
        """The vault's name for a local project folder."""
        known = self._portable.get(key)
        if known is None:
            cwd = next((c for c in self._cwds(key) if self._leads_to(key, c)), None)
            known = self._portable[key] = portable_project(key, self._homes, cwd)
        return known

    def place(self, portable: str) -> str | None:
        """The local project folder that a name of the vault has, or would have; None where it has no place here.
        Decides nothing.
        """
        try:
            key = local_project(portable, self._homes)
        except FormatError:
            return None
        return key if self._portable.get(key, portable) == portable else None

    def worked_in(self, key: str) -> str | None:
        """The absolute folder on this device that a local project folder belongs to, by what its transcripts recorded
        here, or on a device where it lies in the same place below the home; None where they don't tell.
        """
        for cwd in self._cwds(key):
            if encode_key(cwd) == key:
                return cwd
            parts = _comparable(cwd).split("/")
            for first in range(1, len(parts) + 1):
                folder = _join(_home(self._homes), "/".join(parts[first:]))
                if encode_key(folder) == key:
                    return folder
        return None

    def _leads_to(self, key: str, cwd: str) -> bool:
        rels = (_below(spelling, cwd) for spelling in self._homes)
        return encode_key(cwd) == key or any(
            encode_key(_join(_home(self._homes), rel)) == key for rel in rels if rel is not None
        )


def cwd_of_transcript(head: bytes, tail: bytes) -> str | None:
    """The folder a transcript belongs to, from its first and its last 64 KiB; None if they don't say.

    It is the first recorded folder, unless a later line says that the session was moved. Broken lines are skipped.
    """
    cwd: str | None = None
    lines = head[:WINDOW].split(b"\n")
    for raw in lines:
        line = _parse(raw)
        if line is not None and isinstance(line.cwd, str) and line.cwd:
            cwd = line.cwd
            break
    if cwd is None:
        torn = _TORN_CWD.search(lines[-1])  # the window may end within the first long line
        if torn:
            cwd = _text(torn[1])
    if b'"relocated"' in tail:
        for raw in reversed(tail[-WINDOW:].split(b"\n")):
            line = _parse(raw) if b'"relocated"' in raw else None
            if line is not None and line.type == "relocated" and isinstance(line.relocated_cwd, str):
                return line.relocated_cwd or cwd
    return cwd


def to_portable(rel: str, project: Callable[[str], str]) -> str:
    """The portable path of `rel`, which is relative to `~/.claude` and in NFC. Raises FormatError if it has none.

    `project` names local project folders for the vault.
    """
    first, _, rest = rel.partition("/")
    if first == "projects":
        key, _, below = rest.partition("/")
        if not below or not _KEY.fullmatch(key):
            raise FormatError(f"{rel[:120]!a} is in no project folder of Claude Code's")
        rel = f"projects/{project(key)}/{below}"
    path = f"tree/{rel}"
    check_portable(path)
    return path


def to_local(path: str, project: Callable[[str], str]) -> tuple[Root, str]:
    """The root and the path below it where a portable path lies on this device. Raises FormatError if it is unsafe.

    `project` names the vault's project folders on this device.
    """
    check_portable(path)
    first, _, rel = path.partition("/")
    if first == Root.CONFLICTS:
        return Root.CONFLICTS, rel
    if rel == "projects" or rel.startswith("projects/"):
        name, _, below = rel[len("projects/") :].partition("/")
        key = project(name)
        if not below or not _KEY.fullmatch(key):
            raise FormatError(f"the path {path[:120]!a} is in no project folder")
        rel = f"projects/{key}/{below}"
    return Root.TREE, rel


def _under_home(key: str, home_key: str, rel: str) -> str:
    if len(key) <= MAX_KEY and len(key) - len(home_key) <= MAX_SHORT:
        return "~" + key[len(home_key) :]
    long = "~=" + quote(rel, safe="", errors="replace")
    # Longer than the name of a kept side's folder may be, or not text at all: it stays what it is here.
    return long if len(long) <= MAX_PART_BYTES and unquote(long[2:]) == rel else key


def _home(homes: tuple[str, ...]) -> str:
    """The canonical home without a trailing separator; "" for a home that is the root folder itself, or none."""
    return homes[0].rstrip("/\\") if homes else ""


def _join(home: str, rel: str) -> str:
    if not rel:
        return home
    if _WINDOWS.match(home):
        return home + "\\" + rel.replace("/", "\\")
    return f"{home}/{rel}"


def _below(home: str, path: str) -> str | None:
    """`path` relative to `home`, in NFC with "/" between parts, "" for home itself; None if it is not under it."""
    home, path = (_comparable(p) for p in (home, path))
    if path == home:
        return ""
    return path[len(home) + 1 :] if home and path.startswith(home + "/") else None


def _comparable(path: str) -> str:
    path = unicodedata.normalize("NFC", path)
    if _WINDOWS.match(path):
        path = path.replace("\\", "/")
        if path[1] == ":":
            path = path[0].upper() + path[1:]
    return path.rstrip("/")


def _units(text: str) -> list[int]:
    """The UTF-16 code units of `text`; surrogates that stand for undecodable bytes count one each."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [low | high << 8 for low, high in zip(data[::2], data[1::2], strict=True)]


def _base36(value: int) -> str:
    text = ""
    while True:
        value, digit = divmod(value, 36)
        text = _DIGITS[digit] + text
        if not value:
            return text


def _parse(raw: bytes) -> _Line | None:
    if b'"cwd"' not in raw and b'"relocated"' not in raw:
        return None
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _text(raw: bytes) -> str | None:
    try:
        return _text_decoder.decode(raw) or None
    except (msgspec.MsgspecError, UnicodeError):
        return None
