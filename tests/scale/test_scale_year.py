"""Some days of heavy use: the vault stays small, a push costs what it did, a new device is there quickly."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "bench"))


@pytest.mark.long
async def test_days_of_heavy_use_leave_a_small_vault(tmp_path: Path) -> None:
    import year

    figures = await year.run(4, tmp_path)
    assert figures.objects_most < 1000
    assert figures.stored < 2 * figures.live + figures.kept + figures.replaced
    assert figures.join_requests - figures.join_packs < 50
    assert figures.push_requests < 1.1
