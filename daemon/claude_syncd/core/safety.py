"""When to stop and ask: changes that look like an accident rather than like work."""

from __future__ import annotations

from enum import StrEnum

import msgspec

MASS_DELETION = 20
"""So many files may always vanish at once."""

MASS_REWRITE = 20
"""So many files may always be overwritten with what is no text."""
HEAD = 4096
"""Bytes at the beginning of a file that say whether it is text."""


class HoldReason(StrEnum):
    """Why syncing holds."""

    MASS_DELETION = "mass-deletion"
    MASS_REWRITE = "mass-rewrite"
    ROOT_CHANGED = "root-changed"
    ROOT_MISSING = "root-missing"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Syncing waits for an answer from the user: what happened, and what to do about it."""

    reason: HoldReason
    message: str
    hint: str = "if that is right, run `claude-syncctl resume --accept`"


class RootIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which folder the watched tree is: its path with symlinks resolved, and what `stat` says of it."""

    path: str
    device: int
    inode: int


def mass_deletion(missing: int, known: int) -> bool:
    """Whether `missing` of `known` files are too many to have been deleted on purpose: half of them and over 20."""
    return missing > MASS_DELETION and missing * 2 >= known


def deletion_hold(missing: int, known: int) -> Hold | None:
    """The hold for `missing` of `known` files having vanished since the last look, if that needs one."""
    if not mass_deletion(missing, known):
        return None
    return Hold(
        reason=HoldReason.MASS_DELETION,
        message=f"{missing} of {known} files have vanished at once; nothing was deleted elsewhere",
        hint="put them back, or run `claude-syncctl resume --accept` to delete them elsewhere, too",
    )


def unreadable(head: bytes) -> bool:
    """Whether a file that begins with `head` (its first 4,096 bytes, or all of it) is no text: empty, with zero bytes,
    or not UTF-8.
    """
    if not head or b"\0" in head:
        return True
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut off at the end of what was read.
        return not (len(head) == HEAD and error.start >= HEAD - 3 and error.reason == "unexpected end of data")
    return False


def rewrite_hold(spoilt: int, known: int) -> Hold | None:
    """The hold for `spoilt` of `known` files having been overwritten with what is no text, as ransomware does: more
    than half of them and over 20. Work does not look like that: who edits or formats many files leaves text behind.
    """
    if spoilt <= MASS_REWRITE or spoilt * 2 <= known:
        return None
    return Hold(
        reason=HoldReason.MASS_REWRITE,
        message=f"{spoilt} of {known} files were overwritten with something that is no text; it was not published",
        hint="if that is right, run `claude-syncctl resume --accept`; if not, end what does it, and then bring back"
        " what was there before it began: `claude-syncctl restore --all --at TIME`",
    )


def root_hold(before: RootIdentity | None, now: RootIdentity | None) -> Hold | None:
    """The hold for the watched tree not being the folder that it was, if that needs one.

    `before`: what it was when syncing last worked, None if it never did; `now`: None if there is no such folder.
    The device's number alone says nothing: it differs between two mounts of one file system.
    """
    if before is None:
        return None
    if now is None:
        return Hold(
            reason=HoldReason.ROOT_MISSING,
            message=f"the folder {before.path} is gone; nothing was deleted elsewhere",
            hint="mount or restore it, or run `claude-syncctl resume --accept` to fill a new one from the vault",
        )
    if (before.path, before.inode) == (now.path, now.inode):
        return None
    return Hold(
        reason=HoldReason.ROOT_CHANGED,
        message=f"{now.path} is another folder than the one that was synced before; nothing was deleted elsewhere",
    )
