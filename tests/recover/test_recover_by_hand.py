"""Runs the commands of docs/recover.md, as they stand there, on a vault in a folder."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from devices import Device as EngineDevice
from devices import Vault

from claude_syncd.core.model import Extends, Kind, LogEntry, Published, Record, RosterEntry, Slice, Vector
from claude_syncd.crypto import seal
from claude_syncd.crypto.keys import VaultKeys, age_identity, save_keys
from claude_syncd.crypto.passphrase import Argon2
from claude_syncd.engine.compact import Compactor
from claude_syncd.store.folder import FolderStore
from claude_syncd.vault import codec, header, layout, slots
from claude_syncd.vault.writer import Writer

if TYPE_CHECKING:
    from claude_syncd.vault.header import Created

DOCUMENT = Path(__file__).parents[2] / "docs" / "recover.md"
A, B = "1a" * 16, "2b" * 16
PASSPHRASE = "correct caf\u00e9 horse"
MTIME = 1_760_000_000
CHAT = "tree/projects/~-dev-app/0b0e6f4e-6a2e-4f7e-9d6d-0d6c2d0f4a11.jsonl"
CHUNK = 1 << 20


def blocks() -> dict[str, list[str]]:
    """The document's shell commands under the heading of each."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line, block in re.findall(
        r"^#+ ([^\n]*)$|^```bash\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    ):
        if line:
            heading = line
        else:
            found.setdefault(heading, []).append(block)
    return found


class Device:
    """Writes log entries for one device into a store."""

    def __init__(self, store: FolderStore, keys: VaultKeys, device: str, executor: ThreadPoolExecutor) -> None:
        self._store, self._keys, self._id, self._executor = store, keys, device, executor
        self._seq, self._prev = 0, ""

    @property
    def seq(self) -> int:
        return self._seq

    async def push(
        self,
        files: dict[str, bytes],
        *,
        gone: tuple[str, ...] = (),
        ancestors: Vector | None = None,
        extends: Extends | None = None,
        kept: bytes = b"",
    ) -> None:
        """One log entry. With `extends`, every file begins with `kept`, which is not uploaded again."""
        self._seq += 1
        async with Writer(self._keys, self._id, self._seq, self._store.put, self._executor) as writer:
            tickets = {
                path: [await writer.add(new[start : start + CHUNK]) for start in range(0, len(new), CHUNK)]
                for path, content in files.items()
                for new in [content.removeprefix(kept)]
            }
            await writer.finish()
            records = []
            for path, content in files.items():
                length = len(content.removeprefix(kept))
                slices = tuple(
                    Slice(*writer.place(ticket), 0, min(CHUNK, length - n * CHUNK))
                    for n, ticket in enumerate(tickets[path])
                )
                record = Record(
                    path=path,
                    kind=Kind.FILE,
                    device=self._id,
                    seq=self._seq,
                    vector={**(ancestors or {}), self._id: self._seq},
                    size=len(content),
                    mtime_ns=MTIME * 10**9 + 500_000_000,
                    mode=0o640,
                    sha256=hashlib.sha256(content).hexdigest(),
                )
                records.append(Published(record=record, extends=extends, slices=slices))
            for path in gone:
                vector = {**(ancestors or {}), self._id: self._seq}
                tombstone = Record(path=path, kind=Kind.TOMBSTONE, device=self._id, seq=self._seq, vector=vector)
                records.append(Published(record=tombstone))
            data = await writer.entry(
                LogEntry(
                    device=self._id,
                    seq=self._seq,
                    prev=self._prev,
                    time_ns=MTIME * 10**9,
                    name="laptop",
                    seen={},
                    records=tuple(records),
                )
            )
        self._prev = hashlib.sha256(data).hexdigest()
        await self._store.put(layout.log_name(self._id, self._seq), data)


async def build(folder: Path) -> tuple[Created, dict[str, bytes]]:
    """A vault with all that a log can hold, and what must come out of it."""
    store = FolderStore(folder)
    await store.create()
    created = await header.create(store, passphrase=PASSPHRASE, kdf=Argon2(65_536, 1, 2))
    keys = created.keys
    for number, device in enumerate((A, B), 1):
        entry = RosterEntry(number=number, device=device, name="laptop", time_ns=1)
        await store.put(layout.roster_name(number), codec.encode_roster(keys, entry))
    noise = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(300_000))  # 9.6 MB: goes to a pack
    old, line = b'{"uuid":"1"}\n' * 1000, b'{"uuid":"2"}\n' * 100
    with ThreadPoolExecutor(2) as executor:
        a, b = Device(store, keys, A, executor), Device(store, keys, B, executor)
        await a.push({CHAT: old, "tree/history.jsonl": noise, "tree/gone.md": b"x", "tree/with space & $x'.md": b"y"})
        keep = Extends(path=CHAT, seq=1, keep=1)
        await a.push({CHAT: old + line}, gone=("tree/gone.md",), extends=keep, kept=old)
        again = Extends(path=CHAT, seq=2, keep=2)
        await a.push({"tree/copy.jsonl": old + line + b"end\n"}, extends=again, kept=old + line)
        await b.push({"tree/history.jsonl": noise[:5], "tree/empty": b"", "tree/both.md": b"from b"}, ancestors={A: 3})
        await a.push({"tree/both.md": b"from a", "tree/gone.md": b"back"})
        await b.push({"conflicts/1/x.md": b"kept"}, gone=("tree/gone.md",), ancestors={A: 4})
    assert any((folder / "devices" / A / "packs").iterdir())
    return created, {
        CHAT: old + line,
        "tree/history.jsonl": noise[:5],
        "tree/with space & $x'.md": b"y",
        "tree/copy.jsonl": old + line + b"end\n",
        "tree/empty": b"",
        "tree/both.md": b"from a",
        f"tree/both.md.{B}": b"from b",
        "conflicts/1/x.md": b"kept",
    }


def follow(folder: Path, script: list[str], typed: str = "") -> subprocess.CompletedProcess[str]:
    for tool in ("age", "zstd", "jq", "argon2"):
        assert shutil.which(tool), f"{tool} is missing: install the packages age, zstd, jq and argon2"
    return subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, input=typed, capture_output=True, text=True, check=False
    )


def restored(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "way",
    ["passphrase", *(pytest.param(way, marks=pytest.mark.long) for way in ("device", "recovery code", "age key"))],
)
async def test_everything_comes_back_with_stock_tools(tmp_path: Path, way: str) -> None:
    created, expected = await build(tmp_path / "vault")
    commands = blocks()
    program, with_code, with_passphrase, open_slot = commands["From the recovery code or the passphrase"]
    typed = ""
    key: list[str] = []
    if way == "device":
        save_keys(tmp_path / "vault.key", created.keys)
    elif way == "recovery code":
        key, typed = [program, with_code, open_slot], created.recovery_code.lower() + "\n"
    elif way == "passphrase":
        # Decomposed, as another keyboard may type it.
        key, typed = [program, with_passphrase, open_slot], PASSPHRASE.replace("\u00e9", "e\u0301") + "\n"
    else:
        identity = age_identity(hashlib.sha256(b"a friend").digest())
        await slots.add_recipient(FolderStore(tmp_path / "vault"), created.keys, seal.recipient_of(identity))
        key = [f"printf '%s\\n' {identity} > work/me.txt", open_slot]
    script = [
        *commands["1. Copy the vault"],
        *key,
        *commands["3. Read objects"],
        *commands["4. Find the newest version of every file"],
        *commands["5. Restore"],
    ]
    done = follow(tmp_path, script, typed)
    assert done.returncode == 0, done.stderr
    assert restored(tmp_path / "restored") == expected
    chat = (tmp_path / "restored" / CHAT).stat()
    assert (chat.st_mode & 0o7777, int(chat.st_mtime)) == (0o640, MTIME)


async def test_a_vault_with_checkpoints_comes_back(tmp_path: Path) -> None:
    ann = EngineDevice(Vault(), tmp_path, "ann")
    with ann.running():
        await ann.start()
        compactor = Compactor(ann.site, ann.round.between_rounds, ann.round.outbox)
        for text in ("first", "second"):
            ann.write("CLAUDE.md", text)
            ann.write(f"agents/{text}.md", f"{text}\n" * 1000)
            await ann.sync()
            await compactor.compact()
        for name in [name for name in ann.vault.objects if "/log/" in name]:
            del ann.vault.objects[name]
        ann.write("agents/second.md", "after the checkpoint\n")
        await ann.sync()
        expected = {f"tree/{path}": (ann.places.tree / path).read_bytes() for path in ann.tree()}
    for name, data in ann.vault.objects.items():
        place = tmp_path / "vault" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    save_keys(tmp_path / "vault.key", ann.vault.keys)
    commands = blocks()
    parts = ["1. Copy the vault", "3. Read objects", "4. Find the newest version of every file", "5. Restore"]
    done = follow(tmp_path, [block for part in parts for block in commands[part]])
    assert done.returncode == 0, done.stderr
    assert restored(tmp_path / "restored") == expected
    assert len(expected) == 3


async def test_a_wrong_recovery_code_ends_the_recovery(tmp_path: Path) -> None:
    await build(tmp_path / "vault")
    commands = blocks()
    program, with_code, _, open_slot = commands["From the recovery code or the passphrase"]
    script = [*commands["1. Copy the vault"], program, with_code, open_slot, "echo opened"]
    done = follow(tmp_path, script, "0000-" * 8 + "0000\n")
    assert done.returncode != 0
    assert done.stdout == ""


async def test_a_damaged_blob_ends_the_recovery(tmp_path: Path) -> None:
    created, _ = await build(tmp_path / "vault")
    save_keys(tmp_path / "vault.key", created.keys)
    damaged = tmp_path / "vault" / layout.log_name(A, 4)
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1  # in the first blob, however long its header's random part is
    damaged.chmod(0o600)
    damaged.write_bytes(data)
    commands = blocks()
    parts = ["1. Copy the vault", "3. Read objects", "4. Find the newest version of every file", "5. Restore"]
    done = follow(tmp_path, [block for part in parts for block in commands[part]])
    assert done.returncode != 0
