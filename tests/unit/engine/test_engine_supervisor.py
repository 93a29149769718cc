"""The daemon's loop on a real tree, with the kernel's own hints."""

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from at_work import at_work, until
from devices import Device, Vault
from virtual_time import VirtualTimeLoop, in_virtual_time

from claude_syncd.core.model import LogEntry
from claude_syncd.core.status import State
from claude_syncd.engine.timing import Intervals
from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.local.watch import Watcher
from claude_syncd.store.base import Span
from claude_syncd.tasks import together
from claude_syncd.vault import codec, layout


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


async def test_a_copy_that_writes_under_this_id_is_noticed_also_by_who_only_reads(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    async with at_work(ann) as supervisor:
        await until(lambda: supervisor.rounds > 0)
        before = ann.site.me
        entry = LogEntry(device=before, seq=1, prev="", time_ns=1, name="ann", seen={}, records=())
        vault.objects[layout.log_name(before, 1)] = codec.encode_log(vault.keys, entry, [])
        supervisor.reload()
        await until(lambda: ann.site.me != before)
        await until(lambda: ann.site.state.positions()[before].seq == 1)


HOUR = 3600.0


def test_a_paused_daemon_looks_now_and_then_and_does_nothing_else(
    vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())

    async def main(loop: VirtualTimeLoop) -> None:
        async with at_work(ann, Intervals()) as supervisor:
            while supervisor.rounds == 0:
                await asyncio.sleep(1)
            await supervisor.pause(None)
            ann.write("CLAUDE.md", "one\n")
            while not supervisor.hints:
                await asyncio.sleep(0.01)
            before, requests = loop.turns, ann.site.counter.snapshot()
            await asyncio.sleep(HOUR)
            # Every two seconds it asks the state whether the pause has ended: a handful of turns each time.
            assert loop.turns - before < 10 * HOUR / 2
            assert ann.site.counter.snapshot() == requests
            assert supervisor.rounds == 1

    in_virtual_time(main)


def test_an_idle_daemon_asks_as_often_as_it_is_told(vault: Vault, tmp_path: Path, stack: ExitStack) -> None:
    ann, *others = (stack.enter_context(Device(vault, tmp_path, name).running()) for name in ("ann", "bob", "eve"))
    names: Counter[str] = Counter()
    plain = ann.store.get

    async def get(name: str, span: Span | None = None) -> bytes:
        names[name] += 1
        return await plain(name, span)

    async def main(loop: VirtualTimeLoop) -> None:
        for other in others:
            await other.start()
        ann.store.get = get  # type: ignore[method-assign]
        async with at_work(ann, Intervals()) as supervisor:
            await asyncio.sleep(HOUR)  # nobody was active in its last 50 minutes
            before, requests, rounds = loop.turns, ann.site.counter.snapshot(), supervisor.rounds
            names.clear()
            await asyncio.sleep(HOUR)
            asked = ann.site.counter.snapshot() - requests
            assert 50 <= supervisor.rounds - rounds <= 75  # one poll a minute, with its jitter
            # Each poll asks for the next entry of every other device, and once in a minute for a new device.
            logs = [names[layout.log_name(other.site.me, 1)] for other in others]
            polls = logs[0]
            assert logs == [polls, polls]
            assert polls <= supervisor.rounds - rounds <= polls + 2  # the scan of an hour is a round without a poll
            assert names[layout.roster_name(4)] <= min(60, polls)
            assert (
                asked.get
                == names.total()
                == 2 * polls + names[layout.roster_name(4)] + names[layout.log_name(ann.site.me, 1)]
            )
            assert asked.put == 0
            assert asked.list <= 3 * 2
            assert loop.turns - before < 100 * (supervisor.rounds - rounds)

    in_virtual_time(main)


@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), StoreUnavailable("busy", retry_after=300.0)])
def test_an_offline_daemon_backs_off_whatever_happens_here(
    vault: Vault, tmp_path: Path, stack: ExitStack, error: StoreUnavailable
) -> None:
    ann = stack.enter_context(Device(vault, tmp_path, "ann").running())
    tries = 0

    async def gone(name: str, span: object = None) -> bytes:
        nonlocal tries
        tries += 1
        raise error

    async def main(loop: VirtualTimeLoop) -> None:
        async with at_work(ann, Intervals()) as supervisor:
            while supervisor.rounds == 0:
                await asyncio.sleep(1)
            bob = stack.enter_context(Device(vault, tmp_path, "bob").running())
            await bob.start()
            ann.store.get = gone  # type: ignore[method-assign]
            supervisor.reload()
            while supervisor.error is None:
                await asyncio.sleep(1)
            before, so_far = loop.turns, tries
            for _ in range(360):  # somebody works here all the while, and the watcher says so
                supervisor._hinted(["CLAUDE.md"], frozenset())
                await asyncio.sleep(HOUR / 360)
            # At first after 2, 4, 8, 16, 32 seconds, then every minute at the most, each less a fifth of jitter.
            bound = 5 + HOUR / max(60 * 0.8, error.retry_after or 0)
            assert 5 <= tries - so_far <= bound
            assert loop.turns - before < 50 * bound + 10 * 360
            del ann.store.get
            supervisor.poke()
            while supervisor.error is not None:
                await asyncio.sleep(1)

    in_virtual_time(main)
