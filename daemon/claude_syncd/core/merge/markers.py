"""Two texts as one in which whoever edits it sees where they differ. Pure."""

from __future__ import annotations

from difflib import SequenceMatcher

OURS, BETWEEN, THEIRS = "<<<<<<<", "=======", ">>>>>>>"


def marked(ours: str, theirs: str, *, our_name: str, their_name: str) -> str:
    """What both have in common once, and where they differ both, between lines that begin with markers, as git does."""
    left, right = _lines(ours), _lines(theirs)
    out: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal":
            out += left[a:b]
            continue
        out += [f"{OURS} {our_name}\n", *_ended(left[a:b]), f"{BETWEEN}\n"]
        out += [*_ended(right[c:d]), f"{THEIRS} {their_name}\n"]
    return "".join(out)


def has_markers(text: str) -> bool:
    """Whether places are left in which both sides stand."""
    starts = {line.split(" ", 1)[0].rstrip("\r\n") for line in _lines(text)}
    return OURS in starts or THEIRS in starts


def _lines(text: str) -> list[str]:
    """By newlines only: other characters that Python takes for ends of lines belong into one."""
    parts = text.split("\n")
    lines = [f"{part}\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _ended(lines: list[str]) -> list[str]:
    """The last line of a text may have no end; a marker needs a line of its own."""
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]
