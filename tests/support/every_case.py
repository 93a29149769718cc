"""Every case of `core.reconcile` as a table in Markdown, for docs/semantics.md:

.venv/bin/python tests/support/every_case.py    # writes it there anew
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from claude_syncd.core.model import Base, FileClass, Kind, Local, Record
from claude_syncd.core.reconcile import Action, Outcome, reconcile

PAGE = Path(__file__).parents[2] / "docs" / "semantics.md"
BEGIN, END = "<!-- from the code -->\n", "<!-- end -->\n"
COLUMNS = {
    "a session": FileClass.TRANSCRIPT,
    "text, settings, prompts": FileClass.TEXT,
    "another file": FileClass.OTHER,
}
_OLD, _HERE, _THERE = "0", "1", "2"  # contents
_BEFORE, _LATER = 100, 200


def _base(kind: Kind, *, evicted: bool = False) -> Base:
    content = _OLD if kind is Kind.FILE else ""
    return Base(kind=kind, vector={"them": 1}, mtime_ns=50, mode=0o600, sha256=content, evicted=evicted)


def _local(content: str, mtime_ns: int = 150) -> Local:
    return Local(size=1, sha256=content, mtime_ns=mtime_ns, mode=0o600)


def _theirs(kind: Kind, content: str, seq: int, mtime_ns: int = _BEFORE, *, unseen: bool = False) -> Record:
    """A version of another device, which follows the base; of one that had not seen the base, with `unseen`."""
    vector = {"other": seq} if unseen else {"them": seq}
    device = "other" if unseen else "them"
    return Record(
        path="tree/x", kind=kind, device=device, seq=seq, vector=vector, mtime_ns=mtime_ns, mode=0o600, sha256=content
    )


BASES: dict[str, Base | None] = {
    "nothing": None,
    "a version": _base(Kind.FILE),
    "a version, gone here since": _base(Kind.FILE, evicted=True),
    "that it was deleted": _base(Kind.TOMBSTONE),
}
LOCALS: dict[str, Local | None] = {
    "nothing": None,
    "that version": _local(_OLD),
    "what is in the vault": _local(_THERE),
    "something else": _local(_HERE),
}
VAULTS: dict[str, list[Record]] = {
    "nothing": [],
    "that version": [_theirs(Kind.FILE, _OLD, 1, 50)],
    "one that follows it": [_theirs(Kind.FILE, _THERE, 2)],
    "one that follows it, newer than the file here": [_theirs(Kind.FILE, _THERE, 2, _LATER)],
    "one made beside it": [_theirs(Kind.FILE, _THERE, 1, unseen=True)],
    "one made beside it, newer than the file here": [_theirs(Kind.FILE, _THERE, 1, _LATER, unseen=True)],
    "a deletion of it": [_theirs(Kind.TOMBSTONE, "", 2)],
    "a deletion by one who had not seen it": [_theirs(Kind.TOMBSTONE, "", 1, unseen=True)],
}
_NEWER = ", newer than the file here"
_WORDS = {
    Action.NOTHING: "nothing",
    Action.ADOPT: "noted",
    Action.UPLOAD: "uploaded",
    Action.DOWNLOAD: "downloaded",
    Action.DELETE: "deleted everywhere",
    Action.REMOVE: "deleted here",
    Action.EVICT: "gone here, stays in the vault",
    Action.COMPARE: "**both are read and merged**",
}


def _possible(base: str, local: str, vault: str) -> bool:
    """Whether the three can meet, and differ from a case that has its own row."""
    known = BASES[base]
    if known is None:
        # With nothing known each version in the vault was made beside what is here.
        return local != "that version" and (vault == "nothing" or VAULTS[vault][0].device == "other")
    if known.kind is Kind.TOMBSTONE and ("that version" in {local, vault} or vault == "a deletion of it"):
        return False
    in_vault = {record.sha256 for record in VAULTS[vault]} - {""}
    return not (local == "what is in the vault" and (not in_vault or in_vault == {_OLD}))


def _heads(base: str, vault: str) -> list[Record]:
    """What was made beside a version that is known stands beside it in the vault, too."""
    known, current = BASES[base], VAULTS[vault]
    if known is not None and current and current[0].device == "other":
        return [_theirs(known.kind, known.sha256, 1, 50), *current]
    return current


def _outcome(base: str, local: str, vault: str, file_class: FileClass) -> Outcome:
    return reconcile(me="me", file_class=file_class, base=BASES[base], local=LOCALS[local], current=_heads(base, vault))


def _told(outcome: Outcome) -> str:
    said = _WORDS[outcome.action]
    return f"{said}; the file here is kept as a conflict" if outcome.keep_local else said


def rows() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Known, here, in the vault, and what is done with each kind of file. Where it makes no difference which one is
    newer there is one row.
    """
    found: list[tuple[str, str, str, tuple[str, ...]]] = []
    for base, local, vault in product(BASES, LOCALS, VAULTS):
        if not _possible(base, local, vault):
            continue
        done = tuple(_told(_outcome(base, local, vault, file_class)) for file_class in COLUMNS.values())
        if not vault.endswith(_NEWER):
            found.append((base, local, vault, done))
        elif done != found[-1][3]:
            found[-1] = (base, local, f"{found[-1][2]}, older than the file here", found[-1][3])
            found.append((base, local, vault, done))
    return found


def table() -> str:
    """The rows in Markdown."""
    header = ["known here", "on the disk", "in the vault", *COLUMNS]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join([base, local, vault, *done])} |" for base, local, vault, done in rows()]
    return "\n".join(lines) + "\n"


def page() -> tuple[str, str]:
    """The page as it is, and as it should be."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return text, before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(page()[1])
