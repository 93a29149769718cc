"""Which projects the vault has, and where they are here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from devices import SESSION, Device, Vault, settle

from claude_syncd.core.portable import encode_key
from claude_syncd.core.status import Match
from claude_syncd.engine.forget import forget
from claude_syncd.engine.projects import listed

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.core.status import ProjectInfo

Pair = tuple[Device, Device]


def work_in(device: Device, folder: str, session: str = SESSION) -> str:
    """A session in that folder; its path in the tree."""
    rel = f"projects/{encode_key(folder)}/{session}.jsonl"
    device.write(rel, json.dumps({"type": "user", "uuid": "1", "cwd": folder}) + "\n")
    return rel


def projects(device: Device) -> dict[str, ProjectInfo]:
    return {project.name: project for project in listed(device.site)}


async def test_a_project_below_home_is_found_in_this_home_by_another_devices_session(pair: Pair) -> None:
    ann, bob = pair
    work_in(ann, str(ann.home.resolve() / "dev" / "my.app"))
    ann.write(f"projects/{encode_key(str(ann.home.resolve() / 'dev/my.app'))}/memory/MEMORY.md", "m\n")
    await settle(ann, bob)
    (here,) = projects(bob).values()
    folder = bob.home.resolve() / "dev" / "my.app"
    assert (here.name, here.match, here.key) == ("~-dev-my-app", Match.HOME_RELATIVE, encode_key(str(folder)))
    assert (here.folder, here.exists, here.sessions, here.here) == (str(folder), False, 1, 1)
    folder.mkdir(parents=True)
    assert projects(bob)["~-dev-my-app"].exists


async def test_a_project_elsewhere_has_the_same_path(pair: Pair) -> None:
    ann, bob = pair
    work_in(ann, "/srv/no such/app")
    await settle(ann, bob)
    here = projects(bob)["-srv-no-such-app"]
    assert (here.match, here.folder, here.exists) == (Match.SAME_PATH, "/srv/no such/app", False)


async def test_a_project_whose_place_is_anothers_is_nowhere(pair: Pair) -> None:
    ann, bob = pair
    work_in(bob, str(bob.home.resolve() / "app"))
    await bob.sync()
    work_in(ann, str(bob.home.resolve() / "app"))  # as an absolute path on Ann's device, where it is not below home
    await settle(ann, bob)
    lost = projects(bob)[encode_key(str(bob.home.resolve() / "app"))]
    assert (lost.match, lost.key, lost.folder, lost.sessions, lost.here) == (Match.NOWHERE, None, None, 1, 0)
    assert projects(bob)["~-app"].here == 1


async def test_what_was_evicted_is_not_here_and_what_was_forgotten_is_no_project(pair: Pair) -> None:
    ann, bob = pair
    other = SESSION.replace("1", "7")
    kept, gone = work_in(ann, "/srv/a"), work_in(ann, "/srv/b", other)
    await settle(ann, bob)
    (bob.places.tree / kept).unlink()
    forget(ann.site, [f"tree/{gone}"])
    await settle(ann, bob)
    (left,) = projects(bob).values()
    assert (left.name, left.sessions, left.here) == ("-srv-a", 1, 0)


def test_looking_decides_nothing(tmp_path: Path) -> None:
    with Device(Vault(), tmp_path, "ann").running() as ann:
        assert ann.site.paths.project_place("~-b") == encode_key(str(ann.home.resolve() / "b"))
        assert ann.site.paths.project_place("~=..") is None
        assert ann.site.state.projects() == {}


@pytest.mark.parametrize("folder", ["", "b", "Documents/b c"])
def test_the_folder_of_a_session_of_another_home_is_below_this_one(tmp_path: Path, folder: str) -> None:
    with Device(Vault(), tmp_path, "ann").running() as ann:
        key = encode_key(str(ann.home.resolve() / folder))
        cwd = f"/Users/someone/{folder}".rstrip("/")
        ann.write(f"projects/{key}/{SESSION}.jsonl", json.dumps({"cwd": cwd}) + "\n")
        assert ann.site.paths.worked_in(key) == str(ann.home.resolve() / folder)
        assert ann.site.paths.worked_in("-elsewhere") is None
