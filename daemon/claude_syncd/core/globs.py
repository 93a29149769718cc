"""Patterns of files as users write them: a small part of gitignore's language, compiled to regular expressions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Globs:
    """A list of patterns over paths relative to `~/.claude`.

    `*` and `?` stay within one part of a path, `**` crosses parts, a trailing "/" means folders only, and what
    matches a folder matches everything below it. A pattern with a "/" before its end begins at the top, any other
    one matches at every depth. Nothing else is special.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._all = [_Glob(p) for p in patterns if p.strip("/")]
        whole = "|".join(g.regex for g in self._all)
        self._match = re.compile(whole, re.DOTALL).fullmatch if whole else None

    def __bool__(self) -> bool:
        return bool(self._all)

    def match(self, rel: str) -> bool:
        """Whether a pattern matches the file `rel` or a folder above it."""
        return self._match is not None and self._match(rel) is not None

    def names(self, rel: str, part: str) -> bool:
        """Whether a pattern that matches `rel` spells out `part`, one of its parts, rather than meaning anything."""
        return any(re.fullmatch(g.regex, rel, re.DOTALL) and g.spells(part) for g in self._all)

    def below(self, folder: str, parts: tuple[str, ...] = ()) -> bool:
        """Whether a pattern could match something below `folder`, given that one spells out each of `parts`."""
        spelled = all(any(g.spells(part) for g in self._all) for part in parts)
        return spelled and any(g.below(folder) for g in self._all)


class _Glob:
    def __init__(self, pattern: str) -> None:
        folder = pattern.endswith("/")
        body = pattern.strip("/")
        self.anchored = pattern.startswith("/") or "/" in body
        self._parts = body.split("/")
        regex = "" if self.anchored else "(?:.*/)?"
        for at, part in enumerate(self._parts):
            last = at == len(self._parts) - 1
            if part == "**":
                regex += ".*" if last else "(?:.*/)?"
            else:
                regex += _part(part) + ("" if last else "/")
        self.regex = regex + ("/.*" if folder else "(?:/.*)?")

    def spells(self, part: str) -> bool:
        return any(p.strip("*?") and _compiled(p).fullmatch(part) for p in self._parts)

    def below(self, folder: str) -> bool:
        if not self.anchored or not folder:
            return True
        for mine, theirs in zip(self._parts, folder.split("/"), strict=False):
            if mine == "**":
                return True
            if not _compiled(mine).fullmatch(theirs):
                return False
        return True


def _part(part: str) -> str:
    pieces = re.split(r"(\*+|\?)", part)
    return "".join("[^/]*" if p.startswith("*") else "[^/]" if p == "?" else re.escape(p) for p in pieces)


@lru_cache(maxsize=1024)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(_part(part), re.DOTALL)
