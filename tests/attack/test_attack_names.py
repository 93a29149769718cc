"""A device that lies about paths: none of its names may leave the tree or reach a file that is never synced."""

import pytest

from claude_syncd.core.names import check_portable
from claude_syncd.core.portable import Root, local_project, to_local
from claude_syncd.core.rules import Rules, Scope, denied
from claude_syncd.errors import FormatError

HOMES = ("/home/ann",)
EVERYTHING = Rules(Scope.FULL, include=("**",))


def project(portable: str) -> str:
    return local_project(portable, HOMES)


@pytest.mark.parametrize(
    "path",
    [
        "tree/../.ssh/authorized_keys",
        "tree/a/../../x",
        "tree/..",
        "tree/.",
        "tree//etc/passwd",
        "/etc/passwd",
        "tree/a/./b",
        "tree/a\\..\\..\\x",
        "tree/..\\x",
        "tree/C:/x",
        "tree/c:x",
        "tree/a\0b",
        "tree/a\nb",
        "tree/a\x7fb",
        "tree/a\x9bb",
        "tree/.credentials.json::$DATA",
        "tree/.credentials\u200c.json",
        "tree/.credentials.json\u200d",
        "tree/\ufeff.credentials.json",
        "tree/\u2060ide/x",
        "tree/\u206aide/x",
        "tree/\u202egnp.md",
        "tree/a\u2028b",
        "tree/e\u0301.md",
        "tree/\u212a.md",  # a Kelvin sign is a K once normalised
        "tree/\ud800.md",
        "tree/\udcff",
        "tree/..\u200b/x",
        "conflicts/../config.toml",
        "conflicts/x/../../vault.key",
        "state/vault.key",
        "trash/x",
        "tree/projects",
        "tree/projects/x",
        "tree/projects/../settings.json",
        "tree/projects/%2e%2e/x",
        "tree/projects/~/../x",
        "tree/projects/~x/y",
        "tree/projects/~=..%2F..%2fetc/x",
        "tree/projects/~=/x",
        "tree/projects/~=%00/",
        "tree/projects/a b/x",
        "tree/projects/.hidden/x",
        "tree/" + "a/" * 70 + "b",
        "tree/" + "a" * 256,
        "tree/" + "a" * 5000,
        "tree/" + "\U0001f389" * 2000,
    ],
)
def test_a_path_that_could_escape_or_alias_is_refused(path: str) -> None:
    with pytest.raises(FormatError):
        to_local(path, project)


def test_a_long_project_name_can_only_name_a_project() -> None:
    root, rel = to_local("tree/projects/~=etc%2Fpasswd%00/memory/x.md", project)
    assert root is Root.TREE
    assert rel == "projects/-home-ann-etc-passwd-/memory/x.md"
    for climbing in ("..%2Fx", "a%2F..%2Fx", "%2Fetc", "a%2F%2Fb", "."):
        with pytest.raises(FormatError):
            to_local(f"tree/projects/~={climbing}/memory/x.md", project)


@pytest.mark.parametrize("key", ["..", ".", "", "a/b", "x" * 250, "a\n"])
def test_a_project_function_that_goes_wrong_is_caught(key: str) -> None:
    with pytest.raises(FormatError):
        to_local("tree/projects/x/memory/a.md", lambda _: key)


SECRETS = (
    ".credentials.json",
    ".credentials.json.bak",
    ".session_ingress_token",
    ".session_ingress_token_2",
    ".claude.json",
    ".claude.json.backup",
    ".config.json",
    "ide/4711.lock",
    "ide/x",
    "sessions/4711.json",
    "sessions/4711.abcd.key",
    "session-env/x/env",
    "shell-snapshots/snapshot-bash-1-a.sh",
    "daemon/auth",
    "daemon/roster.json",
    "daemon.log",
    "jobs/1/state.json",
    "backups/.claude.json.backup.1",
    "statsig/x",
    "telemetry/x",
    "debug/x.txt",
    "logs/x",
    "cache/x",
    "mcp-needs-auth-cache.json",
    "hfi-auth.json",
    "antproto.json",
    "remote-settings.json",
    "remote-settings-v2.json",
    "policy-limits.json",
    "server-sessions.json",
    "stats-cache.json",
    "image-cache/x/1.png",
    "teams/a/config.json",
    ".last-cleanup",
    ".update.lock",
    "skills/synced/x/SKILL.md",
    "skills/.trash/x/SKILL.md",
    "skills/.staging/x/SKILL.md",
    "skills/x/.credentials.json",
    "skills/x/.claude.json",
    "skills/x/.DS_Store",
    "skills/x/._SKILL.md",
    "agents/.csync-12ab-x.md",
    "settings.json.tmp.123.456",
    "agents/x.md.tmp",
    "history.jsonl.lock/x",
    "history.jsonl.lock",
    "agents/x (Ann's conflicted copy 2026-01-01).md",
    "agents/x.sync-conflict-20260101-120000-ABCDEFG.md",
    "agents/x.conflict.1700000000.md",
    "projects/-a/sessions-index.json",
    "projects/-a/bridge-pointer.json",
    "projects/-a/.session-aliases",
    "projects/-a/s.ccr-tip.json",
    "projects/-a/s.precompact.json",
    "projects/-a/s.jsonl.compact.tmp.ab12",
    "projects/-a/s.jsonl.superseded-17",
    "projects/-a/s.orphaned-1",
    "projects/-a/cloud-snapshots/x",
    "projects/-a/0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000/resume-head.jsonl",
    "projects/-a/0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000/precompact.json",
    "projects/-a/0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000/remote-agents/x.json",
    "projects/-a/0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000/1.cast",
)


@pytest.mark.parametrize("rel", SECRETS)
def test_no_include_lifts_the_deny_list(rel: str) -> None:
    assert denied(rel)
    assert not EVERYTHING.selects(rel)
    assert not Rules(Scope.FULL, include=(rel, "/" + rel)).selects(rel)


def spellings(rel: str) -> set[str]:
    """`rel` as file systems may take it: other case, compatibility forms, ignored characters, trailing dots."""
    folder, slash, name = rel.rpartition("/")
    full_width = "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in rel)
    return {
        rel.upper(),
        rel.title(),
        rel.swapcase(),
        full_width,
        rel.replace("s", "\u017f"),
        rel.replace("k", "\u212a"),
        rel + "\ufe0f",
        rel[0] + "\u00ad" + rel[1:],
        rel + ".",
        rel + " ",
        f"{folder}.{slash}{name}" if folder else rel,
    }


@pytest.mark.parametrize("rel", SECRETS)
def test_no_other_spelling_of_a_denied_name_gets_past(rel: str) -> None:
    for spelled in spellings(rel):
        try:
            check_portable("tree/" + spelled)
        except FormatError:
            continue
        assert denied(spelled), spelled
        assert not EVERYTHING.selects(spelled), spelled


@pytest.mark.parametrize("rel", ["ide", "sessions", "daemon", "skills/synced", "projects/-a/cloud-snapshots", "IDE"])
def test_denied_folders_are_not_even_entered(rel: str) -> None:
    assert not EVERYTHING.descends(rel)
    assert not EVERYTHING.descends(rel + "/deeper")


def test_depth_is_bounded_before_the_stack_is() -> None:
    deep = "a/" * 100_000 + "b"
    assert denied(deep)
    assert not EVERYTHING.selects(deep)
    assert not EVERYTHING.descends(deep)
