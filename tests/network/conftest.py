"""Fixtures of the tests with a network that breaks; they are written in tests/support."""

from device_fixtures import stack, vault
from lab import gcs, git_host, s3_server, s3_wire, webdav

__all__ = ["gcs", "git_host", "s3_server", "s3_wire", "stack", "vault", "webdav"]
