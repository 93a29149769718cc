"""Two forms of one file: whatever lies on the disk or comes from the vault, both ways fit, and nothing gets past."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from claude_syncd.core.merge.history import Homes
from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.projection import HistoryForm, Inward, Memory, SettingsForm

relaxed = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
HOME = "/home/ann"
PATHS = st.sampled_from(
    [HOME, f"{HOME}/a", f"{HOME}x", "/srv", "~", "~/a", "~~", "~~/a", "~a", "${HOME}", "${HOME}/a", "", "\u2028\ud83d"]
) | st.text(max_size=6)
TEXTS = st.sampled_from(["x", "~/a", f"{HOME}/a", '"project":"~/a"', "${HOME}"])
LINES = st.builds(
    lambda when, text, path, ascii_only: (
        json.dumps({"display": text, "timestamp": when, "project": path}, ensure_ascii=ascii_only).encode(
            errors="surrogatepass"
        )
        + b"\n"
    ),
    st.integers(0, 4),
    TEXTS,
    PATHS,
    st.booleans(),
) | st.sampled_from(
    [
        b"\0\n",
        b"{torn\n",
        b'{"project":"~/a","project":"/srv"}\n',
        b'{"project":"~~","project":"~"}\n',
        b"\xff~\n",
        b"\n",
    ]
)
CONTENTS = st.lists(LINES, max_size=6).map(b"".join)

HARMLESS = frozenset(
    {
        "$schema", "alwaysThinkingEnabled", "attribution", "autoMemoryEnabled", "editorMode", "effortLevel",
        "includeCoAuthoredBy", "language", "model", "outputStyle", "prefersReducedMotion", "respectGitignore",
        "showTurnDuration", "skillOverrides", "spinnerTipsEnabled", "spinnerTipsOverride", "spinnerVerbs",
        "terminalProgressBarEnabled", "theme", "tui", "verbose", "viewMode",
    }
)  # fmt: skip
"""What may come in unasked; written down here once more, so that a slip there is seen here."""
KEYS = st.sampled_from(
    [
        "hooks", "Hooks", "HOOKS", "hook\u017f", "h\u043eoks", "hooks ", "env", "Env", "apiKeyHelper", "apikeyhelper",
        "statusLine", "mcpServers", "permissions", "Permissions", "enabledPlugins", "cleanupPeriodDays", "model",
        "attribution", "skillOverrides", "__proto__", "constructor", "sandbox", "pluginConfigs", "disableAllHooks",
        "extraKnownMarketplaces", "caf\u00e9", "cafe\u0301", "\ufeffhooks", "allow", "defaultMode", "Stop", "theme",
    ]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 0, 1e9, "x", "/srv/x", "~/bin/evil", [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
FILES = st.dictionaries(KEYS, VALUES, max_size=6)
SPELLED = st.builds(
    lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(),
    FILES,
    st.sampled_from([None, 2]),
    st.booleans(),
)


@relaxed
@given(LINES)
def test_a_line_of_this_device_comes_back_from_the_vault_as_it_was(line: bytes) -> None:
    homes = Homes(HOME)
    assert homes.inward(homes.outward(line)) == line


@relaxed
@given(CONTENTS)
def test_a_history_of_this_device_comes_back_as_it_was(disk: bytes) -> None:
    form = HistoryForm(Homes(HOME), None)
    found = form.inward(form.outward(disk), disk)
    assert found.disk == disk
    assert HistoryForm(Homes(HOME), found.memory).outward(found.disk) == form.outward(disk)


@relaxed
@given(CONTENTS, CONTENTS | st.none())
def test_what_comes_in_goes_out_as_it_came_or_is_at_rest_the_next_time(vault: bytes, disk: bytes | None) -> None:
    homes = Homes(HOME)
    found = HistoryForm(homes, None).inward(vault, disk)
    stands_for = HistoryForm(homes, found.memory).outward(found.disk)
    if disk is None and len({homes.inward(line) for line in vault.splitlines()}) == len(vault.splitlines()):
        assert stands_for == vault
    again = HistoryForm(homes, found.memory).inward(stands_for, found.disk)
    assert again.disk == found.disk
    assert HistoryForm(homes, again.memory).outward(again.disk) == stands_for


def taken(memory: Memory | None, vault: bytes, disk: bytes | None, *approved: str) -> Inward:
    found = SettingsForm(memory, approved=frozenset(approved), device="d").inward(vault, disk)
    assert isinstance(found, Inward)
    return found


def foreign(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is in a file now that was not, but for what is harmless, and groups without any member."""
    changed = {k: v for k, v in after.items() if k not in HARMLESS and v != {} and (k not in before or before[k] != v)}
    permissions = changed.get("permissions")
    if isinstance(permissions, dict):
        old = before.get("permissions")
        inner = {key: value for key, value in permissions.items() if key not in RULES}
        changed["permissions"] = foreign(old if isinstance(old, dict) else {}, inner)
        if not changed["permissions"]:
            del changed["permissions"]
    return changed


RULES = frozenset({"allow", "ask", "deny"})


@relaxed
@given(SPELLED, SPELLED | st.none())
def test_whatever_another_device_sends_only_what_is_harmless_comes_in_unasked(vault: bytes, disk: bytes | None) -> None:
    before = json.loads(disk) if disk is not None else {}
    found = taken(None, vault, disk)
    after = json.loads(found.disk)
    assert foreign(before, after) == {}
    # What is this device's own, or waits, is not taken away either.
    assert {k for k in before if k not in HARMLESS and k != "permissions" and before[k] != {}} <= after.keys()


@relaxed
@given(SPELLED, SPELLED | st.none())
@example(b'{"Hooks": null}', b'{"Hooks": {"hooks": "/srv/x"}}')
def test_what_came_in_is_no_change_of_this_device(vault: bytes, disk: bytes | None) -> None:
    found = taken(None, vault, disk)
    assert found.memory is not None
    clean = SettingsForm(None).outward(vault)
    assert SettingsForm(found.memory).outward(found.disk) == clean
    again = taken(found.memory, clean if isinstance(clean, bytes) else b"{}", found.disk)
    assert again.disk == found.disk
    assert again.memory == found.memory


@relaxed
@given(SPELLED, SPELLED | st.none())
def test_once_all_is_approved_the_file_shares_just_what_came_in(vault: bytes, disk: bytes | None) -> None:
    own = SettingsForm(None).outward(disk) if disk is not None else None
    assume(disk is None or (isinstance(own, bytes) and json.loads(own) == json.loads(disk)))  # nothing stays here
    found = taken(None, vault, disk)
    assert found.memory is not None
    done = taken(found.memory, vault, found.disk, *(w.digest for w in found.memory.waiting))
    assert done.memory is not None
    assert done.memory.waiting == ()
    shares = SettingsForm(None).outward(done.disk)
    clean = SettingsForm(None).outward(vault)
    for value in (shares, clean):
        assert not isinstance(value, Invalid)
    wanted, got = (json.loads(value) if isinstance(value, bytes) else {} for value in (clean, shares))
    assert spread(got) == spread(wanted)


def spread(value: Any) -> Any:
    """With lists of rules as sets: their order and number say nothing."""
    if isinstance(value, dict):
        return {key: spread(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(spread(inner), sort_keys=True) for inner in value})
    return value


@relaxed
@given(st.binary(max_size=40), SPELLED)
def test_any_bytes_from_the_vault_are_taken_or_refused(vault: bytes, disk: bytes) -> None:
    found = SettingsForm(None).inward(vault, disk)
    assert isinstance(found, Inward | Invalid)
    if isinstance(found, Inward):
        json.loads(found.disk)
