"""Folders on a WebDAV server: looked into one level at a time, and made where they are needed.

None is ever removed: removing one takes along what another device has just put into it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from claude_syncd.errors import NoSuchPlace, StoreRefused, StoreUnavailable
from claude_syncd.store.base import ObjectInfo
from claude_syncd.store.names import MAX_NAME, RESERVED
from claude_syncd.store.webdav_errors import of_status
from claude_syncd.store.webdav_listing import QUESTION, Listing, NotUnderstood, seconds
from claude_syncd.store.webdav_statuses import GONE, MADE, NO_PARENT
from claude_syncd.tasks import together

if TYPE_CHECKING:
    from collections.abc import Sequence

    import aiohttp
    from yarl import URL

    from claude_syncd.store.report import RequestKind
    from claude_syncd.store.webdav_client import Client

MARKS = (RESERVED, "vault.json")
"""A folder that holds neither is no store: most likely the place of a disk that the server lost."""

MANY_FOLDERS = 20_000
DAY = 24 * 3600.0
_AT_ONCE = 8
_PIECE = 64 * 1024
_USUAL_LISTING = 16 * 1024 * 1024
_LARGEST_LISTING = 512 * 1024 * 1024


class Folders:
    """The folders of the vault below `client.base`."""

    def __init__(self, client: Client, address: str) -> None:
        """`address` is what messages call the vault's folder."""
        self._client = client
        self._address = address
        self._is_store = False
        self._swept: float | None = None
        self._making = asyncio.Lock()

    def url(self, parts: Sequence[str], *, folder: bool = False) -> URL:
        """Where the object, or folder, with these parts of its name is."""
        return self._client.base.joinpath(*parts, *([""] if folder or not parts else []))

    async def create(self) -> None:
        """Make the vault's folder and its mark. Raises StoreRefused where other things are."""
        base = self._client.base
        top = await self.look(base)
        if top is None:
            await self._make(base, base.with_path("/"))
        elif not top.is_folder:
            raise StoreRefused(f"{self._address} is not a folder", hint="choose another url or prefix")
        elif not _marked(top) and (top.others or any(not name.startswith(".") for name in top.members)):
            raise StoreRefused(f"the folder {self._address} holds other things", hint="choose a new or an empty one")
        await self._make(self.url([RESERVED], folder=True), base)

    async def look(self, url: URL, depth: int = 1) -> Listing | None:
        """What is at `url`, with its members unless `depth` is 0; None if nothing is there."""
        found: Listing | None = None

        async def read(response: aiohttp.ClientResponse) -> int:
            nonlocal found
            if response.status != 207:
                raise NotUnderstood("no multistatus")
            found, size = Listing(unquote(response.url.raw_path)), 0
            while piece := await response.content.read(_PIECE):
                size += len(piece)
                if size > _LARGEST_LISTING:
                    raise NotUnderstood("too long")
                found.feed(piece)
            found.end()
            return 0

        headers = {"Depth": str(depth), "Content-Type": "application/xml; charset=utf-8"}
        kind: RequestKind = "list" if depth else "head"
        size = _USUAL_LISTING if depth else 0
        answer = await self._client.ask(kind, "PROPFIND", url, headers=headers, data=QUESTION, size=size, read=read)
        if answer.status in GONE or (answer.status == 400 and await self._is_below_object(url)):
            return None
        if found is None:
            raise of_status(answer.status, answer.headers, str(url))
        found.now = seconds(answer.headers.get("Date", ""))
        return found

    async def _is_below_object(self, url: URL) -> bool:
        """Whether nothing can be at `url`, since an object is where its folder would be. Apache answers 400 then."""
        above = url.parent  # of a folder's address it only takes the slash away
        if len(above.path) < len(self._client.base.path):
            return False
        found = await self.look(above, depth=0)
        return found is None or not found.is_folder

    async def check_store(self, *, again: bool = False) -> None:
        """See that the vault's folder is there and a store, once or `again`. Raises StoreUnavailable.

        A 404 without it would be believed, and a vault whose disk the server lost would look empty.
        """
        if again or not self._is_store:
            self._see_marks(await self.look(self._client.base))

    async def make_for(self, parts: Sequence[str]) -> None:
        """Make the folders that the object with these parts lacks; others may be doing the same."""
        async with self._making:
            await self.check_store(again=True)
            if len(parts) > 1:
                await self._make(self.url(parts[:-1], folder=True), self._client.base)

    async def walk(self, folders: Sequence[str], beginning: str) -> list[ObjectInfo]:
        """All objects below the folder, whose next part begins with `beginning`; unordered. All or an error."""
        top = await self.look(self.url(folders, folder=True))
        if not folders:
            self._see_marks(top)
        elif top is None:
            await self.check_store(again=True)
        found: list[ObjectInfo] = []
        level: list[Sequence[str]] = []
        if top is not None:
            _sort_out(folders, top, beginning, found, level)
        count = 0
        while level:
            count += len(level)
            if count > MANY_FOLDERS:
                raise StoreRefused(f"{self._address}: too many folders", hint="use a folder of its own")
            deeper: list[Sequence[str]] = []
            for first in range(0, len(level), _AT_ONCE):
                batch = level[first : first + _AT_ONCE]
                for parts, listing in zip(batch, await self._look_at(batch), strict=True):
                    _sort_out(parts, listing, "", found, deeper)
            level = deeper
        return found

    async def sweep(self) -> None:
        """Remove leftovers of uploads that were cut off, once a day; both times are the server's."""
        if self._swept is not None and time.monotonic() - self._swept < DAY:
            return
        self._swept = time.monotonic()
        aside = await self.look(self.url([RESERVED], folder=True))
        for name, member in aside.members.items() if aside is not None else ():
            if aside and aside.now and member.modified and not member.is_folder and aside.now - member.modified > DAY:
                await self._client.ask("delete", "DELETE", self.url([RESERVED, name]))

    async def _look_at(self, batch: Sequence[Sequence[str]]) -> list[Listing]:
        """What is in several folders that were there a moment ago."""
        listings: dict[str, Listing] = {}

        async def one(parts: Sequence[str]) -> None:
            listing = await self.look(self.url(parts, folder=True))
            if listing is None:
                raise StoreUnavailable(f"{self._address}/{'/'.join(parts)}: the folder went while it was looked at")
            listings["/".join(parts)] = listing

        await together(*map(one, batch))
        return [listings["/".join(parts)] for parts in batch]

    def _see_marks(self, top: Listing | None) -> None:
        self._is_store = top is not None and _marked(top)
        if not self._is_store:
            raise StoreUnavailable(
                f"the folder {self._address} is not there, or is not a store",
                hint="see that the server has its disks; if the folder is gone for good, run `claude-syncctl init`",
            )

    async def _make(self, url: URL, above: URL) -> None:
        """Make a folder and those over it, up to `above`."""
        parent = url.parent.parent.joinpath("")  # the first of them only takes the slash away
        answer = await self._client.ask("put", "MKCOL", url)
        if answer.status in NO_PARENT and parent != above:
            await self._make(parent, above)
            answer = await self._client.ask("put", "MKCOL", url)
        if answer.status in MADE or answer.status == 405:  # it is there already
            return
        if answer.status in NO_PARENT and above.path == "/":
            raise NoSuchPlace(f"{url}: there is no folder to make it in", hint="correct url in config.toml")
        raise of_status(answer.status, answer.headers, str(url))


def _marked(top: Listing) -> bool:
    return top.is_folder and any(mark in top.members for mark in MARKS)


def _sort_out(
    folders: Sequence[str],
    listing: Listing,
    beginning: str,
    found: list[ObjectInfo],
    deeper: list[Sequence[str]],
) -> None:
    """Add the members of a folder to the objects `found`, and to the folders that are still to be looked into."""
    for name, member in listing.members.items():
        parts = [*folders, name]
        whole = "/".join(parts)
        if not name.startswith(beginning) or parts[0] == RESERVED or len(whole) > MAX_NAME:
            continue
        if member.is_folder:
            deeper.append(parts)
        else:
            found.append(ObjectInfo(whole, member.size))
