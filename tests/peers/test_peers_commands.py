"""Bugs seen in commands of tools of this kind, tried with the installed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from machines import PASSPHRASE, differences, sync_all

if TYPE_CHECKING:
    from lab import Lab
    from vaults import FolderVault

pytestmark = pytest.mark.long


def test_a_failed_push_is_no_success(folder_lab: Lab, folder_vault: FolderVault) -> None:
    a = folder_lab.machine("a")
    folder_lab.prepare()
    a.init()
    (a.tree / "CLAUDE.md").write_text("be kind\n")
    away = folder_vault.folder.with_name("away")
    folder_vault.folder.rename(away)
    for more in ("-q", "--json"):
        done = a.ctl("push", more, check=False)
        assert done.returncode == 1, more
        assert done.stderr.startswith("error: ")
        assert '"uploaded"' not in done.stdout
    away.rename(folder_vault.folder)
    assert a.json("push")["uploaded"] == 1


def test_a_push_deletes_no_object(folder_lab: Lab, folder_vault: FolderVault) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    folder_lab.prepare()
    for machine in (a, b):
        machine.init()
        (machine.tree / "rules").mkdir()
        (machine.tree / f"rules/of-{machine.name}.md").write_text("# Rule\n")
    sync_all([a, b])
    before = folder_vault.stored()
    assert {"vault.json", "keys", "roster", "devices"} <= {name.partition("/")[0] for name in before}
    (a.tree / "CLAUDE.md").write_text("be kind\n")
    a.ctl("push")
    (b.tree / "rules/of-b.md").unlink()
    b.ctl("push")
    b.ctl("pull")
    after = folder_vault.stored()
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2


@pytest.mark.parametrize("name", ["state.db", "config.toml", "device.json", "vault.key"])
def test_an_empty_file_of_the_state_is_mended_or_explained(folder_lab: Lab, name: str) -> None:
    a, b = folder_lab.machine("a"), folder_lab.machine("b")
    (a.tree / "rules").mkdir()
    (a.tree / "rules/r.md").write_text("# Rule\n")
    folder_lab.prepare()
    a.init()
    a.ctl("push")
    for path in a.state.glob(f"{name}*"):
        path.write_bytes(b"")
    (a.tree / "rules/new.md").write_text("# New\n")
    done = a.ctl("sync", check=False)
    if name != "state.db":
        assert done.returncode != 0
        assert done.stderr.startswith("error: ")
        assert "\nhint: " in done.stderr
        assert "Traceback" not in done.stderr
        # What the hint says helps.
        a.ctl("init", "--force", *a.store, "--passphrase-stdin", "--device-name", "a", "--yes", input=f"{PASSPHRASE}\n")
        a.ctl("sync")
    else:
        assert done.returncode == 0, done.stderr
    b.init()
    sync_all([a, b])
    assert differences([a, b]) == []
    assert sorted(b.snapshot()) == ["rules/new.md", "rules/r.md"]
    assert a.conflicts() == []
