from pathlib import Path

import pytest

from claude_syncd.core.model import FileClass
from claude_syncd.core.portable import Root
from claude_syncd.core.rules import Rules, Scope
from claude_syncd.engine.pathmap import PathMap
from claude_syncd.local.state import State

SESSION = "11111111-2222-4333-8444-555555555555"


def path_map(folder: Path, home: str = "/home/ann") -> PathMap:
    state = State(folder / "state.db")
    return PathMap(rules=Rules(Scope.PORTABLE), state=state, homes=(home,), tree=folder / "tree")


def test_a_project_below_home_is_named_by_its_place_in_it(tmp_path: Path) -> None:
    paths = path_map(tmp_path)
    rel = f"projects/-home-ann-dev-app/{SESSION}.jsonl"
    portable = f"tree/projects/~-dev-app/{SESSION}.jsonl"
    assert paths.portable(rel) == portable
    spot = paths.spot(portable)
    assert spot is not None
    assert (spot.root, spot.rel, spot.file_class) == (Root.TREE, rel, FileClass.TRANSCRIPT)


def test_the_recorded_folder_decides_where_the_name_alone_misleads(tmp_path: Path) -> None:
    project = tmp_path / "tree/projects/-home-ann-b-app"
    project.mkdir(parents=True)
    (project / f"{SESSION}.jsonl").write_text('{"type":"user","cwd":"/home/ann-b/app"}\n')
    paths = path_map(tmp_path)
    assert paths.project_of("-home-ann-b-app") == "-home-ann-b-app"


def test_a_decision_outlives_a_restart_and_later_hints(tmp_path: Path) -> None:
    assert path_map(tmp_path).project_of("-home-ann-b-app") == "~-b-app"
    project = tmp_path / "tree/projects/-home-ann-b-app"
    project.mkdir(parents=True)
    (project / f"{SESSION}.jsonl").write_text('{"type":"user","cwd":"/home/ann-b/app"}\n')
    assert path_map(tmp_path).project_of("-home-ann-b-app") == "~-b-app"


def test_two_portable_projects_never_share_a_folder(tmp_path: Path) -> None:
    paths = path_map(tmp_path)
    assert paths.spot(f"tree/projects/~-b/{SESSION}.jsonl") is not None
    assert paths.spot(f"tree/projects/-home-ann-b/{SESSION}.jsonl") is None


@pytest.mark.parametrize(
    "path",
    [
        "tree/.credentials.json",
        "tree/../.bashrc",
        "tree//etc/passwd",
        "/etc/passwd",
        "tree/projects/../../x.md",
        "tree/agents/./x.md",
        "tree/ide/1.lock",
        "other/agents/x.md",
        "conflicts/0123456789abcdef/tree/.credentials.json",
        "conflicts/0123456789abcdef/conflicts/0123456789abcdef/tree/agents/x.md",
        "conflicts/../tree/agents/x.md",
        "tree/unheard-of/x.md",
    ],
)
def test_what_is_unsafe_denied_or_out_of_scope_has_no_place_here(tmp_path: Path, path: str) -> None:
    assert path_map(tmp_path).spot(path) is None
