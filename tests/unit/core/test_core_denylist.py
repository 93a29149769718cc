"""What never travels, name by name, and that no spelling of it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.core.denylist import denied, denied_folder, denied_in
from claude_syncd.core.names import MAX_DEPTH

SESSION = "0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000"
P = "projects/-home-ann-dev"

SECRETS = [
    ".credentials.json",
    ".credentials.json.bak",
    ".session_ingress_token",
    ".claude.json",
    ".claude.json.backup.1790000000000",
    ".config.json",
    "hfi-auth.json",
    "mcp-needs-auth-cache.json",
    "backups/.claude.json.backup.1",
    "shell-snapshots/snapshot-bash-1-a.sh",
    "session-env/x/hook.sh",
    "debug/x.txt",
    "ide/40123.lock",
    "remote-settings.json",
    "policy-limits.json",
    "skills/x/.credentials.json",
    "plugins/own/.claude.json",
]
OF_THIS_MACHINE = [
    "sessions/123.json",
    "daemon.log",
    "daemon.log.1",
    "daemon/x",
    "statsig/x",
    "local/x",
    "teams/a/inbox.json",
    "agent-memory-local/x/MEMORY.md",
    "storage-v2/a/b",
    ".last-cleanup",
    "stats-cache.json",
    "cache/changelog.md",
    "history.jsonl.lock",
    "tasks/x/.lock",
    "skills/x/.DS_Store",
    "skills/x/Thumbs.db",
    "skills/x/._SKILL.md",
    "agents/.csync-0a1b2c",
]
TEMPORARY = ["agents/a.md.tmp", "agents/a.md.tmp.123", "a.tmp", "agents/.tmp-x", "settings.json.tmp.4711.1790000000"]
COPIES = [
    "agents/a (ann's conflicted copy 2026-01-31).md",
    "agents/a (Case Conflict).md",
    "agents/a.sync-conflict-20260131-120000-ABCDEFG.md",
    "agents/a_conflict-20260131-120000.md",
    "agents/a.conflict.md",
    "agents/a.conflict",
]
DERIVED = [
    "skills/synced/x",
    "skills/.trash/x",
    "plugins/.staging/x",
    f"{P}/sessions-index.json",
    f"{P}/bridge-pointer.json",
    f"{P}/{SESSION}.precompact.json",
    f"{P}/{SESSION}.jsonl.compact.tmp.0a1b2c",
    f"{P}/{SESSION}.jsonl.superseded-1",
    f"{P}/{SESSION}.jsonl.orphaned-1",
    f"{P}/cloud-snapshots/x",
    f"{P}/{SESSION}/resume-head.jsonl",
    f"{P}/{SESSION}/sent-prefix.json",
    f"{P}/{SESSION}/remote-agents/x.json",
    f"{P}/{SESSION}/terminal.cast",
]
TRAVELS = [
    "CLAUDE.md",
    "settings.json",
    "history.jsonl",
    f"{P}/{SESSION}.jsonl",
    f"{P}/{SESSION}/subagents/agent-1.jsonl",
    f"{P}/memory/MEMORY.md",
    # Names of the list in places that it does not speak of.
    "skills/backups/SKILL.md",
    "skills/x/sessions/1.md",
    "agents/daemon.md",
    "agents/ide.md",
    "skills/x/synced/a.md",
    "skills/x/sessions-index.json",
    f"{P}/memory/precompact.json",
    # Words that only look alike.
    "skills/x/page.tmpl",
    "skills/x/template.tmplate.md",
    "agents/conflict.md",
    "agents/resolve-conflicts.md",
    "agents/locked.md",
    "agents/lock",
    "agents/credentials.json",
    "agents/my.credentials.json",
]


@pytest.mark.parametrize("rel", [*SECRETS, *OF_THIS_MACHINE, *TEMPORARY, *COPIES, *DERIVED])
def test_it_never_travels_in_no_spelling_and_nothing_below_it(rel: str) -> None:
    folder, _, name = rel.rpartition("/")
    before = f"{folder}/" if folder else ""
    spellings = [
        name,
        name.upper(),
        name.title(),
        f"{name}.",
        f"{name} ",
        f"{name}. . ",
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name),  # full width
        "\u200d".join(name),
        "\u00ad" + name,
        name.replace("s", "\u017f"),  # a long s folds to s
    ]
    assert [s for s in spellings if not denied(before + s)] == []
    assert denied(f"{rel}/below/it.md")
    assert denied_folder(rel)


@pytest.mark.parametrize("rel", TRAVELS)
def test_nothing_else_is_denied(rel: str) -> None:
    assert not denied(rel)
    folder, _, name = rel.rpartition("/")
    assert not denied_folder(folder)
    assert not denied_in(folder, name)


@pytest.mark.parametrize("rel", ["", ".", "..", "a/..", "../a", "a/./b", "a//b", "a/"])
def test_what_is_no_name_is_denied(rel: str) -> None:
    assert denied(rel)


def test_the_top_itself_is_no_denied_folder() -> None:
    assert not denied_folder("")


def test_what_is_nested_too_deep_is_denied() -> None:
    deep = "/".join(["a"] * MAX_DEPTH)
    assert not denied(deep)
    assert denied(f"{deep}/a/a.md")
    assert denied("/".join(["a"] * 100_000)), "and the stack holds"


parts = st.one_of(
    st.sampled_from([p for rel in [*SECRETS, *OF_THIS_MACHINE, *DERIVED, *TRAVELS] for p in rel.split("/")]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
)


@given(st.lists(parts, min_size=1, max_size=5), st.lists(parts, min_size=1, max_size=3))
def test_what_is_denied_is_denied_with_all_below(above: list[str], below: list[str]) -> None:
    rel = "/".join(above)
    if denied(rel):
        assert denied("/".join([*above, *below]))
    assert denied(rel) == (denied_folder("/".join(above[:-1])) or denied_in("/".join(above[:-1]), above[-1]))
