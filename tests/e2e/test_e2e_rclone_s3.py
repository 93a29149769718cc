"""Two machines over `rclone serve s3`, which ignores conditions: what they write is everywhere, and stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab import Lab
from machines import settle, start_all
from realistic_tree import quick_tree
from s3_rclone import RcloneS3Server
from vaults import S3Vault, wire_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers


@pytest.fixture
def rclone_lab(short_folder: Path) -> Iterator[Lab]:
    server = RcloneS3Server()
    try:
        wire = wire_to(server.start())
        lab = Lab(short_folder, S3Vault(server, wire, short_folder.name))
        yield lab
        lab.close()
        wire.stop()
    finally:
        server.stop()


def test_two_machines_agree(rclone_lab: Lab) -> None:
    a, b = rclone_lab.machine("a"), rclone_lab.machine("b")
    quick_tree(a.tree, a.home)
    before = a.snapshot()
    a.init()
    b.init()
    for machine in (a, b):
        assert "conditional_put = false" in (machine.state / "config.toml").read_text()
    start_all([a, b])
    settle([a, b])
    assert b.snapshot() == before
    for machine, other in ((a, b), (b, a)):
        (machine.tree / f"rules/of-{machine.name}.md").write_text(f"# Rules of {machine.name}\n")
        (machine.tree / f"agents/{'reviewer' if machine is a else 'tester'}.md").unlink()
        settle([a, b])
        assert (other.tree / f"rules/of-{machine.name}.md").read_text() == f"# Rules of {machine.name}\n"
    assert not (b.tree / "agents/reviewer.md").exists()
    assert not (a.tree / "agents/tester.md").exists()
    assert a.conflicts() == []
    for machine in (a, b):
        machine.stop()
    a.json("check")
