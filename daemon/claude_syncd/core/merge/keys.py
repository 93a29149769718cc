"""Which parts of Claude Code's `settings.json` travel, and which wait for an approval.

An allow-list: only what is known to be harmless is applied by itself. What is not known here, as every new setting is
at first, travels but waits. What names a place on one machine, or looks like a secret, does not travel.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from claude_syncd.core.merge.jsontext import Array, Node, Object, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claude_syncd.core.merge.trees import Path


class Travel(StrEnum):
    """What happens to a setting between this device and the vault."""

    PORTABLE = "portable"  # the same everywhere, applied by itself
    MACHINE = "machine"  # stays on its device: it is about one machine, or a secret
    APPROVAL = "approval"  # runs code, or is not known: an incoming change waits
    DANGEROUS = "dangerous"  # deletes transcripts, or takes a guard away: an incoming change waits


_PORTABLE = frozenset(
    {
        "$schema", "alwaysThinkingEnabled", "attribution", "autoMemoryEnabled", "editorMode", "effortLevel",
        "includeCoAuthoredBy", "language", "model", "outputStyle", "prefersReducedMotion", "respectGitignore",
        "showTurnDuration", "skillOverrides", "spinnerTipsEnabled", "spinnerTipsOverride", "spinnerVerbs",
        "terminalProgressBarEnabled", "theme", "tui", "verbose", "viewMode",
    }
)  # fmt: skip
_MACHINE = frozenset(
    {
        # of one machine
        "autoMemoryDirectory", "autoUpdatesChannel", "defaultShell", "minimumVersion", "plansDirectory",
        "preferredNotifChannel", "processWrapper", "sandbox", "sshConfigs", "worktree",
        # secrets, and commands that print one
        "apiKeyHelper", "awsAuthRefresh", "awsCredentialExport", "env", "gcpAuthRefresh", "otelHeadersHelper",
        "proxyAuthHelper",
    }
)  # fmt: skip
_DANGEROUS = frozenset(
    {
        "autoUploadSessions", "cleanupPeriodDays", "disableAllHooks", "enableAllProjectMcpServers",
        "remoteControlAtStartup", "skipAutoPermissionPrompt", "skipDangerousModePermissionPrompt",
    }
)  # fmt: skip
_PERMISSIONS = {
    "allow": Travel.PORTABLE,
    "ask": Travel.PORTABLE,
    "deny": Travel.PORTABLE,
    "additionalDirectories": Travel.MACHINE,
    "defaultMode": Travel.DANGEROUS,
    "disableBypassPermissionsMode": Travel.DANGEROUS,
}
# Approved member by member; any other setting that waits is approved as a whole.
_BY_MEMBER = frozenset({"enabledPlugins", "extraKnownMarketplaces", "hooks", "pluginConfigs"})
# An object that makes sense only as a whole: a command with its type and options, a source of plugins.
_WHOLE = frozenset({"fileSuggestion", "statusLine", "subagentStatusLine"})
_WHOLE_BELOW = frozenset({"extraKnownMarketplaces", "pluginConfigs"})
# Of JavaScript's objects: whoever copies members one by one may change something else by these.
_MAGIC = frozenset({"__proto__", "constructor", "prototype"})
# Free text of the user's, in which a path is only words.
_PROSE = frozenset({"$schema", "attribution", "spinnerTipsOverride", "spinnerVerbs"})

# A path from the root of a file system, where a word may begin; what every Unix has does not count, nor do URLs.
_ABSOLUTE = re.compile(
    r"""
    (?:^|[\s"'`=(;,|&<>{])(?!/(?:dev/(?:null|tty|std(?:in|out|err))|bin/(?:ba)?sh|usr/bin/env)\b)
    (?://?[\w.@-]|[A-Za-z]:[\\/]|\\\\\w)
    | :/[\w.@-]
    """,
    re.VERBOSE,
)
# Whoever sends a text chooses it: none may take time that grows with its square. So the first "eyJ" of a run of such
# characters stands for all of them.
_SECRET = re.compile(
    r"""
    \b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,} | \b(?:sk|rk)_(?:live|test)_\w{16,} | \bgh[pousr]_\w{20,}
    | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,} | \bxox[a-z]-[\w-]{10,} | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \bAIza[\w-]{30,} | \bya29\.[\w-]{20,} | \bnpm_\w{30,} | \bpypi-[\w-]{30,} | \bhf_\w{20,} | \bdop_v1_\w{32,}
    | (?<![\w-])(?>[\w-]*?\beyJ)[\w-]{10,}+\.[\w-]{10,}+\. | -----BEGIN\ [A-Z ]*PRIVATE\ KEY
    | \bAGE-SECRET-KEY-1\w+ | \b(?:[Bb]earer|[Bb]asic)\s+[\w.~+/-]{12,} | ://[^\s/@:]*:[^\s/@]+@
    | (?i:api[_-]?key|token|secret|passwo?r?d)["']?\s*[=:]\s*["']?[\w.~+/-]{12,}
    """,
    re.VERBOSE,
)
_SECRET_NAME = re.compile(
    r"(?i)api_?key|access_?key|auth(?!or)|token(?!s)|secret|passw|passphrase|credential|private_?key|custom_?headers"
    r"|(?:^|_)(?:key|pat)$"
)
_HARMLESS = re.compile(r"|\d+|true|false", re.IGNORECASE)


def travel(path: Path) -> Travel:
    """What happens to the setting at `path`, going by its name."""
    first = path[0]
    if first == "permissions" and len(path) > 1:
        return _PERMISSIONS.get(path[1], Travel.APPROVAL)
    for names, verdict in ((_PORTABLE, Travel.PORTABLE), (_MACHINE, Travel.MACHINE), (_DANGEROUS, Travel.DANGEROUS)):
        if first in names:
            return verdict
    return Travel.APPROVAL


def is_set(path: Path) -> bool:
    """Whether an array at `path` is a list of rules, in which neither order nor number matters."""
    return len(path) == 2 and (path[0] == "hooks" or path in _RULES)


_RULES = frozenset(("permissions", name) for name in ("allow", "ask", "deny", "additionalDirectories"))


def is_whole(path: Path) -> bool:
    """Whether an object at `path` is one value."""
    return path[0] in _WHOLE if len(path) == 1 else len(path) == 2 and path[0] in _WHOLE_BELOW if path else False


def is_unit(path: Path) -> bool:
    """Whether a change at `path` is approved by itself."""
    if path[0] == "permissions":
        return len(path) == 2
    return len(path) == (2 if path[0] in _BY_MEMBER else 1)


def stays(path: Path, value: Node) -> bool:
    """Whether the member at `path` must not leave its device, and is not replaced there."""
    if len(path) == 1 and (path[0] in _BY_MEMBER or path[0] == "permissions"):
        return not isinstance(value, Object)  # Claude Code can't take it for anything, so it is left alone
    if travel(path) is Travel.MACHINE or path[-1] in _MAGIC:
        return True
    if is_set(path):
        return not isinstance(value, Array)  # as above; its items are asked about one by one
    if isinstance(value, Object) and not is_whole(path):
        return False  # and so are its members
    return _is_local(path, value)


def item_stays(path: Path, value: Node) -> bool:
    """The same of an item of the set at `path`."""
    return travel(path) is Travel.MACHINE or _is_local(path, value)


def _is_local(path: Path, value: Node) -> bool:
    prose = path[0] in _PROSE
    named = travel(path) is not Travel.PORTABLE
    if path[0] == "extraKnownMarketplaces" and _is_local_source(value):
        return True
    return any(
        _SECRET.search(text)
        or (not prose and _ABSOLUTE.search(text))
        or (named and secret and not _HARMLESS.fullmatch(text))
        for secret, text in _strings(value, secret=_is_secret(path[-1]))
    )


@lru_cache(maxsize=4)  # asked for every item of a set, and a name may be as long as the set
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _is_local_source(value: Node) -> bool:
    source = value.get("source") if isinstance(value, Object) else None
    kind = source.get("source") if isinstance(source, Object) else None
    return isinstance(kind, Scalar) and kind.string in ("directory", "file")


def _strings(value: Node, *, secret: bool) -> Iterator[tuple[bool, str]]:
    """Every string in a value and whether the name that it goes by is that of a secret, as that of the value itself is
    with `secret`; keys go by none.
    """
    if isinstance(value, Scalar):
        if value.string is not None:
            yield secret, value.string
    elif isinstance(value, Array):
        for item in value.items:
            yield from _strings(item.value, secret=secret)
    else:
        for member in value.members:
            yield False, member.key
            yield from _strings(member.value, secret=_SECRET_NAME.search(member.key) is not None)
