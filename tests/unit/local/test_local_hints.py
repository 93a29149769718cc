from __future__ import annotations

from claude_syncd.local.hints import MOST, MOST_IN_ONE_FOLDER, Gathered, Hints


def test_a_few_files_are_named() -> None:
    gathered = Gathered()
    assert not gathered
    gathered.add_path("a/1")
    gathered.add_path("a/1")
    gathered.add_path("2")
    gathered.add_folder("b")
    assert gathered
    assert gathered.take() == Hints(frozenset({"a/1", "2"}), frozenset({"b"}))
    assert not gathered


def test_many_in_one_folder_become_a_scan_of_it() -> None:
    gathered = Gathered()
    gathered.add_path("other/f")
    for number in range(MOST_IN_ONE_FOLDER):
        gathered.add_path(f"a/{number}")
    gathered.add_path("a/b/inner")
    assert gathered.take().rescan == frozenset()
    for number in range(MOST_IN_ONE_FOLDER + 50):
        gathered.add_path(f"a/{number}")
    gathered.add_path("other/f")
    assert gathered.take() == Hints(frozenset({"other/f"}), frozenset({"a"}))


def test_many_everywhere_become_a_scan_of_everything() -> None:
    gathered = Gathered()
    for number in range(MOST + 10):
        gathered.add_path(f"{number}/f")
    gathered.add_folder("x")
    assert gathered.take() == Hints(frozenset(), frozenset({""}))
    for number in range(MOST_IN_ONE_FOLDER + 1):
        gathered.add_folder(str(number))
    assert gathered.take() == Hints(frozenset(), frozenset({""}))
