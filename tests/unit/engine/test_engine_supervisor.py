"""The daemon's loop on a real tree, with the kernel's own hints."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from devices import Device, Vault

from claude_syncd.core.status import State
from claude_syncd.engine.supervisor import Supervisor
from claude_syncd.engine.timing import Intervals
from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.local.watch import Watcher
from claude_syncd.tasks import together

QUICK = Intervals(quiet=0.05, limit=0.5, active=0.1, idle=0.2, roster=0.2)


@asynccontextmanager
async def at_work(device: Device) -> AsyncIterator[Supervisor]:
    """The loop and the watcher of a device, until the block ends."""
    supervisor = Supervisor(device.site, QUICK, random.Random(1))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(t) for t in (supervisor.work(), supervisor.watch())]
        try:
            yield supervisor
        finally:
            for task in tasks:
                task.cancel()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)  # asks again; the time limit is only for failing


async def test_a_file_goes_from_one_daemon_to_another(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann, bob = (stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob"))
    async with at_work(ann), at_work(bob):
        ann.write("CLAUDE.md", "one\n", age=100)
        await until(lambda: bob.has("CLAUDE.md") and bob.read("CLAUDE.md") == "one\n")
        bob.write("CLAUDE.md", "two\n", age=50)
        await until(lambda: ann.read("CLAUDE.md") == "two\n")


async def test_a_pause_holds_back_until_it_is_ended(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    async with at_work(ann) as supervisor:
        await until(lambda: supervisor.rounds > 0)
        await supervisor.pause(None)
        ann.write("CLAUDE.md", "one\n")
        await until(lambda: bool(supervisor.hints))
        assert not [n for n in vault.objects if "/log/" in n]
        assert (await supervisor.status()).state is State.PAUSED
        await supervisor.resume(accept=False)
        await until(lambda: any("/log/" in n for n in vault.objects))


@pytest.mark.parametrize(("error", "state"), [(StoreUnavailable, State.OFFLINE), (StoreRefused, State.ERROR)])
async def test_a_store_that_fails_shows_in_the_status_and_is_recovered_from(
    vault: Vault, tmp_path: Path, stack: ExitStack, error: type[StoreUnavailable], state: State
) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    async with at_work(ann) as supervisor:
        await until(lambda: supervisor.rounds > 0)
        real_put = ann.store.put

        async def fails(name: str, data: bytes, *, if_absent: bool = False) -> None:
            raise error("no")

        ann.store.put = fails  # type: ignore[method-assign]
        ann.write("CLAUDE.md", "one\n")
        await until(lambda: supervisor.error is not None)
        status = await supervisor.status()
        assert (status.state, status.last_error) == (state, "no")
        assert status.pending.upload == 1
        ann.store.put = real_put  # type: ignore[method-assign]
        supervisor.poke()
        await until(lambda: supervisor.error is None and any("/log/" in n for n in vault.objects))


async def test_the_first_failure_is_raised_as_itself_and_ends_the_others() -> None:
    ended = []

    async def fails() -> None:
        raise StoreUnavailable("gone")

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(StoreUnavailable, match="gone"):
        await together(waits(), fails())
    assert ended


async def test_what_is_written_before_the_tree_is_watched_is_found(
    vault: Vault, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    real_start = Watcher.start

    def late(watcher: Watcher) -> None:
        # A loop that did not wait would scan in this time; the file comes after that, and before the watches.
        threading.Event().wait(0.3)
        ann.write("CLAUDE.md", "early\n")
        real_start(watcher)

    monkeypatch.setattr(Watcher, "start", late)
    async with at_work(ann):
        await until(lambda: any("/log/" in n for n in vault.objects))
