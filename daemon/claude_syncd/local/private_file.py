"""Files that only this user may read: written whole or not at all, 0600, in folders that are 0700."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it; the folder itself is 0700 afterwards. Raises LocalError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise LocalError(f"can't make the folder {folder}: {error.strerror}") from error


def write_private(path: Path, data: bytes) -> None:
    """Put `data` at `path` with mode 0600, replacing what was there, durable when this returns. Raises LocalError."""
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise LocalError(f"can't write {path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
