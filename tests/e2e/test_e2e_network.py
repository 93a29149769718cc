"""Installed daemons whose network breaks: `status` says what is wrong, and when it is over all goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults import CLEAN, busy
from machines import differences, settle, start_all
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import FaultProxy
    from lab import Lab
    from machines import Machine

TROUBLES: dict[str, tuple[Callable[[FaultProxy], None], Callable[[FaultProxy], None], str]] = {
    "s3": (lambda wire: wire.listen(listening=False), lambda wire: wire.listen(listening=True), "connection"),
    "git": (lambda wire: wire.listen(listening=False), lambda wire: wire.listen(listening=True), "connect"),
    "webdav": (lambda wire: wire.set(busy(1)), lambda wire: wire.set(CLEAN), "503"),
}
"""For a store: how the trouble begins and ends, and what is said of it."""


@pytest.mark.parametrize(
    "vault", ["s3", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("git", "webdav"))], indirect=True
)
def test_a_daemon_says_what_is_wrong_with_the_network_and_goes_on(lab: Lab, request: pytest.FixtureRequest) -> None:
    a, b = lab.machine("a"), lab.machine("b")
    for machine in (a, b):
        (machine.tree / "rules").mkdir()
        machine.init()
    start_all([a, b])
    settle([a, b])
    wire = lab.vault.wire
    assert wire is not None
    begin, end, words = TROUBLES[request.node.callspec.params["vault"]]
    begin(wire)
    try:
        for machine in (a, b):
            (machine.tree / f"rules/of-{machine.name}.md").write_text(f"# Written at {machine.name}, offline\n")
        for machine in (a, b):
            wait_until(lambda m=machine: offline(m, words), 60, f"{machine.name} says what is wrong", [machine])  # type: ignore[misc]  # a default
        shown = a.ctl("status").stdout
        assert "offline" in shown
        assert words in shown
        assert not (b.tree / "rules/of-a.md").exists()
    finally:
        end(wire)
    settle([a, b], timeout=90)
    assert differences([a, b]) == []
    for machine in (a, b):
        assert {path.name for path in (machine.tree / "rules").iterdir()} == {"of-a.md", "of-b.md"}
        wait_until(lambda m=machine: m.json("status")["state"] == "idle", 60, f"{machine.name} is at rest", [machine])  # type: ignore[misc]  # a default
        status = machine.json("status")
        assert (status["last_error"], status["conflicts"]) == (None, 0)
        assert [device["name"] for device in status["devices"]] == [machine.name, "b" if machine is a else "a"]


def offline(machine: Machine, words: str) -> bool:
    status = machine.json("status")
    return status["state"] == "offline" and words in str(status["last_error"]) and status["pending"]["upload"] == 1
