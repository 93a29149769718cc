"""Bugs seen in tools of this kind that changed or refused somebody's bytes, names or times."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from devices import Device, settle

from claude_syncd.core.portable import encode_key

if TYPE_CHECKING:
    from pathlib import Path

Pair = tuple[Device, Device]
MAGIC = (
    b"age-encryption.org/v1\n-> X25519 ", b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"CSYN\x01", b"\x28\xb5\x2f\xfd",
    b"\x1f\x8b\x08", b"Salted__", b"\x80\x04\x95", b'{"encrypted":true,', b"\xef\xbb\xbf{", b"PK\x03\x04",
)  # fmt: skip
"""What encrypted, compressed, pickled and marked files begin with."""


def session(number: int) -> str:
    return f"11111111-2222-4333-8444-{number:012d}"


def project(device: Device, folder: str = "dev") -> str:
    return f"projects/{encode_key(str(device.home.resolve() / folder))}"


def contents(device: Device, under: str) -> dict[str, bytes]:
    folder = device.places.tree / under
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


async def test_a_session_may_begin_with_any_bytes(pair: Pair) -> None:
    ann, bob = pair
    beginnings = [bytes([first]) for first in range(256)] + list(MAGIC)
    for number, beginning in enumerate(beginnings):
        ann.write(f"{project(ann)}/{session(number)}.jsonl", beginning + b' and "so": "on"\n', age=1000)
    await settle(ann, bob)
    assert contents(bob, project(bob)) == contents(ann, project(ann))
    assert len(contents(bob, project(bob))) == len(beginnings)
    # And what they begin with does not decide how an append goes.
    for number in range(0, len(beginnings), 7):
        ann.append(f"{project(ann)}/{session(number)}.jsonl", '{"one":"more"}\n')
    await settle(ann, bob)
    assert contents(bob, project(bob)) == contents(ann, project(ann))


async def test_the_text_home_is_text(pair: Pair) -> None:
    ann, bob = pair
    home = ann.home.resolve()
    line = (
        f'{{"type":"user","cwd":"{home}/dev","message":"echo ${{HOME}} $HOME ~ {{{{HOME}}}} %USERPROFILE% {home}x"}}\n'
    )
    for rel in (
        f"{project(ann)}/{session(1)}.jsonl",
        f"{project(ann)}/memory/MEMORY.md",
        "CLAUDE.md",
        "commands/go.md",
    ):
        ann.write(rel, line, age=1000)
    await settle(ann, bob)
    assert contents(bob, project(bob)) == contents(ann, project(ann))
    for rel in ("CLAUDE.md", "commands/go.md"):
        assert bob.read(rel) == line


async def test_bytes_that_are_no_utf_8_stay(pair: Pair) -> None:
    ann, bob = pair
    odd = b'{"type":"user","message":"\xff\xfe \xc3( \xed\xa0\x80 caf\xe9 \x00\x00"}\r\n\xf0\x9f{"a":1}\n\n \n'
    for rel in (f"{project(ann)}/{session(1)}.jsonl", f"{project(ann)}/{session(1)}/tool-results/x.txt"):
        ann.write(rel, odd, age=1000)
    ann.write("CLAUDE.md", odd, age=1000)
    ann.write("rules/r.md", odd, age=1000)
    await settle(ann, bob)
    # Merging does not mend them either.
    ann.write("rules/r.md", b"first \xe9\n" + odd, age=90)
    bob.write("rules/r.md", odd + b"last \xe8\n", age=80)
    await settle(ann, bob)
    assert contents(bob, project(bob)) == contents(ann, project(ann))
    assert set(contents(bob, project(bob)).values()) == {odd}
    for device in pair:
        assert contents(device, "")["CLAUDE.md"] == odd
        assert contents(device, "rules")["r.md"] == b"first \xe9\n" + odd + b"last \xe8\n"


async def test_names_are_not_decoded(pair: Pair) -> None:
    ann, bob = pair
    names = [
        "a_b.md",
        "a__b.md",
        "_a.md",
        "a-b.md",
        "a.b.c.md",
        "a%2Fb.md",
        "a+b c.md",
        "~a.md",
        "=a.md",
        "a~=b.md",
        "é.md",
    ]
    for name in names:
        ann.write(f"agents/{name}", name, age=1000)
        ann.write(f"{project(ann)}/memory/{name}", name, age=1000)
    await settle(ann, bob)
    for under in ("agents", "memory"):
        at_ann, at_bob = (under if under == "agents" else f"{project(device)}/{under}" for device in pair)
        assert contents(bob, at_bob) == contents(ann, at_ann) == {name: name.encode() for name in names}


async def test_sessions_are_in_their_order_on_the_other_machine(pair: Pair) -> None:
    ann, bob = pair
    # Written in another order than that of their times, and pushed in two goes.
    ages = [50_000, 400, 900_000, 7_000, 86_400 * 20, 1_000, 3_600]
    for number, age in enumerate(ages):
        ann.write(f"{project(ann)}/{session(number)}.jsonl", f'{{"n":{number}}}\n', age=age)
        if number == 3:
            await ann.sync()
    await settle(ann, bob)

    def resume_list(folder: Path) -> list[str]:
        return sorted(os.listdir(folder), key=lambda name: (folder / name).stat().st_mtime_ns, reverse=True)

    listed = resume_list(bob.places.tree / project(bob))
    assert listed == resume_list(ann.places.tree / project(ann))
    assert listed == [f"{session(n)}.jsonl" for n in sorted(range(len(ages)), key=lambda n: ages[n])]


async def test_each_session_is_in_its_own_project(pair: Pair) -> None:
    ann, bob = pair
    folders = ["dev", "dev/app", "dev-app", "dev_app/x", "work", "Work/My App.v2"]
    for number, folder in enumerate(folders):
        cwd = str(ann.home.resolve() / folder)
        ann.write(f"{project(ann, folder)}/{session(number)}.jsonl", f'{{"type":"user","cwd":"{cwd}"}}\n', age=1000)
        ann.write(f"{project(ann, folder)}/memory/{number}.md", folder, age=1000)
    await settle(ann, bob)
    by_folder: dict[str, set[str]] = {}
    for number, folder in enumerate(folders):
        by_folder.setdefault(project(bob, folder), set()).update({f"{session(number)}.jsonl", f"memory/{number}.md"})
    assert {folder: set(contents(bob, folder)) for folder in by_folder} == by_folder
    assert len(os.listdir(bob.places.tree / "projects")) == len(by_folder)


async def test_copies_and_locks_of_others_are_no_data(pair: Pair) -> None:
    ann, bob = pair
    ann.write("agents/x.md", "x\n", age=100)
    for rel in (
        "agents/x.md.conflict", "agents/x.md.conflict.1700000000", "agents/x.conflict-2026-01-01.md",
        "agents/x.md.lock", "agents/x.sync-conflict-20260101-120000-ABCDEFG.md",
        "agents/x (ann's conflicted copy 2026-01-01).md",
        "history.jsonl.lock/owner", f"{project(ann)}/{session(1)}.jsonl.lock", "settings.json.tmp.4711",
    ):  # fmt: skip
        ann.write(rel, "not data\n", age=100)
    result = await ann.sync()
    assert result.uploaded == 1
    await settle(ann, bob)
    assert list(bob.tree()) == ["agents/x.md"]
