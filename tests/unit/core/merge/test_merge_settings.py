import hashlib
import json
import re

import pytest

from claude_syncd.core.merge import keys
from claude_syncd.core.merge.jsontext import Invalid, Node, parse
from claude_syncd.core.merge.keys import Travel, item_stays, stays, travel
from claude_syncd.core.merge.settings import Incoming, Outgoing, Pending, incoming, merge, outgoing, shared
from claude_syncd.core.merge.sides import Merged, Side

KEY = "sk-ant-api03-abcdefghijklmnop"


def side(value: object, mtime_ns: int = 1) -> Side:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Side(content=content, mtime_ns=mtime_ns, sha256=hashlib.sha256(content).hexdigest())


def sent(local: object, base: object = None, vault: object = None) -> object:
    """What a device publishes; the local side is the newer one."""
    old = None if base is None else side(base).content
    found = outgoing(side(local, 2), old, None if vault is None else side(vault))
    assert isinstance(found, Outgoing)
    return json.loads(found.content)


def got(local: object, base: object, vault: object, approved: frozenset[str] = frozenset()) -> Incoming:
    """What the vault's newer version makes of a device's file."""
    old = None if base is None else side(base).content
    found = incoming(None if local is None else side(local), old, side(vault, 2), approved)
    assert isinstance(found, Incoming)
    return found


def applied(local: object, base: object, vault: object, approved: frozenset[str] = frozenset()) -> object:
    return json.loads(got(local, base, vault, approved).content)


def hook(command: str) -> dict[str, object]:
    return {"matcher": "Bash", "hooks": [{"type": "command", "command": command}]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("model", Travel.PORTABLE),
        ("permissions.allow", Travel.PORTABLE),
        ("permissions.additionalDirectories", Travel.MACHINE),
        ("permissions.defaultMode", Travel.DANGEROUS),
        ("permissions.somethingNew", Travel.APPROVAL),
        ("sandbox", Travel.MACHINE),
        ("sandbox.credentials", Travel.MACHINE),
        ("env.FOO", Travel.MACHINE),
        ("hooks.Stop", Travel.APPROVAL),
        ("apiKeyHelper", Travel.MACHINE),
        ("awsCredentialExport", Travel.MACHINE),
        ("statusLine", Travel.APPROVAL),
        ("forceLoginMethod", Travel.APPROVAL),
        ("enabledPlugins.a@b", Travel.APPROVAL),
        ("cleanupPeriodDays", Travel.DANGEROUS),
        ("skipDangerousModePermissionPrompt", Travel.DANGEROUS),
        ("madeUpTomorrow", Travel.APPROVAL),
        ("Model", Travel.APPROVAL),
    ],
)
def test_what_happens_to_a_setting(path: str, expected: Travel) -> None:
    assert travel(tuple(path.split("."))) is expected


def node(value: object) -> Node:
    tree = parse(json.dumps(value).encode())
    assert not isinstance(tree, Invalid)
    return tree.root


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("env", {"EDITOR": "vi"}),
        ("env.EDITOR", "vi"),
        ("new.API_KEY", "anything"),
        ("new.AUTH_TOKEN", "anything"),
        ("new.CUSTOM_HEADERS", "X: y"),
        ("new.GITHUB_PAT", "anything"),
        ("new.NOTES", f"use {KEY}"),
        ("new.HTTPS_PROXY", "http://ann:pw@proxy:8080"),
        ("new.PATH", "$HOME/bin:/usr/local/bin"),
        ("new.DB", "password=hunter2hunter2"),
        ("model", KEY),
        ("attribution.commit", f"by {KEY}"),
        ("apiKeyHelper", "~/bin/key"),
        ("awsAuthRefresh", "aws sso login --profile x"),
        ("attribution.__proto__", {"hooks": {}}),
        ("new.constructor", {"prototype": {}}),
        ("statusLine", {"type": "command", "command": "/opt/bin/line"}),
        ("statusLine", {"type": "command", "command": "C:\\bin\\line.exe"}),
        ("statusLine", {"type": "command", "command": 'python3 "/opt/line.py"'}),
        ("extraKnownMarketplaces.x", {"source": {"source": "directory", "path": "./here"}}),
        ("extraKnownMarketplaces.x", {"source": {"source": "github", "repo": "a/b", "token": "abc"}}),
        ("pluginConfigs.x", {"options": {"password": "hunter2"}}),
        ("newThing", ["a", {"apiKey": "abc"}]),
        ("newThing", "/srv/data"),
        ("newThing", "-----BEGIN RSA PRIVATE KEY-----"),
        ("autoMemoryDirectory", "memory"),
        ("sandbox", {"enabled": True}),
        ("worktree", {}),
    ],
)  # fmt: skip
def test_what_never_leaves_its_device(path: str, value: object) -> None:
    assert stays(tuple(path.split(".")), node(value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("new.MAX_OUTPUT_TOKENS", "64000"),
        ("new.SKIP_BEDROCK_AUTH", "1"),
        ("new.BASE_URL", "https://gateway.example.com/v1"),
        ("new.EDITOR_FILE", "~/.editor"),
        ("includeCoAuthoredBy", True),
        ("attribution.commit", "See /docs for more"),
        ("statusLine", {"type": "command", "command": "$HOME/line.sh 2>/dev/null", "padding": 0}),
        ("statusLine", {"type": "command", "command": "/usr/bin/env python3 ~/line.py"}),
        ("skillOverrides.auth-token", "off"),
        ("enabledPlugins.auth@market", True),
        ("extraKnownMarketplaces.x", {"source": {"source": "github", "repo": "a/b"}}),
        ("$schema", "https://json.schemastore.org/claude-code-settings.json"),
        ("new", {"API_KEY": KEY}),  # its members are asked about one by one
        ("permissions.allow", [f"Bash({KEY})"]),  # and its items
    ],
)
def test_what_may_travel(path: str, value: object) -> None:
    assert not stays(tuple(path.split(".")), node(value))


@pytest.mark.parametrize(
    ("rule", "local"),
    [
        ("Bash(npm run test:*)", False),
        ("WebFetch(domain:example.com)", False),
        ("Read(~/.zshrc)", False),
        ("Read(./src/**)", False),
        ("Read(//**)", False),
        ("Bash(rm -rf /)", False),
        ("Bash(curl https://example.com/*)", False),
        ("mcp__github__search", False),
        ("Read(//home/ann/**)", True),
        ("Edit(/srv/app/**)", True),
        ("Bash(/opt/tool:*)", True),
        ("Bash(git -C /srv/app log)", True),
        ("Read(C:\\Users\\ann\\**)", True),
        ("Bash(curl -H 'Authorization: Bearer abcdefghijklmnop' x)", True),
    ],
)
def test_rules_with_absolute_paths_or_secrets_stay(rule: str, *, local: bool) -> None:
    assert item_stays(("permissions", "allow"), node(rule)) is local


def test_what_leaves_is_the_file_without_what_stays_and_spelled_as_it_was() -> None:
    local = b"""{
  "model": "opus", "unknown": 1.0,
  "new": {
    "API_KEY": "x",
    "FOO" : "\\u00e9"
  },
  "env": {"FOO": "bar"},
  "permissions": {"allow": ["Bash(ls:*)", "Read(//srv/**)"], "additionalDirectories": ["../lib"]},
  "sandbox": {"enabled": true}
}
"""
    expected = b"""{
  "model": "opus", "unknown": 1.0,
  "new": {
    "FOO" : "\\u00e9"
  },
  "permissions": {"allow": ["Bash(ls:*)"]}
}
"""
    assert outgoing(side(local), None, None) == Outgoing(content=expected)
    assert outgoing(side(expected), None, None) == Outgoing(content=expected)


def test_an_object_of_which_everything_stays_is_not_sent() -> None:
    assert sent({"new": {"API_KEY": "x"}, "model": "opus"}) == {"model": "opus"}
    assert sent({"new": {}}) == {"new": {}}
    assert sent({"env": {}}) == {}


def test_without_a_change_the_vaults_version_is_what_it_was() -> None:
    vault = side(b'{ "model":"opus" ,"new":{"A" : "1"} }\n')
    local = side(b'{"new": {"A": "1", "API_KEY": "x"}, "env": {"A": "1"}, "model": "opus"}', 9)
    assert outgoing(local, vault.content, vault) == Outgoing(content=vault.content)


def test_what_an_older_release_put_into_the_vault_is_taken_out() -> None:
    whole = {"model": "opus", "env": {"API_KEY": "x"}, "statusLine": {"command": "/opt/x"}}
    assert sent(whole, whole, whole) == {"model": "opus"}
    assert applied(whole, whole, {"model": "opus"}) == whole
    assert applied({"model": "opus"}, None, whole) == {"model": "opus"}


def test_a_device_keeps_what_is_its_own() -> None:
    local = {"sandbox": {"enabled": True}, "model": "a", "permissions": {"allow": ["Read(/srv/**)", "X"]}}
    vault = {"sandbox": {"enabled": False}, "model": "b", "permissions": {"allow": ["X", "Y", "Read(/home/**)"]}}
    assert applied(local, {"model": "a"}, vault) == {
        "sandbox": {"enabled": True},
        "model": "b",
        "permissions": {"allow": ["Read(/srv/**)", "X", "Y"]},
    }


def test_rules_are_sets_and_what_was_removed_stays_removed() -> None:
    base = {"permissions": {"allow": ["A", "B", "C"], "deny": ["D"]}}
    ours = {"permissions": {"allow": ["A", "C", "E"], "deny": ["D"]}}
    theirs = {"permissions": {"allow": ["A", "B", "F"]}}
    for older, newer in ((ours, theirs), (theirs, ours)):
        found = merge(side(base).content, side(older), side(newer, 2), settings=True)
        assert isinstance(found, Merged)
        permissions = json.loads(found.content)["permissions"]
        assert sorted(permissions.pop("allow")) == ["A", "E", "F"]
        assert permissions == {}
        assert found.clashes == ()
    found = merge(None, side(ours), side(theirs, 2), settings=True)
    assert isinstance(found, Merged)
    assert sorted(json.loads(found.content)["permissions"]["allow"]) == ["A", "B", "C", "E", "F"]


def test_hooks_of_two_devices_are_both_kept() -> None:
    base = {"hooks": {"Stop": [hook("a")]}}
    found = merge(
        side(base).content,
        side({"hooks": {"Stop": [hook("a"), hook("b")]}}),
        side({"hooks": {"Stop": [hook("a"), hook("c")], "Start": [hook("d")]}}, 2),
        settings=True,
    )
    assert isinstance(found, Merged)
    assert json.loads(found.content) == {"hooks": {"Stop": [hook(c) for c in "acb"], "Start": [hook("d")]}}


def test_a_command_with_its_options_is_one_value() -> None:
    one, two = ({"statusLine": {"type": "command", "command": c}} for c in ("x", "y --wide"))
    found = merge(None, side(one), side(two, 2), settings=True)
    assert found == Merged(content=side(two).content, mtime_ns=2, clashes=("statusLine",))


@pytest.mark.parametrize(
    ("local", "base", "vault", "setting"),
    [
        ({}, {}, {"hooks": {"Stop": [hook("evil")]}}, "hooks.Stop"),
        ({}, None, {"hooks": {"Stop": [hook("evil")]}}, "hooks.Stop"),
        ({"hooks": {"Stop": [hook("guard")]}}, {"hooks": {"Stop": [hook("guard")]}}, {}, "hooks.Stop"),
        ({"newHelper": "a"}, {"newHelper": "a"}, {"newHelper": "b"}, "newHelper"),
        ({}, {}, {"pluginConfigs": {"p": {"run": "x"}}}, "pluginConfigs.p"),
        ({}, {}, {"statusLine": {"type": "command", "command": "x"}}, "statusLine"),
        ({}, {}, {"enabledPlugins": {"x@y": True}}, "enabledPlugins.x@y"),
        ({}, {}, {"cleanupPeriodDays": 1}, "cleanupPeriodDays"),
        ({}, {}, {"permissions": {"defaultMode": "bypassPermissions"}}, "permissions.defaultMode"),
        ({}, {}, {"permissions": {"newMode": "x"}}, "permissions.newMode"),
        ({}, {}, {"madeUpTomorrow": {"run": "x"}}, "madeUpTomorrow"),
    ],
)
def test_what_runs_code_or_is_dangerous_or_unknown_waits(
    local: object, base: object, vault: object, setting: str
) -> None:
    found = got(local, base, vault)
    (pending,) = found.pending
    assert pending.setting == setting
    assert json.loads(found.content) == local
    # It does not look like a change of this device's afterwards, which would take it back everywhere.
    assert outgoing(side(json.loads(found.content), 9), found.base, side(vault)) == Outgoing(
        content=side(vault).content
    )
    # It is still asked about, until it is approved; then it is there, and nothing is left to send or to ask.
    again = incoming(side(found.content, 9), found.base, side(vault))
    assert isinstance(again, Incoming)
    assert again.pending == found.pending
    done = incoming(side(found.content, 9), found.base, side(vault), frozenset({pending.digest}))
    assert isinstance(done, Incoming)
    assert json.loads(done.content) == vault
    assert done.pending == ()
    assert outgoing(side(done.content, 9), done.base, side(vault)) == Outgoing(content=side(vault).content)


def test_a_pending_change_shows_both_values() -> None:
    found = got({"cleanupPeriodDays": 99999}, None, {"cleanupPeriodDays": 1})
    assert found.pending == (
        Pending(
            setting="cleanupPeriodDays",
            travel=Travel.DANGEROUS,
            old="99999",
            new="1",
            digest=found.pending[0].digest,
        ),
    )
    assert len(found.pending[0].digest) == 64


@pytest.mark.parametrize("name", ["hooks", "pluginConfigs", "permissions", "enabledPlugins"])
def test_a_value_that_makes_no_sense_is_no_way_in(name: str) -> None:
    sense = {name: {"x": ["y"]}}
    for nonsense in ({name: [hook("evil")]}, {name: "none"}, {name: None}):
        assert applied(sense, sense, nonsense) == sense
        assert got(sense, sense, nonsense).pending == ()
        assert applied(nonsense, nonsense, sense) == nonsense
        assert sent(nonsense, sense, sense) == sense


def test_what_is_harmless_is_applied_at_once() -> None:
    found = got({"model": "a"}, {"model": "a"}, {"model": "b", "hooks": {"Stop": [hook("x")]}})
    assert json.loads(found.content) == {"model": "b"}
    assert [p.setting for p in found.pending] == ["hooks.Stop"]


def test_an_approval_is_for_one_value_of_one_setting() -> None:
    digest = got({}, {}, {"hooks": {"X": ["1"]}}).pending[0].digest
    for other in ({"hooks": {"X": ["2"]}}, {"hooks": {"Y": ["1"]}}, {"hooks.X": ["1"]}):
        assert applied({}, {}, other, frozenset({digest})) == {}
    assert applied({}, {}, {"hooks": {"X": ["1"]}}, frozenset({digest})) == {"hooks": {"X": ["1"]}}


def test_a_change_of_this_device_goes_out_while_another_one_waits() -> None:
    held = got({"model": "a"}, {"model": "a"}, {"model": "a", "hooks": {"Stop": [hook("x")]}})
    vault = {"model": "a", "hooks": {"Stop": [hook("x")]}}
    mine = json.loads(held.content) | {"model": "b", "hooks": {"Start": [hook("mine")]}}
    assert sent(mine, json.loads(held.base), vault) == {
        "model": "b",
        "hooks": {"Stop": [hook("x")], "Start": [hook("mine")]},
    }


def test_a_new_device_gets_what_is_harmless() -> None:
    found = got(None, None, b'{\n  "model": "opus",\n  "hooks": {"Stop": []}\n}\n')
    assert found.content == b'{\n  "model": "opus"\n}\n'
    assert [p.setting for p in found.pending] == ["hooks.Stop"]


def test_when_both_sides_changed_one_setting_the_newer_one_stays() -> None:
    local, vault = {"model": "mine"}, {"model": "theirs"}
    base = side({"model": "old"}).content
    for mine_ns, kept in ((5, local), (1, vault)):
        out = outgoing(side(local, mine_ns), base, side(vault, 3))
        into = incoming(side(local, mine_ns), base, side(vault, 3))
        assert isinstance(out, Outgoing)
        assert isinstance(into, Incoming)
        assert json.loads(out.content) == json.loads(into.content) == kept
        assert out.clashes == into.clashes == ("model",)


@pytest.mark.parametrize("broken", [b"{", b'{"a":1,"a":2}', b"[]", b"// x\n{}", b""])
def test_what_is_no_json_is_neither_sent_nor_written_over(broken: bytes) -> None:
    fine = side({"model": "a"})
    assert isinstance(outgoing(side(broken), None, fine), Invalid)
    assert isinstance(outgoing(fine, None, side(broken)), Invalid)
    assert isinstance(incoming(side(broken), None, fine), Invalid)
    assert isinstance(incoming(fine, None, side(broken)), Invalid)


def test_the_secret_is_in_nothing_that_is_published() -> None:
    local = {
        "env": {"A": KEY, "TOKEN": "t0ps3cret", "B": {"x": KEY}, "C": "c"},
        "apiKeyHelper": "echo t0ps3cret",
        "hooks": {"Stop": [hook(f"curl {KEY}"), hook("ok")]},
        "permissions": {"allow": [f"Bash(x {KEY})", "Bash(ok)"]},
        "unknown": {"deep": [{"password": "t0ps3cret"}], "b": 1},
        "pluginConfigs": {"p": {"options": {"secret": "t0ps3cret"}}},
        "attribution": {"commit": KEY},
    }
    vault = {"model": "a", "env": "x"}
    for base, other in ((None, None), (None, vault), (vault, vault)):
        text = json.dumps(sent(local, base, other))
        assert KEY not in text
        assert "t0ps3cret" not in text
    assert sent(local) == {
        "hooks": {"Stop": [hook("ok")]},
        "permissions": {"allow": ["Bash(ok)"]},
        "unknown": {"b": 1},
    }


class CountingPattern:
    """A pattern that counts the characters that it is given to search."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.searched = 0

    def search(self, text: str) -> re.Match[str] | None:
        self.searched += len(text)
        return self._pattern.search(text)


@pytest.mark.parametrize("outer", ["hooks", "statusLine", "permissions", "unknown"])
def test_a_long_name_is_not_searched_for_every_string_below_it(outer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys._is_secret.cache_clear()
    counting = CountingPattern(keys._SECRET_NAME)
    monkeypatch.setattr(keys, "_SECRET_NAME", counting)
    name = "k" * 20_000
    content = json.dumps({outer: {name: [f"item {n}" for n in range(2000)]}}).encode()
    assert shared(content) == content
    assert len(name) <= counting.searched < 2 * len(content)


@pytest.mark.parametrize("part", ["-eyJ", "-eyJabcdefghijkl", ".eyJ", "eyJ-eyJ.", "token ", "://", "bearer "])
def test_as_many_beginnings_of_secrets_as_fit_are_looked_through(part: str) -> None:
    """Where each was looked through to the end of the text, this would take minutes."""
    content = json.dumps({"model": part * ((1 << 18) // len(part))}).encode()
    assert shared(content) == content


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.sig", True),
        ("jwt-eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.sig", True),
        ("a.b eyJ-eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.", True),
        ("eyJshort.eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.", True),
        ("eyJhbGciOiJIUzI1.eyJzdWIi.sig", False),
        ("heyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.sig", False),
    ],
)
def test_a_token_is_a_secret_wherever_it_begins(text: str, *, secret: bool) -> None:
    assert (sent({"model": text}) == {}) is secret
