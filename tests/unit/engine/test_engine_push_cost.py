"""What a small push costs does not depend on how much is there already."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from devices import Device, Vault

from claude_syncd.engine.round import Direction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claude_syncd.local.state import State


class Steps:
    """Counts the steps of SQLite's virtual machine."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return 0


@contextmanager
def counted(state: State) -> Iterator[Steps]:
    """The steps of all queries meanwhile."""
    steps = Steps()
    state._db.set_progress_handler(steps, 1)
    try:
        yield steps
    finally:
        state._db.set_progress_handler(None, 0)


async def steps_of_a_small_push(folder: Path, files: int) -> int:
    device = Device(Vault(), folder, f"with-{files}")
    with device.running():
        await device.start()
        for number in range(files):
            device.write(f"agents/note-{number:04d}.md", f"note {number}")
        session = device.transcript()
        device.write(session, '{"type":"user","uuid":"1"}\n', age=100)
        await device.sync()
        device.append(session, '{"type":"user","uuid":"2"}\n')
        device.touch(session, age=50)
        portable = device.site.paths.portable(session)
        assert portable is not None
        device.round.dirty.add(portable)
        with counted(device.site.state) as steps:
            assert (await device.round.run(Direction.PUSH)).uploaded == 1
        return steps.count


async def test_a_small_push_looks_at_nothing_but_what_it_is_about(tmp_path: Path) -> None:
    few, many = await steps_of_a_small_push(tmp_path, 10), await steps_of_a_small_push(tmp_path, 500)
    assert 0 < many < few + 200
