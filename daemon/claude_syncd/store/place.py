"""The place that a vault's store needs before its first use: a folder, a bucket, a repository.

Setting up makes it where it is missing, and takes it away again if nothing came of that. Nobody else uses this: a
place that is gone later is an unplugged disk or a mistake, and is not made anew.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from claude_syncd.errors import NoSuchPlace, StoreRefused
from claude_syncd.store.names import RESERVED
from claude_syncd.store.open import create_store
from claude_syncd.store.options import FolderOptions, GcsOptions, GitOptions, S3Options, StoreOptions
from claude_syncd.store.report import unheard

if TYPE_CHECKING:
    from pathlib import Path

    from claude_syncd.store.git_remote import Host
    from claude_syncd.store.git_tree import Tree
    from claude_syncd.store.git_url import Remote

_PATIENCE = 15.0
_MOUNT = "make it, or mount the disk or share that it is on"
_OF_REPOSITORIES = ("HEAD", "config", "objects", "refs", "branches", "description", "info", "hooks", "packed-refs")
"""What `git init` and a push make in an empty folder."""


class Place(Protocol):
    """Where a store is to be. Every method may raise StoreError."""

    async def prepare(self) -> None:
        """Have in there what the store itself needs. Raises NoSuchPlace if it is known by now that there is none."""
        ...

    async def make(self) -> None:
        """Make the place, and prepare it."""
        ...

    async def take_back(self) -> None:
        """Remove what `prepare` and `make` made, unless others have put something into it. Objects went before."""
        ...


def place_of(options: StoreOptions, region: str | None = None) -> Place:
    """The place that `options` name; nothing is connected or made yet. `region`: where on Earth to make a bucket."""
    match options:
        case FolderOptions():
            return _Folder(options)
        case GitOptions():
            return _Repository(options)
        case S3Options():
            from claude_syncd.store.place_bucket import S3Bucket  # noqa: PLC0415 - only what is used is imported

            return S3Bucket(options)
        case GcsOptions():
            from claude_syncd.store.place_bucket import GcsBucket  # noqa: PLC0415 - see above

            return GcsBucket(options, region)
    return _Elsewhere(options)


class _Folder:
    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._new: list[Path] = []

    async def prepare(self) -> None:
        if await asyncio.to_thread(_missing, self._options.path):
            raise NoSuchPlace(f"there is no folder {self._options.path}", hint=_MOUNT)
        await self.make()

    async def make(self) -> None:
        root = self._options.path
        self._new = await asyncio.to_thread(_missing, root / RESERVED, root, *root.parents)
        await create_store(self._options)

    async def take_back(self) -> None:
        await asyncio.to_thread(_remove_empty, self._new)


class _Repository:
    """Only one in a folder of this device can be made. The device's mirror is part of the place."""

    def __init__(self, options: GitOptions) -> None:
        self._options = options
        self._mirror: list[Path] = []
        self._repository: list[Path] = []
        self._new: list[Path] = []
        self._reached = False

    async def prepare(self) -> None:
        self._mirror = self._mirror or await asyncio.to_thread(_missing, self._options.mirror)
        path = self._remote().path
        if path is not None and not await asyncio.to_thread(_holds_anything, path):
            raise NoSuchPlace(f"there is no git repository in {path}", hint=_MOUNT)
        _, _, tree = await self._branch()
        self._reached = True
        if tree is not None and (tree.names or tree.foreign) and not any(map(_of_a_vault, tree.names)):
            raise StoreRefused(
                f"the branch {self._options.branch} of {self._options.url} holds other things and no vault",
                hint="give the vault a branch of its own (--branch NAME), or a repository",
            )

    async def make(self) -> None:
        from claude_syncd.store.git_run import environment, run_git  # noqa: PLC0415 - only with git

        path = self._remote().path
        if path is None:
            raise NoSuchPlace(f"{self._options.url} can't be made from here", hint="make it at the host, empty")
        self._new = await asyncio.to_thread(_missing, path, *path.parents)
        self._repository = [path / name for name in _OF_REPOSITORIES]
        self._reached = True
        done = await run_git("init", "--bare", "--quiet", "--template=", "--", str(path), env=environment({}))
        if done.code:
            raise StoreRefused(f"{path}: git can't make a repository", hint="check the folder's owner and permissions")

    async def take_back(self) -> None:
        try:
            # Who could not be asked before need not be waited for once more.
            if self._reached and await self._drop_branch():
                await asyncio.to_thread(_remove_whole, self._repository)
                await asyncio.to_thread(_remove_empty, self._new)
        finally:
            await asyncio.to_thread(_remove_whole, self._mirror)

    async def _drop_branch(self) -> bool:
        """Delete the branch if there is nothing at all in it; whether it is gone, or never was. Raises StoreError.

        The host does so only while it is as it was seen here: what another device pushes meanwhile is safe.
        """
        host, commit, tree = await self._branch()
        if commit is None or tree is None:
            return True
        return not tree.names and not tree.foreign and await host.push(commit, "", 0)

    async def _branch(self) -> tuple[Host, str | None, Tree | None]:
        """The host, and the branch's commit and what is in it; None for both where there is no such branch."""
        from claude_syncd.store.git_mirror import Mirror  # noqa: PLC0415 - only with git
        from claude_syncd.store.git_remote import Host  # noqa: PLC0415 - likewise

        mirror = Mirror(self._options.mirror)
        await mirror.make()
        url = self._options.url
        host = Host(self._options, self._remote(), mirror, url, unheard, patience=_PATIENCE, now=time.monotonic)
        commit = await host.fetch()
        return host, commit, await mirror.tree(commit, "") if commit is not None else None

    def _remote(self) -> Remote:
        from claude_syncd.store.git_url import parse_remote  # noqa: PLC0415 - only with git

        return parse_remote(self._options.url)


def _of_a_vault(name: str) -> bool:
    """Whether a vault has an object of that name, below any prefix; keys and probes are from a set-up cut off."""
    return name.rpartition("/")[2] == "vault.json" or bool({"keys", "probe"}.intersection(name.split("/")[:-1]))


class _Elsewhere:
    """The store makes what it needs by itself, as far as that is possible."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options

    async def prepare(self) -> None:
        await create_store(self._options)

    async def make(self) -> None:
        await self.prepare()

    async def take_back(self) -> None:
        pass


def _missing(*paths: Path) -> list[Path]:
    return [path for path in paths if not os.path.lexists(path)]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _remove_whole(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _holds_anything(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # the store says what is wrong with it
