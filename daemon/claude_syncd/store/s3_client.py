"""Makes the client that S3Store uses. Importing this module takes long and much memory: S3Store does it in a thread."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no types
from aiobotocore.session import AioSession  # type: ignore[import-untyped]  # it has no types
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # it has no types
from botocore.loaders import create_loader  # type: ignore[import-untyped]  # it has no types

from claude_syncd.store.over_http import Redirected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from types_aiobotocore_s3.client import S3Client

    from claude_syncd.store.options import S3Options

LONGEST_CONNECT = 15.0
DEFAULT_REGION = "us-east-1"


def make_session(options: S3Options) -> AioSession:
    """Make a session that has read what a client needs, so that making one is quick. Blocks; not for the loop."""
    session = AioSession(profile=options.profile)
    session.register_component("data_loader", _data_files())

    async def make_one() -> None:
        # These keys keep it from looking for real ones, which belong to the loop that uses them.
        async with session.create_client("s3", **_arguments(options, keys=("none", "none", None))):
            pass

    asyncio.run(make_one())
    return session


@asynccontextmanager
async def new_client(
    session: AioSession, options: S3Options, connections: int, patience: float
) -> AsyncIterator[S3Client]:
    """Give a client, closed at the end. `patience` is the longest silence of the server that it bears, in seconds."""
    path_style = options.path_style if options.path_style is not None else options.endpoint is not None
    config = AioConfig(
        connect_timeout=min(patience, LONGEST_CONNECT),
        read_timeout=patience,
        max_pool_connections=connections,
        parameter_validation=False,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if path_style else "auto"},
    )
    keys = (options.access_key_id, options.secret_access_key, options.session_token)
    async with session.create_client("s3", config=config, **_arguments(options, keys=keys)) as client:
        client.meta.events.register("before-send.s3.PutObject", _without_expect)
        client.meta.events.register("before-call.s3.HeadBucket", _without_asking)
        client.meta.events.register_first("needs-retry.s3", _from_elsewhere)
        yield client


@cache
def _data_files() -> Any:
    """Botocore's data files, read once for all sessions of the process."""
    return create_loader()


def _arguments(options: S3Options, keys: tuple[str | None, str | None, str | None]) -> dict[str, Any]:
    return {
        "region_name": options.region or (DEFAULT_REGION if options.endpoint else None),
        "endpoint_url": options.endpoint,
        "verify": str(options.ca_bundle) if options.ca_bundle else None,
        "aws_access_key_id": keys[0],
        "aws_secret_access_key": keys[1],
        "aws_session_token": keys[2],
    }


def _without_expect(request: Any, **_: Any) -> None:
    """Drop `Expect: 100-continue`: the HTTP client would wait for ever on a server that does not know it."""
    if "Expect" in request.headers:
        del request.headers["Expect"]


def _without_asking(**_: Any) -> None:
    """Have the client not ask for the region of a bucket that a redirection was about, unless that said it: where the
    question is redirected too, as a network's login page does, it would ask about that, and so on without end.
    """
    raise ClientError({"Error": {"Code": "NotAsked"}, "ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")


def _from_elsewhere(response: tuple[Any, Any] | None = None, **_: Any) -> None:
    """Raise Redirected for an answer that another address gave. The HTTP client goes where it is sent, and makes a GET
    of an upload: the login page of a network would pass for the answer of a server that has stored it.
    """
    if response is None:
        return
    raw = response[0].raw
    if any(earlier is not raw for earlier in raw.history):  # one that says no place stands there itself
        raise Redirected
