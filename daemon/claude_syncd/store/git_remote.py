"""The repository at the host: which commit its branch has, fetching that, pushing another.

Requests are counted so: asking for the branch's commit is a `head`, fetching it a `get` with the bytes of the objects
that came, pushing a `put` with the bytes of the objects that went, however many.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.store.git_config import network_environment, served, settings_file, users_settings
from claude_syncd.store.git_errors import NOT_GIT, MirrorBroken, arrived, suspect, translate
from claude_syncd.store.git_mirror import FETCHED
from claude_syncd.store.git_run import run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claude_syncd.errors import StoreError
    from claude_syncd.store.git_mirror import Mirror
    from claude_syncd.store.git_run import Done
    from claude_syncd.store.git_url import Remote
    from claude_syncd.store.options import GitOptions
    from claude_syncd.store.report import OnRequest, RequestKind

STALE_LOCK = 60.0
"""Seconds after which a lock in a repository on this device is taken for one of a killed push: git needs far less."""

_TO_ASK = {"GIT_DIR": "/dev/null", "GIT_TRACE_PACKET": "2"}
"""In no repository, since the mirror may be damaged; and showing the packets that only git's own servers send."""
_PACKETS = " packet: "

_NO_BRANCH = re.compile(r"couldn't find remote ref")
_NOT_SHALLOW = re.compile(r"Server does not support shallow")
_OTHER_HASH = re.compile(r"hash algorithm|mismatched algorithms|unknown object format")
_OTHER = {"sha1": "sha256", "sha256": "sha1"}
_LOST_RACE = re.compile(
    r"\[rejected\]"
    r"|\[remote rejected\].*(?:failed to update ref|cannot lock ref|old value|already exists|stale info|fetch first)"
)
_LOCK = re.compile(r"Unable to create '(?P<file>[^'\n]+\.lock)': File exists")


class Host:
    """One branch of a repository, through the mirror. `fetch` and `push` write to the mirror: never two at once."""

    def __init__(
        self,
        options: GitOptions,
        remote: Remote,
        mirror: Mirror,
        address: str,
        report: OnRequest,
        *,
        patience: float,
        now: Callable[[], float],
    ) -> None:
        """`patience` is how long git may be silent, in seconds; `now` a clock that only runs forward."""
        self._options = options
        self._remote = remote
        self._mirror = mirror
        self._address = address
        self._report = report
        self._patience = patience
        self._now = now
        self._ref = f"refs/heads/{options.branch}"
        self._env: dict[str, str] | None = None
        self._depth: tuple[str, ...] = ("--depth=1",)
        self._lock: tuple[tuple[Path, int, int], float] | None = None

    async def tip(self) -> str | None:
        """The branch's commit now; None if there is no such branch."""
        words = ("ls-remote", *self._serving("upload-pack"), self._remote.url, self._ref)
        done = await self._run(*words, env=_TO_ASK)
        if done.code:
            raise await self._failed("head", done)
        self._report("head", 0, 0)
        for line in done.out.decode(errors="replace").splitlines():
            oid, _, ref = line.partition("\t")
            if ref == self._ref:
                return oid
        if _PACKETS not in done.said:
            # To git, an empty page of anybody's is a repository without branches.
            raise StoreUnavailable(f"{self._address}: {NOT_GIT.what}", hint=NOT_GIT.hint)
        return None

    async def fetch(self) -> str | None:
        """Bring the branch's commit here; None if there is no such branch. If it succeeds, the caller reports it."""
        words = ("fetch", "--progress", "--force", "--no-tags", "--no-auto-gc", "--no-recurse-submodules")
        names = (*self._serving("upload-pack"), self._remote.url, f"+{self._ref}:{FETCHED}")
        done = await self._run(*words, *self._depth, *names)
        if done.code and self._depth and _NOT_SHALLOW.search(done.said):
            self._depth = ()
            done = await self._run(*words, *names)
        if done.code and await self._mirror.sweep():
            done = await self._run(*words, *self._depth, *names)
            if done.code:
                await self._mirror.sweep()
        if done.code and _NO_BRANCH.search(done.said):
            self._report("get", 0, 0)
            if await self.tip() is not None:
                raise StoreUnavailable(f"{self._address}: the branch comes and goes")
            return None
        if done.code:
            raise await self._failed("get", done)
        return await self._mirror.fetched()

    async def push(self, old: str | None, new: str, size: int) -> bool:
        """Make the branch, which is at `old` (None: isn't there), point to `new`, whose objects have `size` bytes; if
        `new` is empty, remove it.

        False if it is not at `old` any more. When this returns True, the host has accepted it.
        """
        lease = f"--force-with-lease={self._ref}:{old or ''}"
        words = ("push", "--porcelain", "--progress", "--no-verify", "--recurse-submodules=no", "--no-follow-tags")
        names = (*self._serving("receive-pack"), self._remote.url, f"{new}:{self._ref}")
        done = await self._run(*words, lease, *names)
        if done.code == 0:
            self._report("put", size, 0)
            return True
        lock = _LOCK.search(done.said)
        if lock is not None:
            self._look_at_lock(Path(lock["file"]))
        if _LOST_RACE.search(done.out.decode(errors="replace")):
            self._report("put", 0, 0)
            return False
        raise await self._failed("put", replace(done, said=f"{done.said}\n{done.out.decode(errors='replace')}"))

    def _serving(self, command: str) -> tuple[str, ...]:
        return (f"--{command}={served(command)}",) if self._remote.kind == "path" else ()

    async def _run(self, *words: str, env: Mapping[str, str] | None = None) -> Done:
        if self._env is None:
            settings = await users_settings()
            self._env = {**self._mirror.env, **network_environment(self._options, self._remote, settings)}
            await self._mirror.configure(settings_file(settings))
        return await run_git(*words, env={**self._env, **(env or {})}, patience=self._patience)

    async def _failed(self, kind: RequestKind, done: Done) -> StoreError:
        """The error to raise, counted. Raises MirrorBroken if the fault is on this side."""
        if _OTHER_HASH.search(done.said):
            raise MirrorBroken("the repository has other hashes", hashes=_OTHER[self._mirror.hashes])
        done = replace(done, said=done.said.replace(self._remote.url, "URL"))  # its words are nobody's
        if arrived(done):
            self._report(kind, 0, 0)
        if kind != "head" and suspect(done):
            await self._mirror.check()
        error = translate(done, self._remote, self._address)
        if isinstance(error, StoreRefused):
            self._env = None  # the user may be about to put it right
        return error

    def _look_at_lock(self, file: Path) -> None:
        """Remove a lock that a killed push left in a repository on this device, which would be in the way for ever.

        Its age is watched, not read: the clocks of machines that share a disk differ.
        """
        folder = self._remote.path
        if folder is None or not file.is_relative_to(folder):
            return
        with suppress(OSError):
            facts = file.stat()
            seen = (file, facts.st_ino, facts.st_mtime_ns)
            if self._lock is None or self._lock[0] != seen:
                self._lock = seen, self._now()
            elif self._now() - self._lock[1] >= STALE_LOCK:
                file.unlink()
