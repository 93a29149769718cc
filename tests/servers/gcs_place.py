"""Where in a test server of Google Cloud Storage a test may put its objects."""

from __future__ import annotations

import secrets
from typing import Protocol

from claude_syncd.store.options import GcsOptions


class Server(Protocol):
    """A running server."""

    bucket: str
    endpoint: str


def gcs_options(server: Server) -> GcsOptions:
    """Options of a place in the server's bucket that nobody else uses."""
    return GcsOptions(bucket=server.bucket, prefix=secrets.token_hex(8), endpoint=server.endpoint)
