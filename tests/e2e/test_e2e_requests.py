"""What two installed machines ask of each store: counted by the daemon where it leaves, and on the wire by a proxy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from lab import STORES, set_up
from machines import ON_REQUEST, Machine, start_all
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab import Lab
    from vaults import Vault

KINDS = ("put", "get", "list", "delete", "head")
LOG, ROSTER = "devices/[0-9a-f]{32}/log/[0-9]{12}", "roster/[0-9]{6}"
EMPTY = dict.fromkeys(KINDS, 0)

# As the daemon counts, and as the server sees it; docs/decisions/0009 says why WebDAV needs two requests where a PUT
# writes in place. git opens each connection without the password, is asked for it, and says it with the next request.
PUSH = {
    "folder": ({"put": 1}, []),
    "s3": ({"put": 1}, [f"PUT .*/{LOG}$"]),
    "gcs": ({"put": 1}, [f"POST /upload/.*{LOG}"]),
    "git": ({"put": 1}, [*["GET /.*service=git-receive-pack$"] * 2, "POST /.*/git-receive-pack$"]),
    "webdav": ({"put": 2}, ["PUT .*/tmp/[^/]+$", "MOVE .*/tmp/[^/]+$"]),
}
# A poll that brings nothing, while two devices are known: the other one's log, and the roster.
POLL = {
    "folder": ({"get": 2}, []),
    "s3": ({"get": 2}, [f"GET .*/{LOG}", f"GET .*/{ROSTER}"]),
    "gcs": ({"get": 2}, [f"GET .*{LOG}", f"GET .*{ROSTER}"]),
    "git": ({"head": 1}, [*["GET /.*service=git-upload-pack$"] * 2, "POST /.*/git-upload-pack$"]),
    "webdav": ({"get": 2}, [f"GET .*/{LOG}$", f"GET .*/{ROSTER}$"]),
}


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def over_kinds(*quick: str) -> pytest.MarkDecorator:
    """Over every store; those that are not `quick` in the long run only."""
    kinds = [kind if kind in quick else pytest.param(kind, marks=pytest.mark.long) for kind in STORES]
    return pytest.mark.parametrize("kind", kinds, indirect=True)


@pytest.fixture
def vault(request: pytest.FixtureRequest, kind: str) -> Vault:
    made: Vault = request.getfixturevalue(f"{kind}_vault")
    return made


@pytest.fixture
def pair(lab: Lab) -> tuple[Machine, Machine]:
    """Two machines that know of each other; their daemons run, and sync when they are asked to."""
    a, b = (lab.machine(name, settings=ON_REQUEST) for name in ("a", "b"))
    lab.prepare()
    set_up([a, b])
    start_all([a, b])
    for machine in (a, b):
        wait_until(lambda m=machine: counted(m)["rounds"] > 0, 30, "what a start asks is over", [machine])  # type: ignore[misc]  # a default
    return a, b


def counted(machine: Machine) -> dict[str, int]:
    """Rounds, and requests by kind, since the daemon began."""
    said = machine.ctl("metrics").stdout
    found = {kind: int(count) for kind, count in re.findall(r'requests_total\{kind="(\w+)"\} (\d+)', said)}
    (rounds,) = re.findall(r"^claude_syncd_rounds_total (\d+)$", said, re.MULTILINE)
    return {**found, "rounds": int(rounds)}


def since(machine: Machine, before: dict[str, int]) -> dict[str, int]:
    """Requests by kind that left since `before`."""
    now = counted(machine)
    return {kind: now[kind] - before[kind] for kind in KINDS}


def on_the_wire(vault: Vault) -> list[str]:
    """What was asked through the wire until now."""
    return list(vault.wire.asked) if vault.wire is not None else []


def unlike(asked: Iterable[str], patterns: list[str]) -> list[str]:
    """Requests that no pattern is for, and patterns that no request was like; in any order, each once."""
    left = list(patterns)
    strange = []
    for request in asked:
        fitting = next((pattern for pattern in left if re.match(pattern, unquote(request))), None)
        if fitting is None:
            strange.append(request)
        else:
            left.remove(fitting)
    return strange + left


def idle_pull(machine: Machine) -> dict[str, Any]:
    """A pull for which the store was asked: on git, pulls that closely follow each other share an answer."""

    def pulled() -> dict[str, Any] | None:
        done = machine.json("pull")
        return done if any(done["requests"].values()) else None

    done = wait_until(pulled, 30, "the store is asked", [machine])
    assert done is not None
    assert done["downloaded"] == 0
    return done


@over_kinds("s3")
def test_a_small_push_and_an_idle_poll(pair: tuple[Machine, Machine], vault: Vault, kind: str) -> None:
    a, b = pair
    (a.tree / "rules").mkdir()
    (a.tree / "rules/first.md").write_text("# The first of all makes folders at a WebDAV server\n")
    a.json("push")
    commits = getattr(vault, "commits", int)
    for number in range(2):
        (a.tree / f"rules/small-{number}.md").write_text(f"# Small {number}\n")
        counter, wire, history = counted(a), len(on_the_wire(vault)), commits()
        pushed = a.json("push")
        requests, asked = PUSH[kind]
        assert pushed["uploaded"] == 1
        assert pushed["requests"] == {**EMPTY, **requests}
        assert since(a, counter) == {**EMPTY, **requests}
        assert unlike(on_the_wire(vault)[wire:], asked) == []
        assert commits() - history == (kind == "git")
    assert b.json("pull")["downloaded"] == 3
    for machine in (a, b):
        machine.json("pull")
        for _ in range(2):
            counter, wire = counted(machine), len(on_the_wire(vault))
            pulled = idle_pull(machine)
            requests, asked = POLL[kind]
            assert pulled["requests"] == {**EMPTY, **requests}
            assert since(machine, counter) == {**EMPTY, **requests}
            assert unlike(on_the_wire(vault)[wire:], asked) == []


def at_rest(machine: Machine, vault: Vault) -> tuple[dict[str, int], int]:
    """What is counted, and how many requests were on the wire, while the daemon does nothing."""
    machine.ctl("pause")
    machine.ctl("pull")  # waits for the round that is under way
    return counted(machine), len(on_the_wire(vault))


@over_kinds("s3")
def test_a_daemon_that_is_left_alone(lab: Lab, vault: Vault, kind: str) -> None:
    often = {"CLAUDE_SYNC_POLL__ACTIVE": "0.3", "CLAUDE_SYNC_POLL__ROSTER": "2"}
    a, b = (lab.machine(name, settings=often) for name in ("a", "b"))
    lab.prepare()
    set_up([a, b])
    a.start()
    wait_until(lambda: counted(a)["rounds"] > 0, 30, "what a start asks is over", [a])
    before, begin = at_rest(a, vault)
    a.ctl("resume")
    goal = before["rounds"] + 6

    def enough() -> bool:
        news = on_the_wire(vault)[begin:]
        asked_for_devices = vault.wire is None or kind == "git" or any(re.search(ROSTER, unquote(r)) for r in news)
        return asked_for_devices and counted(a)["rounds"] >= goal

    wait_until(enough, 60, "A has polled", [a])
    after, end = at_rest(a, vault)
    polled = {each: after[each] - before[each] for each in KINDS}
    assert polled["put"] == polled["list"] == polled["delete"] == 0
    asked = on_the_wire(vault)[begin:end]
    if kind == "git":
        assert polled["get"] == 0
        assert 1 <= polled["head"] <= after["rounds"] - before["rounds"]
        assert len(asked) == 3 * polled["head"]
        assert all("git-upload-pack" in request for request in asked)
        return
    assert polled["head"] == 0
    logs = [request for request in asked if re.search(LOG, unquote(request))]
    rosters = [request for request in asked if re.search(ROSTER, unquote(request))]
    if vault.wire is not None:
        assert len(logs) + len(rosters) == len(asked) == polled["get"]
        assert len(set(logs)) == len(set(rosters)) == 1
        assert len(rosters) < len(logs) <= after["rounds"] - before["rounds"]
