"""Bare git repositories in a folder: where a test may put its vault."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from claude_syncd.store.options import GitOptions


class GitServer(Protocol):
    """What holds repositories."""

    folder: Path

    @property
    def username(self) -> str | None: ...

    @property
    def password(self) -> str | None: ...

    def url(self, repository: Path) -> str:
        """How a store reaches a repository of `folder`."""
        ...


class GitFolder:
    """Repositories on this device. `stop` removes them."""

    username: str | None = None
    password: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="git-"))

    def url(self, repository: Path) -> str:
        return str(repository)

    def stop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def git_options(server: GitServer) -> GitOptions:
    """Options of a new, empty repository; the mirror is in a folder beside it."""
    place = server.folder / secrets.token_hex(8)
    repository = new_repository(place / "vault.git")
    return GitOptions(
        url=server.url(repository), mirror=place / "mirror", username=server.username, password=server.password
    )


def new_repository(path: Path, *words: str) -> Path:
    """Make a bare repository, without anything of the user's configuration; `words` go to `git init`."""
    git("init", "--quiet", "--bare", "--template=", *words, str(path))
    return path


def git(*words: str, repository: Path | None = None, feed: bytes = b"") -> str:
    """What a git command says, called as the owner of a repository would: to set things up and to look."""
    return git_bytes(*words, repository=repository, feed=feed).decode().strip()


def git_bytes(*words: str, repository: Path | None = None, feed: bytes = b"") -> bytes:
    """See `git`; every byte of it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    identity = {f"GIT_{who}_{what}": "tester" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**kept, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    if repository is not None:
        environment["GIT_DIR"] = str(repository)
    done = subprocess.run(["git", *words], env=environment, input=feed, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"git {words[0]} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout
