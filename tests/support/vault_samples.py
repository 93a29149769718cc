"""Keys, records and log entries to try the vault's format with. Nothing here is random."""

from __future__ import annotations

import hashlib

from claude_syncd.core.model import Extends, Kind, LogEntry, Published, Record, Seen, Slice
from claude_syncd.crypto.keys import EpochKey, VaultKeys

DEVICE = "1b" * 16
OTHER = "2c" * 16


def sample_keys(seed: int = 1, *, vault: str = "ab" * 16, epochs: int = 1) -> VaultKeys:
    """Keys of a vault; another `seed` gives other keys for the same vault."""
    ring = tuple(EpochKey(epoch, hashlib.sha256(f"{seed} {epoch}".encode()).digest()) for epoch in range(1, epochs + 1))
    return VaultKeys(vault, "cd" * 32, ring)


def file_record(path: str, content: bytes, seq: int, *slices: Slice, extends: Extends | None = None) -> Published:
    """A record of `path` by DEVICE."""
    record = Record(
        path=path,
        kind=Kind.FILE,
        device=DEVICE,
        seq=seq,
        vector={DEVICE: seq, OTHER: 3},
        size=len(content),
        mtime_ns=1_760_000_000_123_456_789,
        mode=0o644,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return Published(record=record, extends=extends, slices=slices)


def sample_entry(*records: Published, seq: int = 1) -> LogEntry:
    """A log entry of DEVICE that has seen one of OTHER."""
    return LogEntry(
        device=DEVICE,
        seq=seq,
        prev="" if seq == 1 else "ef" * 32,
        time_ns=1_760_000_000_000_000_000 + seq,
        name="laptop",
        seen={OTHER: Seen(3, "0d" * 32)},
        records=records,
    )
