"""Two devices at work on each store while the network between breaks in each way: nothing is lost, nothing doubled,
the status says what is wrong meanwhile, and when it is over all goes on by itself.
"""

from __future__ import annotations

import secrets
import socket
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from at_work import at_work, until
from faults import BLACKHOLE, CLEAN, REFUSED, Fault, busy
from remote_devices import RemoteDevice, new_place

from claude_syncd.core.status import State
from claude_syncd.engine.timing import Intervals

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from devices import Device, Vault
    from faults import FaultProxy
    from remote_devices import Server

    from claude_syncd.engine.supervisor import Supervisor

KIB = 1024
INTERVALS = Intervals(quiet=0.05, limit=0.5, active=0.2, idle=0.4, roster=0.5)
KINDS = ("s3", "gcs", "webdav", "git")


@dataclass(frozen=True)
class Trouble:
    """What befalls the network. `connections`: only so many, then it is over by itself, and nobody need hear of it.

    `uploads`: only what is large suffers, so only who pushes. `size` is that of the large file.
    """

    fault: Fault = field(default=CLEAN)
    connections: int | None = None
    listening: bool = True
    uploads: bool = False
    size: int = 200 * KIB

    @property
    def felt(self) -> bool:
        """Whether nothing gets through until it is over."""
        return not self.listening or (self.connections is None and self.fault.latency == 0)

    def begin(self, wire: FaultProxy) -> None:
        wire.set(self.fault, self.connections)
        if not self.listening:
            wire.listen(listening=False)

    def end(self, wire: FaultProxy) -> None:
        wire.set(CLEAN)
        if not self.listening:
            wire.listen(listening=True)


def upload(then: str, after: int = 20 * KIB, **more: Any) -> Trouble:
    return Trouble(Fault(after=after, then=then, of="requests"), uploads=True, **more)  # type: ignore[arg-type]


def cut_answers(then: str) -> Trouble:
    # Not in what comes before: where the head of a 401 is cut, git takes that for a password that was refused.
    return Trouble(Fault(after=230, then=then))  # type: ignore[arg-type]


TROUBLES = {
    "nobody listens": Trouble(listening=False),
    "slow": Trouble(Fault(latency=0.05)),
    "answers are lost": Trouble(REFUSED),
    "answers are cut by a reset": cut_answers("reset"),
    "answers are truncated": cut_answers("close"),
    "answers stall": cut_answers("stall"),
    "silence": Trouble(BLACKHOLE),
    "uploads are cut by a reset": upload("reset"),
    "uploads are truncated": upload("close"),
    "uploads stall": upload("stall"),
    "large uploads are cut": upload("reset", 5000 * KIB, size=12_000 * KIB),
    "busy": Trouble(busy(1)),
    "some answers are lost": Trouble(REFUSED, connections=5),
    "some answers are truncated": Trouble(Fault(after=150 * KIB, then="close"), connections=6),
    "some uploads are truncated": upload("close", connections=4),
    "some large uploads are cut": upload("reset", 5000 * KIB, size=12_000 * KIB, connections=3),
}
QUICK = {
    "s3": {"answers are lost", "uploads are truncated"},
    "gcs": {"busy", "some answers are lost"},
    "webdav": {"answers are truncated", "uploads are cut by a reset"},
    "git": {"nobody listens", "answers are lost"},
}
"""What is tried in the short run."""


def cases() -> list[Any]:
    return [
        pytest.param(kind, trouble, id=f"{kind}-{name}", marks=[] if name in QUICK[kind] else [pytest.mark.long])
        for kind in KINDS
        for name, trouble in TROUBLES.items()
    ]


def server_of(kind: str, request: pytest.FixtureRequest) -> tuple[Server, FaultProxy]:
    if kind == "s3":
        return request.getfixturevalue("s3_server"), request.getfixturevalue("s3_wire")
    found: tuple[Server, FaultProxy] = request.getfixturevalue({"git": "git_host"}.get(kind, kind))
    return found


@pytest.mark.parametrize(("kind", "trouble"), cases())
async def test_a_network_that_breaks(
    kind: str, trouble: Trouble, request: pytest.FixtureRequest, vault: Vault, tmp_path: Path, stack: ExitStack
) -> None:
    server, wire = server_of(kind, request)
    wire.set(CLEAN)
    place = await new_place(server, wire)
    ann, bob = (stack.enter_context(RemoteDevice(vault, tmp_path, name, place).running()) for name in ("ann", "bob"))
    ids = ann.site.me, bob.site.me
    async with AsyncExitStack() as work:
        at_ann = await work.enter_async_context(at_work(ann, INTERVALS))
        at_bob = await work.enter_async_context(at_work(bob, INTERVALS))
        ann.write("CLAUDE.md", "of ann\n")
        bob.write("agents/of-bob.md", "of bob\n")
        await until(lambda: bob.has("CLAUDE.md") and ann.has("agents/of-bob.md"), 60)
        trouble.begin(wire)
        try:
            ann.write("agents/large.md", secrets.token_hex(trouble.size // 2))
            for number in range(3):
                ann.write(f"rules/of-ann-{number}.md", f"rule {number} of ann\n")
            bob.write("rules/of-bob.md", "a rule of bob\n")
            if trouble.felt:
                await in_trouble(ann, at_ann)
                if not trouble.uploads:
                    await in_trouble(bob, at_bob)
                assert not bob.has("agents/large.md")
                assert (await at_ann.status()).pending.upload >= 1
            else:
                await until(lambda: equal(ann, bob), 60)
        finally:
            trouble.end(wire)
        await until(lambda: equal(ann, bob), 60)
        await until(lambda: at_ann.error is None and at_bob.error is None, 60)
        assert (await at_ann.status()).problems == []
    assert (ann.site.me, bob.site.me) == ids
    assert ann.conflicts() == bob.conflicts() == {}
    await published_once(ann, bob)
    for device in (ann, bob):
        await device.site.store.close()


def equal(ann: Device, bob: Device) -> bool:
    """Whether both have all that the test wrote."""
    try:
        trees = ann.tree(), bob.tree()
    except FileNotFoundError:  # a temporary file that has its name by now
        return False
    return trees[0] == trees[1] and len(trees[0]) == 7


async def in_trouble(device: Device, supervisor: Supervisor) -> None:
    """Until its status says so, and where."""
    await until(lambda: supervisor.error is not None, 30)
    status = await supervisor.status()
    assert status.state is State.OFFLINE
    assert status.last_error is not None
    assert device.site.store.address in status.last_error
    assert status.problems[0].message == status.last_error


async def published_once(*devices: Device) -> None:
    """Every device's log in the store has as many entries as the device says, and no file twice."""
    site = devices[0].site
    names = [info.name for info in await site.store.list("devices/")]
    for device in devices:
        position = device.site.state.positions()[device.site.me]
        logs = [name for name in names if name.startswith(f"devices/{device.site.me}/log/")]
        assert len(logs) == position.seq
        paths: Counter[str] = Counter()
        for seq in range(1, position.seq + 1):
            opened = await site.reader.log_entry(device.site.me, seq)
            paths.update(published.record.path for published in opened.entry.records)
        assert set(paths.values()) == {1}
    rosters = [info.name for info in await site.store.list("roster/")]
    assert len(rosters) == len(devices)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_is_not_known_yet(
    kind: str,
    request: pytest.FixtureRequest,
    vault: Vault,
    tmp_path: Path,
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, wire = server_of(kind, request)
    wire.set(CLEAN)
    # git asks the system, which answers at once for a name that is too long to be one.
    host = f"{'x' * 64}.test" if kind == "git" else "store.test"
    place = await new_place(server, wire, host)
    known = names(monkeypatch, host)
    ann = stack.enter_context(RemoteDevice(vault, tmp_path, "ann", place).running())
    async with at_work(ann, INTERVALS) as supervisor:
        ann.write("CLAUDE.md", "of ann\n")
        await in_trouble(ann, supervisor)
        assert "name" in str(supervisor.error) or "resolve" in str(supervisor.error)
        known.append(host)
        if kind == "git":
            settings = ann.places.state / "mirror.git" / "settings"
            resolve = f"[http]\n\tcurloptResolve = {host}:{wire.port}:127.0.0.1\n"
            settings.write_text(settings.read_text() + resolve)
        await until(lambda: supervisor.error is None and supervisor.round.pending.upload == 0, 60)
        await until(lambda: ann.site.state.positions()[ann.site.me].seq == 1, 60)
    await published_once(ann)
    await ann.site.store.close()


def names(monkeypatch: pytest.MonkeyPatch, host: str) -> list[str]:
    """The names that the system knows by now."""
    known: list[str] = []
    ask = socket.getaddrinfo

    def answer(name: Any, *more: Any, **words: Any) -> Any:
        if name != host:
            return ask(name, *more, **words)
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask("127.0.0.1", *more, **words)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known
