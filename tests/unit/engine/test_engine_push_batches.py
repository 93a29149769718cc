"""What goes into one log entry."""

from __future__ import annotations

from claude_syncd.core.model import FileClass, Local
from claude_syncd.core.portable import Root
from claude_syncd.core.reconcile import Action, Outcome
from claude_syncd.engine import push
from claude_syncd.engine.pathmap import Spot
from claude_syncd.engine.plan import Item


def uploading(path: str, size: int = 10, devices: int = 0) -> Item:
    vector = {f"{n:032x}": 1 for n in range(devices)}
    return Item(
        path=path,
        spot=Spot(Root.TREE, path.removeprefix("tree/"), FileClass.OTHER),
        outcome=Outcome(action=Action.UPLOAD, vector=vector),
        found=None,
        local=Local(size=size, sha256="", mtime_ns=0, mode=0o600),
        tracked=None,
    )


def test_an_entry_takes_as_many_records_as_the_format_allows() -> None:
    items = [uploading(f"tree/rules/{n:05}.md") for n in range(push.RECORDS_PER_ENTRY + 1)]
    assert [len(batch) for batch in push._batches(items)] == [push.RECORDS_PER_ENTRY, 1]


def test_an_entry_ends_before_its_index_is_too_large_for_readers() -> None:
    long = [uploading(f"tree/skills/{'x' * 3000}{n:05}", devices=40) for n in range(2000)]
    sizes = [len(batch) for batch in push._batches(long)]
    assert sum(sizes) == 2000
    assert max(sizes) * (3000 + 40 * 40) < 16 * 1024 * 1024


def test_an_entry_ends_before_its_content_is_too_much_to_resume() -> None:
    items = [uploading(f"tree/{n}", size=push.BYTES_PER_ENTRY // 2 + 1) for n in range(3)]
    assert [len(batch) for batch in push._batches(items)] == [1, 1, 1]
