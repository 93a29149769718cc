"""Where in a test server a test may put its objects."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Protocol

from claude_syncd.store.options import S3Options


class Server(Protocol):
    """A running S3 server."""

    bucket: str
    endpoint: str
    access_key: str
    secret_key: str


def s3_options(server: Server) -> S3Options:
    """Options of a place in the server's bucket that nobody else uses."""
    return S3Options(
        bucket=server.bucket,
        prefix=secrets.token_hex(8),
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
    )


def overwriting_s3_options(server: Server) -> S3Options:
    """The same, as setting up keeps them for a server that overwrites although it was asked not to."""
    return replace(s3_options(server), conditional_put=False)
