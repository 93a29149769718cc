"""A device with the vault's key that means harm, or a defect in one: whatever its log says, a pull writes nothing
outside the tree, nothing through a link, and nothing that is denied."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from devices import Device, Vault

from claude_syncd.core.model import Kind, LogEntry, Published, Record, RosterEntry, Slice
from claude_syncd.engine.round import Direction
from claude_syncd.vault import codec, layout

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

EVIL = "e" * 32
TEXT = b"owned\n"

PATHS = [
    "tree/../.bashrc",
    "tree/agents/../../.bashrc",
    "tree//etc/passwd",
    "/etc/cron.d/x",
    "tree/./agents/x.md",
    "tree/agents/x\\..\\y.md",
    "tree/agents/\x00.md",
    "tree/agents/a\nb.md",
    "tree/.credentials.json",
    "tree/.CREDENTIALS.json",
    "tree/.Credentials.JSON",
    "tree/.credentials\u200c.json",
    "tree/.credent\u0131als.json",
    "tree/\uff0ecredentials.json",
    "tree/agents/../.credentials.json",
    "tree/ide/1.lock",
    "tree/sessions/1.json",
    "tree/.claude.json",
    "tree/plugins/cache/x.js",
    "tree/agents/cafe\u0301.md",
    "tree/agents/" + "x" * 300,
    "tree/" + "/".join(["a"] * 200),
    "conflicts/../x",
    "conflicts/0123456789abcdef/tree/../../../x",
    "conflicts/0123456789abcdef/tree/.credentials.json",
    "elsewhere/x",
    "tree/projects/~-../../x/11111111-2222-4333-8444-555555555555.jsonl",
    "tree/projects/~=..%2F..%2Fx/11111111-2222-4333-8444-555555555555.jsonl",
    "tree/projects/../../11111111-2222-4333-8444-555555555555.jsonl",
]


def publish(vault: Vault, monkeypatch: pytest.MonkeyPatch, *records: Record) -> None:
    """Put a log entry of the hostile device into the store; its writer checks nothing."""
    blob = codec.seal_chunk(vault.keys, TEXT)
    name = layout.log_name(EVIL, 1)
    published = tuple(
        Published(record=r, slices=(Slice(name, 0, 0, len(TEXT)),) if r.kind is Kind.FILE else ()) for r in records
    )
    entry = LogEntry(device=EVIL, seq=1, prev="", time_ns=1, name="evil", seen={}, records=published)
    with monkeypatch.context() as patch:
        patch.setattr(layout, "is_portable_shape", lambda _: True)
        patch.setattr(codec, "_require", lambda *_: None)
        vault.objects[name] = codec.encode_log(vault.keys, entry, [blob])
    joined = RosterEntry(number=99, device=EVIL, name="evil", time_ns=1)
    number = sum(n.startswith("roster/") for n in vault.objects) + 1
    joined = RosterEntry(number=number, device=EVIL, name="evil", time_ns=1)
    vault.objects[layout.roster_name(number)] = codec.encode_roster(vault.keys, joined)


def evil(path: str, kind: Kind = Kind.FILE) -> Record:
    size = len(TEXT) if kind is Kind.FILE else 0
    return Record(
        path=path,
        kind=kind,
        device=EVIL,
        seq=1,
        vector={EVIL: 1},
        size=size,
        mtime_ns=1,
        mode=0o6777 if kind is Kind.FILE else 0,
        sha256=hashlib.sha256(TEXT).hexdigest() if kind is Kind.FILE else "",
    )


def everything(folder: Path, *without: Path) -> dict[str, bytes]:
    return {
        str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not any(w in p.parents for w in without)
    }


@pytest.mark.parametrize("path", PATHS)
async def test_a_hostile_path_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack, path: str
) -> None:
    vault = Vault()
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    (ann.home / ".bashrc").write_text("mine\n")
    await ann.start()
    before = everything(tmp_path, ann.places.state)
    try:
        publish(vault, monkeypatch, evil(path))
    except ValueError:  # not even a hostile writer can put that into the format
        return
    await ann.sync(Direction.PULL)
    assert everything(tmp_path, ann.places.state) == before
    written = [p for p in ann.places.state.rglob("*") if p.is_file() and p.read_bytes() == TEXT]
    assert not written


async def test_a_hostile_mode_gives_no_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    vault = Vault()
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    await ann.start()
    publish(vault, monkeypatch, evil("tree/agents/x.md"))
    await ann.sync(Direction.PULL)
    path = ann.places.tree / "agents/x.md"
    assert not path.exists() or path.stat().st_mode & 0o7000 == 0


@pytest.mark.parametrize("link", ["agents", "agents/deep", "agents/deep/x.md"])
async def test_nothing_is_written_or_removed_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack, link: str
) -> None:
    vault = Vault()
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "x.md").write_text("precious\n")
    (outside / "x.md").write_text("precious\n")
    target = {"agents": outside, "agents/deep": outside / "deep", "agents/deep/x.md": outside / "x.md"}[link]
    at = ann.places.tree / link
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(target)
    await ann.start()
    before = everything(outside)
    publish(vault, monkeypatch, evil("tree/agents/deep/x.md"))
    await ann.sync(Direction.PULL)
    assert everything(outside) == before
    assert at.is_symlink()


async def test_names_that_differ_only_in_case_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    vault = Vault()
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    ann.write("agents/Reviewer.md", "mine\n")
    await ann.start()
    publish(vault, monkeypatch, evil("tree/agents/reviewer.md"))
    await ann.sync(Direction.PULL)
    assert ann.read("agents/Reviewer.md") == "mine\n"


async def test_a_hostile_tombstone_goes_to_the_trash_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    vault = Vault()
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    ann.write("agents/x.md", "mine\n")
    await ann.start()
    await ann.sync()
    record = evil("tree/agents/x.md", Kind.TOMBSTONE)
    covering = Record(
        path=record.path, kind=Kind.TOMBSTONE, device=EVIL, seq=1, vector={EVIL: 1, ann.site.me: 1}, mtime_ns=1
    )
    publish(vault, monkeypatch, covering)
    await ann.sync(Direction.PULL)
    assert not ann.has("agents/x.md")
    assert "mine\n" in [p.read_text() for p in ann.places.trash.rglob("*") if p.is_file()]
