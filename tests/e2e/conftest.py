"""Fixtures of the end-to-end tests; they are written in tests/support/lab.py."""

from lab import (
    folder_lab,
    folder_vault,
    gcs,
    gcs_vault,
    git_host,
    git_vault,
    lab,
    s3_server,
    s3_vault,
    s3_wire,
    short_folder,
    vault,
    webdav,
    webdav_vault,
)

__all__ = [
    "folder_lab",
    "folder_vault",
    "gcs",
    "gcs_vault",
    "git_host",
    "git_vault",
    "lab",
    "s3_server",
    "s3_vault",
    "s3_wire",
    "short_folder",
    "vault",
    "webdav",
    "webdav_vault",
]
