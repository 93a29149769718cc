"""What the tests of the vault share: keys, a store that counts, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from vault_samples import sample_keys

from claude_syncd.store.count import Counting
from claude_syncd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.crypto.keys import VaultKeys


@pytest.fixture
def keys() -> VaultKeys:
    return sample_keys()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> Counting:
    return Counting(memory)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool
