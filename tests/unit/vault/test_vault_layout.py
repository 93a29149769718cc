import pytest

from claude_syncd.errors import FormatError
from claude_syncd.vault import layout
from claude_syncd.vault.layout import ObjectName, Type

DEVICE = "1b" * 16


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        (layout.roster_name(1), ObjectName(Type.ROSTER, "", 1)),
        (layout.log_name(DEVICE, 12), ObjectName(Type.LOG, DEVICE, 12)),
        (layout.pack_name(DEVICE, "ab" * 32), ObjectName(Type.PACK, DEVICE)),
        (layout.checkpoint_name(DEVICE, layout.MAX_SEQ), ObjectName(Type.CHECKPOINT, DEVICE, layout.MAX_SEQ)),
    ],
)
def test_names_read_back(name: str, parsed: ObjectName) -> None:
    assert layout.parse(name) == parsed


def test_names_are_the_documented_ones() -> None:
    assert layout.roster_name(7) == "roster/000007"
    assert layout.log_name(DEVICE, 7) == f"devices/{DEVICE}/log/000000000007"
    assert layout.slot_name("recovery-0a") == "keys/recovery-0a.age"
    assert layout.parse_slot("keys/recovery-0a.age") == "recovery-0a"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vault.json",
        "roster/000000",
        "roster/1",
        "roster/0000001",
        "roster/000001\n",
        "roster/\u0660\u0660\u0660\u0660\u0660\u0661",
        f"devices/{DEVICE}/log/000000000000",
        f"devices/{DEVICE}/log/1",
        f"devices/{DEVICE.upper()}/log/000000000001",
        f"devices/{DEVICE}/log/000000000001/",
        f"devices/{DEVICE}/log/../log/000000000001",
        f"/devices/{DEVICE}/log/000000000001",
        f"devices/{DEVICE}/packs/{'AB' * 32}",
        f"devices/{DEVICE}/packs/{'ab' * 31}",
        f"devices/{DEVICE}/other/000000000001",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    assert layout.try_parse(name) is None
    with pytest.raises(FormatError):
        layout.parse(name)


@pytest.mark.parametrize("slot", ["", "-a", "A", "a" * 65, "a/b", "../a", "a.age"])
def test_other_slots_are_refused(slot: str) -> None:
    with pytest.raises(FormatError):
        layout.slot_name(slot)
    assert layout.parse_slot(f"keys/{slot}.age") is None


def test_numbers_beyond_a_names_digits_are_refused() -> None:
    with pytest.raises(FormatError):
        layout.roster_name(1_000_000)
    with pytest.raises(FormatError):
        layout.log_name(DEVICE, 0)
    with pytest.raises(FormatError):
        layout.area("..")


@pytest.mark.parametrize("path", ["tree/a", "tree/a/b.c", "conflicts/x/y", "tree/ümlaut", "tree/...", "tree/a\\b"])
def test_portable_paths_have_the_right_shape(path: str) -> None:
    assert layout.is_portable_shape(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tree",
        "tree/",
        "/tree/a",
        "other/a",
        "tree//a",
        "tree/./a",
        "tree/../a",
        "tree/a/..",
        "tree/a\0b",
        "tree/" + "a" * 256,
        "tree/" + "ü" * 128,
        "tree" + "/aaaaaaa" * 512,
    ],
)
def test_other_paths_do_not(path: str) -> None:
    assert not layout.is_portable_shape(path)
