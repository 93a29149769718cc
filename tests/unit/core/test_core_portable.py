import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.portable import (
    Projects,
    Root,
    cwd_of_transcript,
    encode_key,
    local_project,
    portable_project,
    to_local,
    to_portable,
)
from claude_syncd.errors import FormatError

ANN = ("/home/ann",)
MAC = ("/Users/ann",)
SESSION = "0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/Users/Jörg/my_proj.v2", "-Users-J-rg-my-proj-v2"),
        ("/Users/Jo\u0308rg/my_proj.v2", "-Users-J-rg-my-proj-v2"),  # decomposed, as macOS may give it
        (r"C:\Users\me\a_b", "C--Users-me-a-b"),
        (r"c:\Users\me\a_b", "c--Users-me-a-b"),
        (r"\\server\share\dev", "--server-share-dev"),
        ("/", "-"),
        ("/home/ann/Work  Space", "-home-ann-Work--Space"),
        ("/home/ann/🎉", "-home-ann---"),  # two UTF-16 code units
        ("/home/ann/東京", "-home-ann---"),
        ("/home/ann/\udcff", "-home-ann--"),  # an undecodable byte
        ("/" + "a" * 199, "-" + "a" * 199),
        # Those below were computed with JavaScript's own string functions.
        ("/home/ann/" + "x" * 250, "-home-ann-" + "x" * 190 + "-55fecx"),
        ("/home/ann/" + "🎉" * 120, "-home-ann-" + "-" * 190 + "-qjzr6v"),
        ("/Users/Jörg/" + "長い名前/" * 60, "-Users-J-rg-" + "-" * 188 + "-dayw94"),
    ],
)
def test_the_key_is_the_one_claude_code_makes(path: str, key: str) -> None:
    assert encode_key(path) == key


@pytest.mark.parametrize(
    ("key", "cwd", "portable"),
    [
        ("-home-ann", None, "~"),
        ("-home-ann", "/home/ann", "~"),
        ("-home-ann-dev-app", "/home/ann/dev/app", "~-dev-app"),
        ("-home-ann-dev-app", None, "~-dev-app"),
        ("-srv-app", "/srv/app", "-srv-app"),
        ("-srv-app", None, "-srv-app"),
        ("-home-anna", None, "-home-anna"),
        # The text begins like home, the folder is beside it.
        ("-home-ann-b", "/home/ann-b", "-home-ann-b"),
        ("-home-ann-b", "/home/ann.b", "-home-ann-b"),
        ("-home-ann-b", "/home/ann/b", "~-b"),
        # A folder that was recorded elsewhere says nothing about this key.
        ("-home-ann-dev-app", "/Users/ann/dev/app", "~-dev-app"),
        ("-home-ann-dev-app", "/home/ann-b", "~-dev-app"),
    ],
)
def test_projects_under_home_are_told_from_home(key: str, cwd: str | None, portable: str) -> None:
    assert portable_project(key, ANN, cwd) == portable
    assert local_project(portable, ANN) == key


def test_a_project_finds_its_folder_under_another_home() -> None:
    portable = portable_project("-home-ann-dev-my-app", ANN, "/home/ann/dev/my.app")
    assert local_project(portable, MAC) == encode_key("/Users/ann/dev/my.app")


@pytest.mark.parametrize("below", ["x" * 121, "deep/" * 30 + "end", "Löwe/" + "a b" * 45, "y" * 195, "z" * 250])
def test_a_long_path_is_kept_in_full_so_that_its_key_is_right_under_every_home(below: str) -> None:
    cwd = f"/home/ann/{below}"
    key = encode_key(cwd)
    portable = portable_project(key, ANN, cwd)
    assert portable.startswith("~=")
    assert local_project(portable, ANN) == key
    assert local_project(portable, MAC) == encode_key(f"/Users/ann/{below}")
    home = "/home/" + "long" * 20
    assert local_project(portable, (home,)) == encode_key(f"{home}/{below}")


def test_a_cut_key_without_its_folder_stays_as_it_is() -> None:
    key = encode_key("/home/ann/" + "x" * 300)
    assert portable_project(key, ANN, None) == key
    assert local_project(key, ANN) == key


def test_a_path_too_long_to_be_kept_stays_as_it_is() -> None:
    cwd = "/home/ann/" + "虎" * 200
    assert portable_project(encode_key(cwd), ANN, cwd) == encode_key(cwd)


def test_another_spelling_of_home_counts_as_home() -> None:
    homes = ("/var/home/ann", "/home/ann")
    assert portable_project("-var-home-ann-dev", homes, "/var/home/ann/dev") == "~-dev"
    assert portable_project("-var-home-ann-dev", homes, "/home/ann/dev") == "~-dev"
    assert local_project("~-dev", homes) == "-var-home-ann-dev"
    # A folder that Claude Code named by the other spelling keeps its name: two folders are not made one.
    assert portable_project("-home-ann-dev", homes, "/home/ann/dev") == "-home-ann-dev"


@pytest.mark.parametrize("cwd", [r"C:\Users\ann\dev\app", r"c:\Users\ann\dev\app", "C:/Users/ann/dev/app"])
def test_windows_homes(cwd: str) -> None:
    homes = (r"C:\Users\ann",)
    assert portable_project("C--Users-ann-dev-app", homes, cwd) == "~-dev-app"
    assert local_project("~-dev-app", homes) == "C--Users-ann-dev-app"
    assert portable_project("C--Users-ann-b", homes, r"C:\Users\ann.b") == "C--Users-ann-b"
    deep = "deep\\" * 30 + "end"
    long = portable_project(encode_key(rf"C:\Users\ann\{deep}"), homes, rf"c:\Users\ann\{deep}")
    assert local_project(long, ANN) == encode_key("/home/ann/" + deep.replace("\\", "/"))


@pytest.mark.parametrize("home", ["", "/", "/" + "h" * 300])
def test_a_home_that_tells_nothing_makes_no_names(home: str) -> None:
    assert portable_project("-srv-app", (home,), "/srv/app") == "-srv-app"


names = st.text(st.sampled_from("abZ09-_. éñ漢🎉"), min_size=1, max_size=90)
paths = st.lists(names, min_size=1, max_size=8).map(lambda parts: "/" + "/".join(parts))


@given(home=paths, other=paths, rel=st.none() | paths, told=st.sampled_from(["own", "other", "none"]))
def test_the_way_there_and_back_ends_where_it_began(home: str, other: str, rel: str | None, told: str) -> None:
    own = home + (rel or "")
    cwd = {"own": own, "other": other, "none": None}[told]
    for key in (encode_key(own), encode_key(other), encode_key(home + "-b")):
        assert local_project(portable_project(key, (home,), cwd), (home,)) == key


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "~x", "~.", "~-a/b", "~-..", "a.b", "é", "~=", "~=%2", "~=%2f", "~=a/b", "~=%ff",
             "~=dev%2Fapp%00%", "x" * 300, "~-" + "x" * 200, "~=" + "x" * 4000, "a\n", "~-a\n"],
)  # fmt: skip
def test_a_malformed_project_name_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        local_project(name, ANN)


def row(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def test_the_first_recorded_folder_counts() -> None:
    head = row(type="summary", summary="x") + row(type="user", cwd="/home/ann/a") + row(type="user", cwd="/b")
    assert cwd_of_transcript(head, head) == "/home/ann/a"


def test_a_moved_session_belongs_where_it_was_moved_to_last() -> None:
    head = row(type="user", cwd="/a")
    tail = row(type="relocated", relocatedCwd="/b") + row(type="relocated", relocatedCwd="/c") + row(type="user")
    assert cwd_of_transcript(head, tail) == "/c"
    assert cwd_of_transcript(b"", tail) == "/c"


@pytest.mark.parametrize(
    "broken",
    [
        b"\n",
        b"\0\0\0\n",
        b'{"cwd":\n',
        b'{"cwd":5}\n',
        b'{"cwd":""}\n',
        b'"cwd"\n',
        b'{"x":"\xff","cwd":"\xff"}\n',
        b'{"message":{"cwd":"/nested"}}\n',
        b'{"text":"\\"cwd\\":\\"/quoted\\""}\n',
        b'{"cwd":"/glued"}{"cwd":"/glued"}\n',
        b'{"cwd":' + b"[" * 60_000 + b"\n",
    ],
)
def test_broken_lines_are_skipped(broken: bytes) -> None:
    assert cwd_of_transcript(broken + row(cwd="/a"), broken) == "/a"
    assert cwd_of_transcript(broken, broken + b'{"type":"relocated"') is None
    relocated = b'{"type":"relocated","relocatedCwd":7}\n{"type":"x","relocatedCwd":"relocated"}\n"relocated"\n'
    assert cwd_of_transcript(row(cwd="/a"), relocated + broken) == "/a"


def test_a_first_line_longer_than_the_window_still_tells() -> None:
    line = b'{"parentUuid":null,"cwd":"/home/ann/caf\\u00e9","message":"' + b"x" * 200_000
    assert cwd_of_transcript(line, b"") == "/home/ann/café"


def test_only_the_windows_are_looked_at() -> None:
    filler = row(type="x", text="y" * 70_000)
    assert cwd_of_transcript(filler + row(cwd="/late"), b"") is None
    assert cwd_of_transcript(b"", row(type="relocated", relocatedCwd="/early") + filler) is None


def here(key: str) -> str:
    return portable_project(key, ANN, None)


def there(portable: str) -> str:
    return local_project(portable, MAC)


@pytest.mark.parametrize(
    ("rel", "portable", "elsewhere"),
    [
        ("CLAUDE.md", "tree/CLAUDE.md", "CLAUDE.md"),
        ("skills/a b/SKILL.md", "tree/skills/a b/SKILL.md", "skills/a b/SKILL.md"),
        (
            f"projects/-home-ann-dev/{SESSION}.jsonl",
            f"tree/projects/~-dev/{SESSION}.jsonl",
            f"projects/-Users-ann-dev/{SESSION}.jsonl",
        ),
        ("projects/-home-ann/memory/a.md", "tree/projects/~/memory/a.md", "projects/-Users-ann/memory/a.md"),
        ("projects/-srv-x/memory/é.md", "tree/projects/-srv-x/memory/é.md", "projects/-srv-x/memory/é.md"),
    ],
)
def test_paths_are_translated_there_and_back(rel: str, portable: str, elsewhere: str) -> None:
    assert to_portable(rel, here) == portable
    assert to_local(portable, there) == (Root.TREE, elsewhere)


def test_kept_sides_have_their_own_root() -> None:
    path = f"conflicts/0123/tree/projects/~-dev/{SESSION}.jsonl"
    assert to_local(path, there) == (Root.CONFLICTS, f"0123/tree/projects/~-dev/{SESSION}.jsonl")


@pytest.mark.parametrize(
    "rel",
    ["", "../x", "a//b", "a\\b", "a\0b", "projects", "projects/x", "projects/", "/etc/passwd", "projects/~-dev/x",
     "projects/../x", "projects/a.b/x", "e\u0301.md", "\udcff.md"],
)  # fmt: skip
def test_local_names_that_can_not_travel_are_refused(rel: str) -> None:
    with pytest.raises(FormatError):
        to_portable(rel, here)


def test_one_folder_has_one_name() -> None:
    projects = Projects(ANN, lambda _key: [])
    assert projects.local("-home-ann-b") == "-home-ann-b"
    assert projects.portable("-home-ann-b") == "-home-ann-b"
    assert projects.learn("~-b") is None
    with pytest.raises(FormatError):
        projects.local("~-b")
    assert projects.local("~-c") == "-home-ann-c"


def test_a_name_once_decided_stays() -> None:
    recorded: list[str] = []
    projects = Projects(ANN, lambda _key: recorded)
    assert projects.portable("-home-ann-b") == "~-b"
    recorded.append("/home/ann-b")
    assert projects.portable("-home-ann-b") == "~-b"


def test_the_transcript_that_was_recorded_here_decides() -> None:
    projects = Projects(ANN, lambda _key: ["/Users/ann/b", "/home/ann.b"])
    assert projects.portable("-home-ann-b") == "-home-ann-b"


def test_a_long_name_from_the_vault_is_known_again_without_a_transcript_of_here() -> None:
    cwd = "/Users/ann/" + "x" * 210
    portable = portable_project(encode_key(cwd), MAC, cwd)
    projects = Projects(ANN, lambda _key: [cwd])
    assert projects.portable(projects.local(portable)) == portable
