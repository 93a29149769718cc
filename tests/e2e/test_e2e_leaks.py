"""What the storage sees says nothing: no word of content, names or secrets, in whatever disguise."""

from __future__ import annotations

import base64
import gzip
import socket
from random import Random
from typing import TYPE_CHECKING

import pytest
from backports import zstd
from claude_paths import encode
from lab import over_stores
from machines import sync_all
from realistic_text import Conversation
from realistic_tree import EPOCH, SECRET, quick_tree
from stored_bytes import leaks

if TYPE_CHECKING:
    from lab import Lab

SESSION = "0aafeadc-2222-4000-8000-000000000001"
WORDS = {
    "content of a transcript": b"zanzibarspokeofoctarine",
    "content of a large file": b"quixotryinthehugefile",
    "content of a memory": b"mnemosynekeptthemarble",
    "file name": b"gallimaufry-agent-name",
    "project name": b"xylophonist-project",
    "folder name": b"brouhaha-folder",
    "device name": b"laptop-of-hieronymus",
    "passphrase": b"tremendous velociraptor cartwheel",
    "settings": b"flabbergastedmodel",
    "content of a forgotten edit": b"discombobulatedfirstdraft",
    "credential": SECRET.encode(),
    "session": SESSION.encode(),
}


@over_stores(quick=["folder"])
def test_nothing_readable_is_stored(lab: Lab) -> None:
    a, b = lab.machine("a"), lab.machine("b")
    a.name = WORDS["device name"].decode()
    tree = quick_tree(a.tree, a.home)
    project = a.tree / "projects" / encode(str(a.home / WORDS["project name"].decode()))
    folder = a.tree / "skills" / WORDS["folder name"].decode()
    (project / "memory").mkdir(parents=True)
    folder.mkdir(parents=True)
    talk = Conversation(Random(1), str(a.home), SESSION, EPOCH)
    (project / f"{SESSION}.jsonl").write_bytes(talk.user(WORDS["content of a transcript"].decode()))
    (project / "memory/MEMORY.md").write_bytes(WORDS["content of a memory"] + b"\n")
    (a.tree / f"agents/{WORDS['file name'].decode()}.md").write_bytes(WORDS["content of a forgotten edit"] + b"\n")
    # Incompressible, so that a tool which gives up compressing would show it.
    noise = base64.b64encode(Random(2).randbytes(3_000_000))
    (folder / "SKILL.md").write_bytes(noise + b"\n" + WORDS["content of a large file"] + b"\n" + noise + b"\n")
    (a.tree / "settings.json").write_text(f'{{"model": "{WORDS["settings"].decode()}"}}\n')
    assert tree.files
    passphrase = WORDS["passphrase"].decode()
    lab.prepare(passphrase)
    a.init(passphrase=passphrase)
    b.init(passphrase=passphrase)
    sync_all([a, b])
    # Edits, appends, deletions and a conflict leave other kinds of records.
    for machine in (a, b):
        (machine.tree / f"agents/{WORDS['file name'].decode()}.md").write_text(f"second draft of {machine.name}\n")
    (a.tree / "rules/style.md").unlink()
    sync_all([a, b])
    assert b.file(f"projects/~-{WORDS['project name'].decode()}/{SESSION}.jsonl").exists()

    stored = lab.vault.stored()
    assert sum(map(len, stored.values())) > 3_000_000
    words = dict(WORDS)
    if len(socket.gethostname()) > 7:  # a short one shows by chance
        words["host name"] = socket.gethostname().encode()
    words["home folder"] = str(a.home).encode()
    assert leaks(stored, words) == []


@pytest.mark.parametrize("store_as", [
    lambda word: b"..." + word + b"...",
    lambda word: b"x" + base64.b64encode(b"a" + word) + b"y",
    lambda word: base64.urlsafe_b64encode(b"ab" + word + b"c"),
    lambda word: b"head" + zstd.compress(b"some text, " + word + b", and more") + b"tail",
    lambda word: gzip.compress(word * 3),
    lambda word: base64.b64encode(gzip.compress(word)),
    lambda word: word.hex().encode(),
    lambda word: word.decode().encode("utf-16-le"),
])  # fmt: skip
def test_the_search_finds_what_is_there(store_as: object) -> None:
    assert callable(store_as)
    word = WORDS["content of a transcript"]
    assert leaks({"devices/x/log/1": store_as(word)}, {"word": word})


def test_the_search_reads_names() -> None:
    assert leaks({"devices/my-laptop/log/1": b""}, {"word": b"my-laptop"})
