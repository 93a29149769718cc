"""JSON as it is spelled: a tree whose parts still know their text, so that what is not changed stays as it was.

Stricter than JSON where a merge needs it: a key that comes twice in an object is refused, as are nesting and size
beyond what settings have.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import msgspec

MAX_SIZE = 1 << 20
MAX_DEPTH = 64

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_PLAIN = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null", re.ASCII)


class Invalid(msgspec.Struct, frozen=True):
    """What can't be taken for JSON, and why (a clause for a message)."""

    reason: str


class Scalar(msgspec.Struct, frozen=True):
    """A string, number, true, false or null; `string` is what a string says, None for the others."""

    text: str
    string: str | None = None


class Item(NamedTuple):
    """An element of an array. `lead`, `trail`: the white space before it, and between it and the comma after it."""

    lead: str
    value: Node
    trail: str


class Member(NamedTuple):
    """A member of an object; `name` is the key's text with its quotes, `colon` the colon and the space around it."""

    lead: str
    name: str
    key: str
    colon: str
    value: Node
    trail: str


class Array(msgspec.Struct, frozen=True):
    """`closing` is the white space before the bracket; the last item has no trail of its own."""

    items: tuple[Item, ...]
    closing: str


class Object(msgspec.Struct, frozen=True):
    """`closing` is the white space before the brace; the last member has no trail of its own."""

    members: tuple[Member, ...]
    closing: str

    def get(self, key: str) -> Node | None:
        """The value of a key."""
        return next((m.value for m in self.members if m.key == key), None)


Node = Scalar | Array | Object


class Document(msgspec.Struct, frozen=True):
    """A whole text: its value, and the white space around it."""

    before: str
    root: Node
    after: str


class _Broken(Exception):
    pass


def parse(content: bytes) -> Document | Invalid:
    """The tree of a text; `document(parse(content)) == content` for all that is valid."""
    if len(content) > MAX_SIZE:
        return Invalid("it is too large")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return Invalid("it is not UTF-8")
    try:
        return _document(text)
    except _Broken as broken:
        return Invalid(str(broken))


def document(tree: Document) -> bytes:
    """The text of a tree."""
    return f"{tree.before}{spelled(tree.root)}{tree.after}".encode()


def spelled(node: Node) -> str:
    """The text of a value."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Array):
        body = ",".join(f"{i.lead}{spelled(i.value)}{i.trail}" for i in node.items)
        return f"[{body}{node.closing}]"
    body = ",".join(f"{m.lead}{m.name}{m.colon}{spelled(m.value)}{m.trail}" for m in node.members)
    return f"{{{body}{node.closing}}}"


def meaning(node: Node | None) -> str | None:
    """What a value says, however it is spelled, as a text to compare; numbers are compared as they are spelled."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        return node.text if node.string is None else json.dumps(node.string)
    if isinstance(node, Array):
        return "[" + ",".join(str(meaning(i.value)) for i in node.items) + "]"
    return "{" + ",".join(sorted(f"{json.dumps(m.key)}:{meaning(m.value)}" for m in node.members)) + "}"


def _document(text: str) -> Document:
    before, at = _space(text, 0)
    root, at = _value(text, at, MAX_DEPTH)
    after, at = _space(text, at)
    if at != len(text):
        raise _Broken(_place(text, at))
    return Document(before, root, after)


def _value(text: str, at: int, depth: int) -> tuple[Node, int]:
    if not depth:
        raise _Broken("it is nested too deeply")
    first = text[at : at + 1]
    if first == "{":
        return _object(text, at + 1, depth - 1)
    if first == "[":
        return _array(text, at + 1, depth - 1)
    if first == '"':
        string, end = _string(text, at)
        return Scalar(text[at:end], string), end
    match = _PLAIN.match(text, at)
    if match is None:
        raise _Broken(_place(text, at))
    return Scalar(match[0]), match.end()


def _object(text: str, at: int, depth: int) -> tuple[Object, int]:
    members: list[Member] = []
    keys: set[str] = set()
    lead, at = _space(text, at)
    if text[at : at + 1] == "}":
        return Object((), lead), at + 1
    while True:
        key, end = _string(text, at)
        if key in keys:
            raise _Broken(f"the key {key[:60]!a} comes twice")
        keys.add(key)
        name = text[at:end]
        space, at = _space(text, end)
        at = _expect(text, at, ":")
        behind, at = _space(text, at)
        value, at = _value(text, at, depth)
        trail, at = _space(text, at)
        done = text[at : at + 1] == "}"
        members.append(Member(lead, name, key, f"{space}:{behind}", value, "" if done else trail))
        if done:
            return Object(tuple(members), trail), at + 1
        lead, at = _space(text, _expect(text, at, ","))


def _array(text: str, at: int, depth: int) -> tuple[Array, int]:
    items: list[Item] = []
    lead, at = _space(text, at)
    if text[at : at + 1] == "]":
        return Array((), lead), at + 1
    while True:
        value, at = _value(text, at, depth)
        trail, at = _space(text, at)
        done = text[at : at + 1] == "]"
        items.append(Item(lead, value, "" if done else trail))
        if done:
            return Array(tuple(items), trail), at + 1
        lead, at = _space(text, _expect(text, at, ","))


def _string(text: str, at: int) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if match is None:
        raise _Broken(_place(text, at))
    return json.loads(match[0]), match.end()


def _space(text: str, at: int) -> tuple[str, int]:
    match = _SPACE.match(text, at)
    end = match.end() if match is not None else at
    return text[at:end], end


def _expect(text: str, at: int, what: str) -> int:
    if text[at : at + 1] != what:
        raise _Broken(_place(text, at))
    return at + 1


def _place(text: str, at: int) -> str:
    return f"it is not valid JSON at line {text.count(chr(10), 0, at) + 1}"
