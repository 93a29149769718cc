"""What was sealed stays as it was sealed until it is acknowledged, and is sent in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claude_syncd.engine.outbox import Outbox
from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path


def test_entries_wait_in_order_until_they_are_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.waiting() == []
    for seq in (10, 9, 100):
        outbox.put(seq, f"entry {seq}".encode())
    assert Outbox(tmp_path / "outbox").waiting() == [(9, b"entry 9"), (10, b"entry 10"), (100, b"entry 100")]
    outbox.drop(10)
    outbox.drop(10)
    assert [seq for seq, _ in outbox.waiting()] == [9, 100]


def test_only_its_owner_reads_what_waits(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(1, b"sealed")
    (entry,) = (tmp_path / "outbox").iterdir()
    assert entry.stat().st_mode & 0o777 == 0o600
    assert entry.parent.stat().st_mode & 0o777 == 0o700


def test_half_an_entry_that_a_crash_left_does_not_wait_and_is_written_over(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(1, b"first")
    (tmp_path / "outbox" / "000000000002.tmp").write_bytes(b"a long half of the sec")
    assert outbox.waiting() == [(1, b"first")]
    outbox.put(2, b"second")
    assert outbox.waiting() == [(1, b"first"), (2, b"second")]


def test_a_folder_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file stands there")
    outbox = Outbox(tmp_path / "outbox")
    with pytest.raises(LocalError, match="can't write to"):
        outbox.put(1, b"sealed")
    with pytest.raises(LocalError, match="can't read"):
        outbox.waiting()
