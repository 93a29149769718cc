"""How stores are opened: what is stacked, what is imported, what is shown."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claude_syncd.errors import StoreUnavailable
from claude_syncd.store.count import Traffic
from claude_syncd.store.open import FolderOptions, S3Options, create_store, open_store, r2_options

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_folder_is_opened_and_counted(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    options = FolderOptions(tmp_path / "vault")
    await create_store(options)
    opened = open_store(options, parallel=2, observer=lambda kind, up, down: seen.append((kind, up, down)))
    before = opened.counter.snapshot()
    await opened.store.put("vault.json", b"1234")
    await opened.store.get("vault.json")
    assert opened.counter.snapshot() - before == Traffic(put=1, get=1, bytes_up=4, bytes_down=4)
    assert seen == [("put", 4, 0), ("get", 0, 4)]
    assert opened.store.address == f"file://{tmp_path}/vault"
    await opened.store.close()


async def test_opening_does_not_make_a_folder(tmp_path: Path) -> None:
    opened = open_store(FolderOptions(tmp_path / "vault"), attempts=2, base=0.0)
    with pytest.raises(StoreUnavailable):
        await opened.store.get("vault.json")
    assert list(tmp_path.iterdir()) == []
    assert opened.counter.snapshot().get == 2


async def test_many_calls_at_once_pass_through(tmp_path: Path) -> None:
    options = FolderOptions(tmp_path / "vault")
    await create_store(options)
    opened = open_store(options, parallel=3)
    await asyncio.gather(*(opened.store.put(f"packs/{n}", b"x") for n in range(30)))
    assert len(list(await opened.store.list("packs/"))) == 30


def test_secrets_are_not_shown() -> None:
    options = S3Options("bucket", access_key_id="id", secret_access_key="s3cret", session_token="t0ken")
    assert "s3cret" not in repr(options)
    assert "t0ken" not in repr(options)
    assert "id" in repr(options)


def test_an_address_is_bucket_and_prefix() -> None:
    assert open_store(S3Options("bucket")).store.address == "s3://bucket"
    assert open_store(S3Options("bucket", prefix="/a/b/")).store.address == "s3://bucket/a/b"


def test_r2_is_s3_at_an_address_of_its_own() -> None:
    options = r2_options("abc123", "bucket", prefix="p", access_key_id="id", secret_access_key="s3cret")
    assert options == S3Options(
        "bucket",
        prefix="p",
        region="auto",
        endpoint="https://abc123.r2.cloudflarestorage.com",
        access_key_id="id",
        secret_access_key="s3cret",
    )


def test_a_folder_needs_no_client_of_s3(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from claude_syncd.store.open import FolderOptions, create_store, open_store\n"
        "options = FolderOptions(Path(sys.argv[1]))\n"
        "asyncio.run(create_store(options))\n"
        "asyncio.run(open_store(options).store.put('vault.json', b'data'))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "vault")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "claude_syncd" in loaded
    assert not {"aiobotocore", "botocore", "aiohttp"}.intersection(loaded)
    assert (tmp_path / "vault" / "vault.json").read_bytes() == b"data"
