"""Buckets, made when setting up and taken away again if nothing came of that. They are private, as clouds make them."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from claude_syncd.errors import StoreRefused
from claude_syncd.store.gcs import GOOGLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from types_aiobotocore_s3.client import S3Client

    from claude_syncd.store.gcs_client import Client
    from claude_syncd.store.options import GcsOptions, S3Options

_PATIENCE = 60.0
_PLAIN_REGION = "us-east-1"
"""The one region of AWS that must not be named where a bucket is made."""


class _Account(msgspec.Struct):
    project_id: str = ""
    quota_project_id: str = ""


_ACCOUNT = msgspec.json.Decoder(_Account)


class S3Bucket:
    """See Place."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._made = False

    async def prepare(self) -> None:
        """See Place: a bucket needs nothing."""

    async def make(self) -> None:
        """See Place."""
        async with self._client() as client:
            region = client.meta.region_name
            arguments: dict[str, Any] = {}
            # Other servers have one region, or an endpoint for each, and some know no other word for it.
            if self._options.endpoint is None and region not in {_PLAIN_REGION, "aws-global"}:
                arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}
            self._made = True
            await client.create_bucket(Bucket=self._options.bucket, **arguments)

    async def take_back(self) -> None:
        """See Place. A bucket with something in it is not deleted by any server."""
        if self._made:
            async with self._client() as client:
                await client.delete_bucket(Bucket=self._options.bucket)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[S3Client]:
        from claude_syncd.store import s3_client, s3_errors  # noqa: PLC0415 - heavy

        address = f"s3://{self._options.bucket}"
        try:
            session = await asyncio.to_thread(s3_client.make_session, self._options)
            async with s3_client.new_client(session, self._options, 1, _PATIENCE) as client:
                yield client
        except s3_errors.FAILURES as error:
            if getattr(error, "response", {}).get("Error", {}).get("Code") == "BucketAlreadyOwnedByYou":
                self._made = False  # it was a moment behind
                return
            raise s3_errors.translate(error, address) from error


class GcsBucket:
    """See Place."""

    def __init__(self, options: GcsOptions, region: str | None, google: str = GOOGLE) -> None:
        """`region`: where to make it, as Google calls it; None: where Google likes. `google`: as for GcsStore."""
        self._options = options
        self._region = region
        self._emulator = options.endpoint or os.environ.get("STORAGE_EMULATOR_HOST")
        api = self._emulator or google
        self._api = (api if "://" in api else f"http://{api}").rstrip("/")
        self._made = False

    async def prepare(self) -> None:
        """See Place: a bucket needs nothing."""

    async def make(self) -> None:
        """See Place. Nobody can make it public by mistake, and what is deleted is gone, since its owner pays for it."""
        async with self._client() as (client, project):
            if not project:
                raise StoreRefused("a bucket is made in a project of Google Cloud's", hint="give --project-id ID")
            self._made = True
            wanted = {
                "name": self._options.bucket,
                "iamConfiguration": {
                    "uniformBucketLevelAccess": {"enabled": True},
                    "publicAccessPrevention": "enforced",
                },
                "softDeletePolicy": {"retentionDurationSeconds": "0"},
                **({"location": self._region.upper()} if self._region else {}),
            }
            await client.storage.session.post(
                f"{self._api}/storage/v1/b",
                headers={**await client.storage._headers(), "Content-Type": "application/json"},  # noqa: SLF001 - it has no method for this
                data=msgspec.json.encode(wanted),
                params={"project": project},
                timeout=int(_PATIENCE),
            )

    async def take_back(self) -> None:
        """See Place. A bucket with something in it is not deleted by Google."""
        if self._made:
            async with self._client() as (client, _):
                headers = await client.storage._headers()  # noqa: SLF001 - see above
                await client.storage.session.delete(f"{self._api}/storage/v1/b/{self._options.bucket}", headers)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[tuple[Client, str]]:
        """A client, and the project that is to pay ("": nobody knows)."""
        from claude_syncd.store import gcs_client, gcs_credentials, gcs_errors  # noqa: PLC0415 - heavy

        credentials = None
        if not self._emulator:
            credentials = await asyncio.to_thread(gcs_credentials.read_credentials, self._options.credentials_file)
        account = _ACCOUNT.decode(credentials) if credentials else _Account()
        project = self._options.project_id or account.project_id or account.quota_project_id
        try:
            async with gcs_client.new_client(
                self._api, credentials, 1, _PATIENCE, emulator=self._emulator is not None
            ) as client:
                yield client, project
        except gcs_errors.FAILURES as error:
            raise gcs_errors.translate(error, f"gs://{self._options.bucket}") from error
