"""Where on a WebDAV server a test may put its objects."""

from __future__ import annotations

import secrets
from typing import Protocol

from claude_syncd.store.options import WebDavOptions


class Server(Protocol):
    """A running server; `endpoint` is a folder."""

    endpoint: str
    username: str | None
    password: str | None


def webdav_options(server: Server) -> WebDavOptions:
    """Options of a folder on the server that nobody else uses."""
    return WebDavOptions(
        server.endpoint, prefix=secrets.token_hex(8), username=server.username, password=server.password
    )
