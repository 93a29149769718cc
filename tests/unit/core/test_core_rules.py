import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.model import FileClass
from claude_syncd.core.rules import Rules, Scope, classify, classify_portable, denied

SESSION = "0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000"
P = "projects/-home-ann-dev"

IN_SESSIONS = [
    f"{P}/{SESSION}.jsonl",
    f"{P}/{SESSION}/subagents/agent-ab12.jsonl",
    f"{P}/{SESSION}/subagents/agent-ab12.meta.json",
    f"{P}/{SESSION}/subagents/workflows/run/journal.jsonl",
    f"{P}/{SESSION}/tool-results/toolu_01.txt",
    f"{P}/{SESSION}/tool-results/build/x.log",  # named in the transcript, so it is no junk
    f"{P}/{SESSION}/workflows/run.json",
    f"{P}/{SESSION}/custom-title.json",
    f"{P}/{SESSION}/archived.json",
    f"{P}/memory/MEMORY.md",
    f"{P}/memory/build/steps.md",
    "projects/pinned_name/memory/a.md",
    "history.jsonl",
    "paste-cache/0123456789abcdef.txt",
]
IN_PORTABLE = [
    "CLAUDE.md",
    "settings.json",
    "keybindings.json",
    "rules/go.md",
    "agents/reviewer.md",
    "commands/git/pr.md",
    "skills/pdf/SKILL.md",
    "skills/pdf/scripts/run.py",
    "skills/pdf/.claude-plugin/plugin.json",
    "skills/pdf/template.tmpl",
    "output-styles/terse.md",
    "workflows/ship.js",
    "themes/dark.json",
    "agent-memory/reviewer/MEMORY.md",
]
IN_FULL = [
    "settings.local.json",
    "loop.md",
    "plans/brave-fox.md",
    "todos/1.json",
    f"tasks/{SESSION}/1.json",
    f"file-history/{SESSION}/0123456789abcdef@v1",
    "artifacts/x/index.html",
    "hooks/notify.sh",
    "plugins/config.json",
    "plugins/own/commands/x.md",
]
NEVER_UNASKED = [
    "README.md",
    "statusline.sh",
    "downloads/x",
    f"{P}/notes.md",
    f"{P}/agent-ab12.jsonl",
    f"{P}/{SESSION} (1).jsonl",
    f"{P}/{SESSION}.jsonl.bak",
    f"{P}/{SESSION.upper()}.jsonl",
    f"{P}/{SESSION}/other/x",
    f"{P}/{SESSION}/notes.txt",
    f"{P}/deeper/{SESSION}.jsonl",
    f"projects/{SESSION}.jsonl",
    f"projects/a.b/{SESSION}.jsonl",
    f"projects/~-dev/{SESSION}.jsonl",
    "plugins/cache/m/p/x.md",
    "plugins/marketplaces/m/x.md",
    "plugins/repos/m/x.md",
    "plugins/data/p/x",
    "plugins/installed_plugins.json",
    "plugins/known_marketplaces.json",
    "skills/x/node_modules/y/index.js",
    "skills/x/.git/HEAD",
    "skills/x/.env",
    "skills/x/.env.local",
    "skills/x/run.log",
    "skills/x/dist/main.js",
    "skills/x/build/main.js",
    "skills/x/.next/x",
    "skills/x/.turbo/x",
    "skills/x/__pycache__/x.pyc",
    "skills/x/SKILL.md~",
]


@pytest.mark.parametrize("scope", Scope)
def test_each_scope_holds_the_one_before(scope: Scope) -> None:
    rules = Rules(scope)
    groups = [IN_SESSIONS, IN_PORTABLE, IN_FULL, NEVER_UNASKED]
    expected = list(Scope).index(scope) + 1
    for group in groups[:expected]:
        assert [rel for rel in group if not rules.selects(rel)] == []
    for group in groups[expected:]:
        assert [rel for rel in group if rules.selects(rel)] == []


@pytest.mark.parametrize("rel", [*IN_SESSIONS, *IN_PORTABLE, *IN_FULL, *NEVER_UNASKED])
def test_nothing_ordinary_is_denied_and_an_include_that_names_it_lifts_it(rel: str) -> None:
    assert not denied(rel)
    assert Rules(Scope.SESSIONS, include=("/" + rel,)).selects(rel)
    assert not Rules(Scope.FULL, include=("/" + rel,), exclude=("/" + rel,)).selects(rel)


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("*.md", ["a.md", "x/y/a.md", "a.md/x"], ["a.mdx", "md"]),
        ("notes/", ["notes/a", "x/notes/a", "notes/y/z"], ["notes", "notesx/a"]),
        ("/notes/", ["notes/a"], ["x/notes/a"]),
        ("/a.md", ["a.md"], ["x/a.md"]),
        ("x/*.md", ["x/a.md"], ["x/y/a.md", "y/x/a.md", "a.md"]),
        ("x/**/a.md", ["x/a.md", "x/y/z/a.md"], ["a.md", "y/x/a.md"]),
        ("x/**", ["x/a", "x/y/z"], ["x", "y/x/a"]),
        ("**/x", ["x", "a/x", "a/b/x", "a/x/b"], ["ax"]),
        ("**", ["x", "a/b/c"], []),
        ("a?c", ["abc", "x/abc/y"], ["ac", "abbc", "a/c"]),
        ("a.c", ["a.c"], ["abc"]),
        ("a[bc](d)+", ["a[bc](d)+"], ["ab", "abd"]),
        ("a\nb", ["a\nb"], ["a"]),
        ("", [], ["", "a"]),
        ("/", [], ["", "a"]),
    ],
)
def test_patterns(pattern: str, matched: list[str], unmatched: list[str]) -> None:
    rules = Rules(Scope.SESSIONS, include=(pattern,))
    assert [rel for rel in matched if not rules.selects(rel)] == []
    assert [rel for rel in unmatched if rules.selects(rel)] == []
    without = Rules(Scope.SESSIONS, include=("**",), exclude=(pattern,))
    assert [rel for rel in matched if without.selects(rel)] == []
    assert [rel for rel in unmatched if rel and not without.selects(rel)] == []


def test_only_an_include_that_names_it_brings_junk() -> None:
    rel = "skills/x/node_modules/y/index.js"
    assert not Rules(Scope.PORTABLE, include=("*.js",)).selects(rel)
    assert not Rules(Scope.PORTABLE, include=("skills/**",)).selects(rel)
    assert not Rules(Scope.PORTABLE, include=("node_modules/z/",)).selects(rel)
    assert Rules(Scope.PORTABLE, include=("skills/x/node_modules/",)).selects(rel)
    assert Rules(Scope.PORTABLE, include=("*.log",)).selects("skills/x/run.log")
    both = Rules(Scope.PORTABLE, include=("node_modules/", "*.log"))
    assert both.selects("skills/x/node_modules/y/run.log")
    assert not Rules(Scope.PORTABLE, include=("node_modules/",)).selects("skills/x/node_modules/y/run.log")


def test_folders_that_hold_nothing_are_not_entered() -> None:
    rules = Rules(Scope.PORTABLE)
    for folder in ("", "projects", P, f"{P}/memory", f"{P}/{SESSION}", f"{P}/{SESSION}/subagents", "skills/x/y"):
        assert rules.descends(folder), folder
    for folder in ("plugins", "plans", "downloads", f"{P}/other", f"{P}/{SESSION}/other", "skills/x/node_modules",
                   "projects/a b", "ide", "skills/synced"):  # fmt: skip
        assert not rules.descends(folder), folder
    assert not Rules(Scope.PORTABLE, exclude=("skills/x/",)).descends("skills/x/y")
    assert Rules(Scope.SESSIONS, include=("plans/*.md",)).descends("plans")
    assert not Rules(Scope.SESSIONS, include=("plans/*.md",)).descends("todos")
    assert not Rules(Scope.SESSIONS, include=("plans/**",)).descends("skills")


part = st.sampled_from(["skills", "plans", "x", "dist", "node_modules", "a.log", "a.md", "projects", "memory", "-k"])
rels = st.lists(part, min_size=1, max_size=5).map("/".join)
globs = st.lists(
    st.lists(part | st.sampled_from(["*", "**", "?", "*.md", "a.*"]), min_size=1, max_size=4).map("/".join)
    | st.sampled_from(["x/", "/x", "dist/", "/plans/"]),
    max_size=3,
).map(tuple)


@given(scope=st.sampled_from(Scope), include=globs, exclude=globs, rel=rels)
def test_what_is_selected_is_reached(
    scope: Scope, include: tuple[str, ...], exclude: tuple[str, ...], rel: str
) -> None:
    rules = Rules(scope, include, exclude)
    if rules.selects(rel):
        folders = itertools.accumulate(rel.split("/")[:-1], lambda a, b: f"{a}/{b}")
        assert all(rules.descends(folder) for folder in ["", *folders])
    assert rules.selects(rel) == Rules(scope, include, exclude).selects(rel)


@given(st.sampled_from(Scope), globs, rels)
def test_an_include_never_takes_away_and_an_exclude_never_adds(
    scope: Scope, patterns: tuple[str, ...], rel: str
) -> None:
    plain = Rules(scope).selects(rel)
    assert Rules(scope, include=patterns).selects(rel) >= plain
    assert Rules(scope, exclude=patterns).selects(rel) <= plain


@pytest.mark.parametrize(
    ("rel", "expected"),
    [
        (f"{P}/{SESSION}.jsonl", FileClass.TRANSCRIPT),
        (f"projects/~-dev/{SESSION}.jsonl", FileClass.TRANSCRIPT),
        (f"{P}/{SESSION}/subagents/agent-a.jsonl", FileClass.TRANSCRIPT),
        (f"{P}/{SESSION}/subagents/agent-a.meta.json", FileClass.SIDE),
        (f"{P}/{SESSION}/tool-results/x.md", FileClass.SIDE),
        (f"{P}/{SESSION}/custom-title.json", FileClass.SIDE),
        (f"{P}/memory/MEMORY.md", FileClass.TEXT),
        (f"{P}/memory/x.png", FileClass.OTHER),
        (f"{P}/notes.jsonl", FileClass.OTHER),
        ("history.jsonl", FileClass.HISTORY),
        ("settings.json", FileClass.SETTINGS),
        ("keybindings.json", FileClass.SETTINGS),
        ("themes/dark.json", FileClass.SETTINGS),
        ("CLAUDE.md", FileClass.TEXT),
        ("agents/a.md", FileClass.TEXT),
        ("skills/a/run.py", FileClass.TEXT),
        ("skills/a/logo.png", FileClass.OTHER),
        ("skills/a/data.json", FileClass.OTHER),  # lines merged one by one might not be JSON any more
        ("paste-cache/0123456789abcdef.txt", FileClass.SIDE),
        ("plans/a.md", FileClass.SIDE),
        (f"file-history/{SESSION}/a@v1", FileClass.SIDE),
    ],
)
def test_classes(rel: str, expected: FileClass) -> None:
    assert classify(rel) is expected
    assert classify_portable("tree/" + rel) is expected
    assert classify_portable("conflicts/0123/tree/" + rel) is FileClass.CONFLICT


def test_rules_answer_for_the_deny_list_and_classes_too() -> None:
    rules = Rules(Scope.SESSIONS)
    assert rules.denied(".credentials.json")
    assert rules.classify("CLAUDE.md") is FileClass.TEXT
