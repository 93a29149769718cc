"""Vaults that released versions wrote, frozen: every later version must read them. They are never made anew."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from claude_syncd.core.model import Checkpoint, LogEntry, Published, RosterEntry, Slice
from claude_syncd.store.folder import FolderStore
from claude_syncd.vault import header, layout
from claude_syncd.vault.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

FROZEN = Path(__file__).parent / "v1"
EXPECTED: dict[str, Any] = json.loads((FROZEN / "expected.json").read_text())


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    store = FolderStore(FROZEN / "vault")
    found = await header.read_header(store)
    assert found is not None
    keys = await header.unlock(store, found, EXPECTED["recovery_code"])
    with ThreadPoolExecutor(2) as executor:
        yield Reader(store, keys, executor)


@pytest.mark.parametrize("secret", ["passphrase", "recovery_code"])
async def test_it_opens(secret: str) -> None:
    store = FolderStore(FROZEN / "vault")
    found = await header.read_header(store)
    assert found is not None
    keys = await header.unlock(store, found, EXPECTED[secret])
    assert (keys.vault_id, keys.current.identity) == (EXPECTED["vault"], EXPECTED["identity"])


async def test_its_roster_and_areas_are_as_they_were(reader: Reader) -> None:
    numbers = await reader.roster_numbers()
    assert [await reader.roster(number) for number in numbers] == msgspec.convert(EXPECTED["roster"], list[RosterEntry])
    newest: dict[str, int] = {}
    for entry in EXPECTED["entries"]:
        newest[entry["device"]] = entry["seq"]
    assert {device: area.newest_entry for device, area in (await reader.areas()).items()} == newest


async def test_its_log_is_as_it_was(reader: Reader) -> None:
    expected = msgspec.convert(EXPECTED["entries"], list[LogEntry])
    opened = [await reader.log_entry(entry.device, entry.seq) for entry in expected]
    assert [one.entry for one in opened] == expected
    assert opened[1].entry.prev == opened[0].sha256
    assert opened[2].entry.seen[opened[1].entry.device].sha256 == opened[1].sha256


async def test_its_checkpoint_is_as_it_was(reader: Reader) -> None:
    expected = msgspec.convert(EXPECTED["checkpoint"], Checkpoint)
    opened = await reader.checkpoint(expected.device, expected.seq)
    assert opened.checkpoint == expected
    records = [record for portion in opened.records for record in portion]
    assert records == msgspec.convert(EXPECTED["checkpoint"]["records"], list[Published])


async def test_its_files_are_as_they_were(reader: Reader) -> None:
    for device, files in EXPECTED["contents"].items():
        kept: dict[tuple[str, int], tuple[Slice, ...]] = {}
        newest: dict[str, tuple[Slice, ...]] = {}
        for seq in sorted((await reader.area(device)).log):
            for published in (await reader.log_entry(device, seq)).entry.records:
                old = published.extends
                begins = kept[old.path, old.seq][: old.keep] if old else ()
                newest[published.record.path] = kept[published.record.path, seq] = (*begins, *published.slices)
        for path, content in files.items():
            assert await contents(reader, newest[path]) == content.encode("latin-1")


async def contents(reader: Reader, slices: Sequence[Slice]) -> bytes:
    wants: dict[str, set[int]] = {}
    for one in slices:
        wants.setdefault(one.object, set()).add(one.blob)
    plains: dict[tuple[str, int], bytes] = {}
    await reader.blobs(wants, lambda name, number, plain: plains.update({(name, number): plain}))
    return b"".join(plains[s.object, s.blob][s.start : s.start + s.length] for s in slices)


def test_a_copy_of_every_kind_of_object_is_here() -> None:
    names = [str(path.relative_to(FROZEN / "vault")) for path in (FROZEN / "vault").rglob("*") if path.is_file()]
    assert {parsed.type for name in names if (parsed := layout.try_parse(name))} == set(layout.Type)
