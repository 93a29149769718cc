"""What a WebDAV server says about a folder (RFC 4918, `multistatus`), read piece by piece as it comes in.

The server is not trusted: no document type, so no entities; bounded depth, texts and numbers of members.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from xml.parsers import expat  # bounded and without entities below

from claude_syncd.store.names import is_part

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>'
)
MANY_MEMBERS = 2_000_000
_DEEPEST = 32
_LONGEST_TEXT = 16 * 1024
_SPACE = "DAV: "
_TEXTS = {"href", "status", "getcontentlength", "getlastmodified"}
_STATUS = re.compile(r"HTTP/\S+ +([0-9]{3})\b")
_SIZE = re.compile(r"[0-9]{1,15}")


class NotUnderstood(Exception):
    """The answer is no `multistatus`, or not a whole one; says why in words of ours."""


class Incomplete(Exception):
    """The server could not tell about every member; says what is lacking in words of ours."""


class Elsewhere(Exception):
    """The answer is about another folder than the one asked about."""


@dataclass(frozen=True, slots=True)
class Member:
    """An object or a folder; `size` is 0 for a folder; `modified` in seconds since 1970, by the server's clock."""

    is_folder: bool
    size: int
    modified: float | None


@dataclass(slots=True)
class _Response:
    """What is said about one resource, as far as it is read."""

    href: str = ""
    status: int = 200
    is_folder: bool = False
    size: int | None = None
    modified: float | None = None


@dataclass(slots=True)
class _Properties:
    """One group of properties and the status that goes for all of them."""

    status: int | None = None
    is_folder: bool = False
    texts: dict[str, str] = field(default_factory=dict)


class Listing:
    """The resource at `path` (decoded) and its members: `feed` all bytes, `end`, then read `is_folder` and `members`.

    `members` are those whose names objects may have; of `others`, which belong to somebody else, it is the number.
    `now` is the server's clock, where it is known. `feed` and `end` raise NotUnderstood, Incomplete and Elsewhere.
    """

    def __init__(self, path: str) -> None:
        self.is_folder = False
        self.members: dict[str, Member] = {}
        self.others = 0
        self.now: float | None = None
        self._path = path.rstrip("/")
        self._found = False
        self._open: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._response = _Response()
        self._properties = _Properties()
        self._ends: dict[str, Callable[[str], None]] = {
            "href": self._href,
            "status": self._status,
            "getcontentlength": lambda text: self._property("size", text),
            "getlastmodified": lambda text: self._property("modified", text),
            "collection": self._collection,
            "propstat": self._propstat,
            "response": self._end_response,
        }
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        self._parse(data, last=False)

    def end(self) -> None:
        """See that the answer was whole, and about the folder that it should be about."""
        self._parse(b"", last=True)
        if not self._found:
            raise Elsewhere

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise NotUnderstood("no whole XML") from error

    def _doctype(self, *_: object) -> None:
        raise NotUnderstood("a document type")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        element = name.removeprefix(_SPACE) if name.startswith(_SPACE) else ""
        if not self._open and element != "multistatus":
            raise NotUnderstood("no multistatus")
        self._open.append(element)
        if len(self._open) > _DEEPEST:
            raise NotUnderstood("too deep")
        self._text.clear()
        self._length = 0
        if element == "response":
            self._response = _Response()
        elif element == "propstat":
            self._properties = _Properties()

    def _characters(self, text: str) -> None:
        if self._open[-1] in _TEXTS:
            self._length += len(text)
            if self._length > _LONGEST_TEXT:
                raise NotUnderstood("too long a text")
            self._text.append(text)

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        act = self._ends.get(element)
        if act is not None:
            act("".join(self._text).strip())
        self._text.clear()

    def _href(self, text: str) -> None:
        if self._open[-1] == "response":  # others have one inside, too
            self._response.href = text

    def _status(self, text: str) -> None:
        matched = _STATUS.match(text)
        if matched is None:
            raise NotUnderstood("a status that is none")
        if self._open[-1] == "propstat":
            self._properties.status = int(matched[1])
        elif self._open[-1] == "response":
            self._response.status = int(matched[1])

    def _property(self, name: str, text: str) -> None:
        if self._open[-1] == "prop":
            self._properties.texts[name] = text

    def _collection(self, _text: str) -> None:
        if self._open[-1] == "resourcetype":
            self._properties.is_folder = True

    def _propstat(self, _text: str) -> None:
        said = self._properties
        if said.status is None:
            raise NotUnderstood("properties without a status")
        if not 200 <= said.status < 300:  # these are the properties that it has not
            return
        self._response.is_folder |= said.is_folder
        if _SIZE.fullmatch(said.texts.get("size", "")):
            self._response.size = int(said.texts["size"])
        self._response.modified = seconds(said.texts.get("modified", "")) or self._response.modified

    def _end_response(self, _text: str) -> None:
        said = self._response
        path = _path_of(said.href)
        if path == self._path:
            if said.status >= 300:
                raise Incomplete(f"status {said.status}")
            self._found, self.is_folder = True, said.is_folder
            return
        name = path.removeprefix(f"{self._path}/")
        if not path.startswith(f"{self._path}/") or not is_part(name):
            self.others += 1
            return
        if len(self.members) >= MANY_MEMBERS:
            raise NotUnderstood("too many members")
        if said.status >= 300:
            raise Incomplete(f"status {said.status} of a member")
        if said.size is None and not said.is_folder:
            raise Incomplete("no size of a member")
        self.members[name] = Member(said.is_folder, 0 if said.is_folder else said.size or 0, said.modified)


def _path_of(href: str) -> str:
    """The path that `href` names, decoded and without a slash at its end. Whatever server it names is ours."""
    try:
        return unquote(urlsplit(href).path).rstrip("/")
    except ValueError as error:
        raise NotUnderstood("an address that is none") from error


def seconds(text: str) -> float | None:
    """What a date in a header or property means, in seconds since 1970; None for one that is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
