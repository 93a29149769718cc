"""What git is told to do and not to do: of the user's configuration only what is needed to reach a host.

Hooks, signing, aliases of behaviour, tracing and whatever else there may be in it stays out. It is an allow-list, and
what it lets through goes by the environment, since it may hold secrets. The settings that every command needs, and
those that git starts by itself where a repository is a folder, are in a file in the mirror.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreRefused
from claude_syncd.store.git_run import environment, run_git

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claude_syncd.store.git_url import Remote
    from claude_syncd.store.options import GitOptions

OLDEST = (2, 32)
"""Before it there was no GIT_CONFIG_GLOBAL, so the user's whole configuration would count."""

SSH_OPTIONS = "-o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"

SETTINGS = """\
[core]
\thooksPath = /dev/null
\tattributesFile = /dev/null
\tfsmonitor = false
\tlogAllRefUpdates = false
\tcompression = 0
\tbigFileThreshold = 512k
[pack]
\tcompression = 0
[fetch]
\twriteCommitGraph = false
[http]
\tlowSpeedLimit = 100
\tlowSpeedTime = 100
"""
"""Sealed objects can't be compressed, nor told by their difference; large ones needn't pass through memory whole."""

_PASSED_ON = re.compile(r"url\..+\.(?:insteadof|pushinsteadof)|http\..+|ssh\.variant")
_CREDENTIALS = re.compile(r"credential\..+")
_TRUSTED = "safe.directory"
_SERVED = (
    "-c core.hooksPath=/dev/null -c core.alternateRefsCommand=true -c core.fsync=all -c core.fsyncObjectFiles=true"
)
_HELPER = (
    """!f() { test "$1" = get && """
    r"""printf 'username=%s\npassword=%s\n' "$GIT_STORE_USERNAME" "$GIT_STORE_PASSWORD"; }; f"""
)

Setting = tuple[str, str]
"""Key and value."""


async def git_version(env: Mapping[str, str]) -> tuple[int, int]:
    """Major and minor number of git's version. Raises StoreRefused if there is no git."""
    done = await run_git("version", env=env)
    found = re.search(r"([0-9]+)\.([0-9]+)", done.out.decode(errors="replace"))
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def users_settings() -> list[Setting]:
    """What the user's and the system's configuration say. Raises StoreRefused if it can't be read."""
    env = {name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG_")}
    # Without a repository, so that none is looked for: /dev/null is none.
    env = {**environment({}), **env, "GIT_DIR": "/dev/null"}
    env["GIT_CONFIG_NOSYSTEM"] = os.environ.get("GIT_CONFIG_NOSYSTEM", "0")
    done = await run_git("config", "--list", "--null", "--includes", env=env)
    if done.code:
        raise StoreRefused("git's own configuration can't be read", hint="`git config --list` says what is wrong")
    pairs = (entry.partition("\n") for entry in done.out.decode(errors="surrogateescape").split("\0") if entry)
    return [(key, value if line else "true") for key, line, value in pairs]


def settings_file(settings: list[Setting]) -> str:
    """The text of the mirror's settings file."""
    trusted = "".join(f"\tdirectory = {_quoted(value)}\n" for key, value in settings if key == _TRUSTED)
    return SETTINGS + (f"[safe]\n{trusted}" if trusted else "")


def network_environment(options: GitOptions, remote: Remote, settings: list[Setting]) -> dict[str, str]:
    """The environment of commands that reach the repository. Raises StoreRefused for credentials that can't be."""
    passed = [setting for setting in settings if _PASSED_ON.fullmatch(setting[0])]
    env: dict[str, str] = {}
    if options.password is None:
        passed += [setting for setting in settings if _CREDENTIALS.fullmatch(setting[0])]
        if options.username and remote.origin:
            passed.append((f"credential.{remote.origin}.username", options.username))
    elif remote.origin:
        # For this host only: a redirection elsewhere is not told the password.
        passed += [("credential.helper", ""), (f"credential.{remote.origin}.helper", _HELPER)]
        env = {"GIT_STORE_USERNAME": options.username or "git", "GIT_STORE_PASSWORD": options.password}
        if any(set(value) & set("\n\r\0") for value in env.values()):
            raise StoreRefused("username or password of the repository has a line break in it")
    passed += [("credential.interactive", "false"), ("protocol.version", "2")]
    env |= _ssh(settings)
    env["GIT_CONFIG_COUNT"] = str(len(passed))
    for number, (key, value) in enumerate(passed):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return env


def served(command: str) -> str:
    """How git starts the other side of a connection, where the repository is a folder on this device.

    A folder, perhaps of a disk that others had in their hands, must not make this device run its hooks. And what a
    push brought there has to be on the disk: git itself leaves that to the system.
    """
    return f"GIT_ALLOW_PROTOCOL=none git {_SERVED} {command}"


def _ssh(settings: list[Setting]) -> dict[str, str]:
    """The user's way of calling ssh, made to ask nothing and to give up. Other programs are called as they are."""
    configured = next((value for key, value in reversed(settings) if key == "core.sshcommand"), "")
    if "GIT_SSH" in os.environ and not configured and "GIT_SSH_COMMAND" not in os.environ:
        return {}
    command = os.environ.get("GIT_SSH_COMMAND") or configured or "ssh"
    plain = [PurePath(word).name for word in command.split()[:1]] == ["ssh"]
    return {"GIT_SSH_COMMAND": f"{command} {SSH_OPTIONS}" if plain else command}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
