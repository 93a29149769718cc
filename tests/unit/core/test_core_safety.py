import msgspec
import pytest

from claude_syncd.core.safety import (
    HEAD,
    HoldReason,
    RootIdentity,
    deletion_hold,
    mass_deletion,
    rewrite_hold,
    root_hold,
    unreadable,
)

ROOT = RootIdentity(path="/home/ann/.claude", device=1, inode=42)


@pytest.mark.parametrize(
    ("missing", "known", "holds"),
    [
        (0, 0, False),
        (20, 20, False),
        (20, 40, False),
        (21, 21, True),
        (21, 42, True),
        (21, 43, False),
        (50, 100, True),
        (49, 100, False),
        (5_000, 100_000, False),
    ],
)
def test_half_of_the_files_and_more_than_20(missing: int, known: int, *, holds: bool) -> None:
    assert mass_deletion(missing, known) is holds
    hold = deletion_hold(missing, known)
    assert (hold is not None) is holds
    if hold is not None:
        assert hold.reason is HoldReason.MASS_DELETION
        assert f"{missing} of {known}" in hold.message


def test_a_new_device_holds_for_nothing() -> None:
    assert root_hold(None, ROOT) is None
    assert root_hold(None, None) is None


def test_the_same_folder_is_the_same_after_another_mount() -> None:
    assert root_hold(ROOT, ROOT) is None
    assert root_hold(ROOT, msgspec.structs.replace(ROOT, device=7)) is None


@pytest.mark.parametrize("changed", [{"inode": 43}, {"path": "/mnt/other/.claude"}])
def test_another_folder_holds(changed: dict[str, object]) -> None:
    hold = root_hold(ROOT, msgspec.structs.replace(ROOT, **changed))
    assert hold is not None
    assert hold.reason is HoldReason.ROOT_CHANGED
    assert "--accept" in hold.hint


def test_a_folder_that_is_gone_holds() -> None:
    hold = root_hold(ROOT, None)
    assert hold is not None
    assert hold.reason is HoldReason.ROOT_MISSING
    assert ROOT.path in hold.message


@pytest.mark.parametrize(
    ("head", "spoilt"),
    [
        (b"", True),
        (b"text\n", False),
        ("äöü €".encode(), False),
        (b"a\0b", True),
        (b"\xff\xfe\x9c\x01", True),
        (("x" * (HEAD - 1) + "ä").encode()[:HEAD], False),  # cut within a character of two bytes
        (("x" * (HEAD - 2) + "€").encode()[:HEAD], False),  # the last character is cut off
        (b"x" * (HEAD - 3) + b"\xe2\x82", True),  # it is the end of the file, and no character
        (b"\x93" + b"x" * (HEAD - 1), True),
    ],
)
def test_what_is_no_text(head: bytes, spoilt: bool) -> None:
    assert unreadable(head) is spoilt


@pytest.mark.parametrize(
    ("spoilt", "known", "holds"),
    [(0, 0, False), (20, 20, False), (21, 21, True), (21, 41, True), (21, 42, False), (500, 999, True)],
)
def test_files_that_are_no_text_any_more_hold(spoilt: int, known: int, holds: bool) -> None:
    hold = rewrite_hold(spoilt, known)
    assert (hold is not None) is holds
    if hold is not None:
        assert hold.reason is HoldReason.MASS_REWRITE
        assert "restore --all --at" in hold.hint
