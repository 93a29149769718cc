"""The private copy of the repository on this device: bare, shallow, and made anew when it is damaged.

It holds nothing that the repository doesn't, so it may be deleted at any time. One process works on it.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.store.git_config import OLDEST, SETTINGS, git_version
from claude_syncd.store.git_errors import MirrorBroken, local_failure
from claude_syncd.store.git_run import LONGEST, environment, run_git
from claude_syncd.store.git_tree import Blob, Tree, parse_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from claude_syncd.store.git_run import Done

MARK = "claude-sync-mirror"
"""A file that says whose folder this is; a folder with other things and without it is left alone."""
FETCHED = "refs/claude-sync/fetched"
WRITTEN = "refs/claude-sync/written"

MANY_BYTES = 64 * 1024 * 1024
"""Of a listing, half a million objects. A tree that holds itself over and over is small, and lists without end."""
MANY_LOOSE = 16
"""Loose objects in one of git's 256 folders for them; together some thousand."""
MANY_PACKS = 50

_NAME, _EMAIL = "claude-sync", "claude-sync@localhost"
_LARGE = 1024 * 1024


class Mirror:
    """Call `make` first. Nothing that writes may run beside anything else that does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = SETTINGS
        self.env = environment(
            {
                "GIT_DIR": str(folder),
                "GIT_CONFIG_GLOBAL": str(folder / "settings"),
                **{f"GIT_{who}_NAME": _NAME for who in ("AUTHOR", "COMMITTER")},
                **{f"GIT_{who}_EMAIL": _EMAIL for who in ("AUTHOR", "COMMITTER")},
            }
        )
        self.hashes = "sha1"

    async def make(self) -> None:
        """Make it if it isn't there, and take away what killed commands left. Raises StoreError."""
        version = await git_version(self.env)
        if version < OLDEST:
            raise StoreRefused(
                f"git {version[0]}.{version[1]} is too old", hint=f"install git {OLDEST[0]}.{OLDEST[1]} or newer"
            )
        with self._translated():
            made = await asyncio.to_thread(self._claim)
        if not made:
            words = ("init", "--bare", "--quiet", "--template=", f"--object-format={self.hashes}")
            await self._local(*words)

    async def remake(self, hashes: str | None = None) -> None:
        """Throw it away and make a new one, for `hashes` if another kind is wanted."""
        self.hashes = hashes or self.hashes
        with self._translated():
            await asyncio.to_thread(self._discard)
        await self.make()

    async def configure(self, settings: str) -> None:
        """Keep `settings` in the file that every command reads."""
        self._settings = settings
        with self._translated():
            await asyncio.to_thread(self._write_settings)

    async def sweep(self) -> bool:
        """Remove what commands left that were killed or failed; whether there were lock files. None may be running."""
        with self._translated():
            return await asyncio.to_thread(self._sweep)

    async def fetched(self) -> str:
        """The commit that a fetch just brought."""
        with self._translated():
            text = await asyncio.to_thread((self._folder / "FETCH_HEAD").read_text)
        return text.split()[0]

    async def tree(self, commit: str, prefix: str) -> Tree:
        """The objects below `prefix` in `commit`. Raises MirrorBroken if it isn't here whole."""
        words = ("ls-tree", "-r", "-z", "-l", "--full-tree", commit, *([prefix] if prefix else []))
        done = await run_git(*words, env=self.env, most=MANY_BYTES)
        if done.cut:
            raise StoreRefused("the branch has too many files in it", hint="use a branch of its own for the vault")
        if done.code:
            raise local_failure(done)
        try:
            return await asyncio.to_thread(parse_tree, done.out, prefix)
        except ValueError:  # git says BAD in the place of a size
            raise MirrorBroken("the private copy of the repository lacks an object") from None

    async def blob(self, oid: str, start: int, length: int) -> bytes:
        """`length` bytes of a blob, which must have them. Raises MirrorBroken if it isn't here."""
        done = await run_git("cat-file", "blob", oid, env=self.env, skip=start, most=length)
        if len(done.out) != length:
            raise local_failure(done)
        return done.out

    async def commit(
        self, parent: str | None, changes: Mapping[str, bytes | Blob | None]
    ) -> tuple[str, dict[str, Blob]]:
        """A commit on top of `parent` with files put (bytes, or a blob that is here already) and deleted (None).

        Returns it, and the blobs of what was put.
        """
        stream, news = _stream(parent, changes)
        size = sum(map(len, stream))
        # What is large stays in the pack that it is written to; small objects lie loose and are packed later.
        limit = ("-c", "fastimport.unpackLimit=1") if size > _LARGE else ()
        words = (*limit, "fast-import", "--quiet", "--done", "--force", "--date-format=raw", "--cat-blob-fd=1")
        done = await self._write(*words, feed=stream)
        oids = done.out.decode(errors="replace").split()
        if done.code or len(oids) != len(news) + 1:
            raise local_failure(done)
        blobs = {name: Blob(oid, size) for (name, size), oid in zip(news.items(), oids, strict=False)}
        return oids[-1], blobs | {name: change for name, change in changes.items() if isinstance(change, Blob)}

    async def parentless(self, commit: str) -> str:
        """A commit of the tree of `commit`, without its history."""
        return (await self._local("commit-tree", "-m", _message(), f"{commit}^{{tree}}")).strip().decode()

    async def check(self) -> None:
        """Raises MirrorBroken if something that belongs here is missing or can't be read."""
        await self._local("fsck", "--connectivity-only", "--no-dangling", "--no-progress")

    async def untidy(self) -> bool:
        """Whether so much has gathered that `tidy` is worth its time."""

        def count() -> bool:
            loose, packs = self._folder / "objects" / "17", self._folder / "objects" / "pack"
            many_loose = loose.is_dir() and len(list(loose.iterdir())) > MANY_LOOSE
            return many_loose or len(list(packs.glob("*.pack"))) > MANY_PACKS

        with self._translated():
            return await asyncio.to_thread(count)

    async def tidy(self, commit: str) -> None:
        """Keep `commit` without its history, and nothing else."""
        await self._local("update-ref", FETCHED, commit)
        await self._local("update-ref", "-d", WRITTEN)
        with self._translated():
            await asyncio.to_thread((self._folder / "shallow").write_text, f"{commit}\n")
        await self._local("gc", "--quiet", "--prune=now", "--force")

    async def _local(self, *words: str) -> bytes:
        done = await self._write(*words)
        if done.code:
            raise local_failure(done)
        return done.out

    async def _write(self, *words: str, feed: Iterable[bytes] = ()) -> Done:
        done = await run_git(*words, env=self.env, feed=feed, patience=LONGEST)
        if done.code and await self.sweep():
            done = await run_git(*words, env=self.env, feed=feed, patience=LONGEST)
            if done.code:
                await self.sweep()
        return done

    # From here on everything runs in a thread.

    def _claim(self) -> bool:
        """Take the folder; whether there is a repository in it already."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = self._folder / MARK
        if not mark.exists() and any(self._folder.iterdir()):
            raise StoreRefused(
                f"{self._folder} is to hold the private copy of the repository, but holds other things",
                hint="set mirror in config.toml to a folder that doesn't exist yet",
            )
        self._folder.chmod(0o700)
        mark.touch()
        self._write_settings()
        self._sweep()
        config = self._folder / "config"
        if not (self._folder / "HEAD").exists() or not config.exists():
            return False
        self.hashes = "sha256" if "sha256" in config.read_text(errors="replace") else "sha1"
        return True

    def _discard(self) -> None:
        old = self._folder.with_name(f"{self._folder.name}.damaged")
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            self._folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)

    def _write_settings(self) -> None:
        temporary = self._folder / "settings.new"
        temporary.write_bytes(self._settings.encode(errors="surrogateescape"))
        temporary.replace(self._folder / "settings")

    def _sweep(self) -> bool:
        locks = list(self._folder.rglob("*.lock"))
        unfinished = (self._folder / "objects").rglob("tmp_*")
        for path in [*locks, *unfinished, *self._folder.glob("fast_import_crash_*")]:
            if not path.is_dir():
                path.unlink(missing_ok=True)
        return bool(locks)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(
                f"the private copy of the repository in {self._folder} can't be used: {error.strerror}",
                hint="check free space, owner and permissions of that folder",
            ) from error


def _stream(parent: str | None, changes: Mapping[str, bytes | Blob | None]) -> tuple[list[bytes], dict[str, int]]:
    """The words of `git fast-import` for a commit, and the sizes of the new blobs by name, in their order."""
    news = {name: change for name, change in changes.items() if isinstance(change, bytes)}
    marks = {name: f":{number}" for number, name in enumerate(news, 1)}
    words: list[bytes] = []
    for name, data in news.items():
        words += [f"blob\nmark {marks[name]}\ndata {len(data)}\n".encode(), data, b"\n"]
    message = _message()
    last = f":{len(news) + 1}"
    commit = [
        f"commit {WRITTEN}",
        f"mark {last}",
        f"committer {_NAME} <{_EMAIL}> {int(time.time())} +0000",
        f"data {len(message)}",
        message,
        *([f"from {parent}"] if parent else []),
    ]
    # Deletions first: a name may have been a folder's.
    commit += [f"D {name}" for name, change in changes.items() if change is None]
    for name, change in changes.items():
        if change is not None:
            commit.append(f"M 100644 {change.oid if isinstance(change, Blob) else marks[name]} {name}")
    commit += ["", *(f"get-mark {mark}" for mark in marks.values()), f"get-mark {last}", "done", ""]
    return [*words, "\n".join(commit).encode()], {name: len(data) for name, data in news.items()}


def _message() -> str:
    """Says nothing, and makes two devices' commits of equal content two."""
    return f"claude-sync {secrets.token_hex(8)}"
