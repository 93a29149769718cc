"""What a hostile store could serve in place of an object, and what a broken or stolen writer could have written."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
import pytest
from backports import zstd
from vault_samples import DEVICE, OTHER, file_record, sample_entry, sample_keys

from claude_syncd.core.model import Checkpoint, RosterEntry, Slice
from claude_syncd.crypto import seal
from claude_syncd.errors import FormatError, IntegrityError, VaultError, WrongKey
from claude_syncd.vault import codec, frame, layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.crypto.keys import VaultKeys

KEYS = sample_keys()
LOG = layout.log_name(DEVICE, 1)
ROSTER = layout.roster_name(1)
CHECKPOINT = layout.checkpoint_name(DEVICE, 1)
BLOBS = [codec.seal_chunk(KEYS, text) for text in (b"first", b"second", b"third")]
PACK, PACK_DATA = codec.encode_pack(KEYS, DEVICE, BLOBS)
ENTRY = sample_entry(file_record("tree/a", b"first", 1, Slice(LOG, 0, 0, 5)))

OBJECTS = {
    LOG: codec.encode_log(KEYS, ENTRY, BLOBS),
    ROSTER: codec.encode_roster(KEYS, RosterEntry(number=1, device=DEVICE, name="laptop", time_ns=1)),
    PACK: PACK_DATA,
    CHECKPOINT: codec.encode_checkpoint(
        KEYS,
        Checkpoint(device=DEVICE, seq=1, sha256="ef" * 32, time_ns=1, name="laptop", seen={}),
        [file_record("tree/a", b"first", 1, Slice(CHECKPOINT, 0, 0, 5))],
        BLOBS,
    ),
}
NAMES = sorted(OBJECTS)
EACH = pytest.mark.parametrize("name", NAMES, ids=[layout.parse(name).type.name for name in NAMES])


def read_all(name: str, data: bytes) -> None:
    """Open an object and every blob in it, as a reader would."""
    opener: dict[layout.Type, Callable[..., object]] = {
        layout.Type.LOG: codec.open_log,
        layout.Type.ROSTER: codec.open_roster,
        layout.Type.CHECKPOINT: read_checkpoint,
        layout.Type.PACK: codec.open_blobs,
    }
    opener[layout.parse(name).type](KEYS, name, data)
    read_blobs(name, data, codec.open_blobs(KEYS, name, data))


def read_checkpoint(keys: VaultKeys, name: str, data: bytes) -> None:
    """Open a checkpoint and decode its records."""
    for _ in codec.open_checkpoint(keys, name, data).records:
        pass


def read_blobs(name: str, data: bytes, blobs: tuple[codec.BlobInfo, ...]) -> None:
    for number, info in enumerate(blobs):
        codec.open_blob(KEYS, name, number, info, data[info.offset : info.offset + info.length])


@EACH
def test_the_objects_themselves_are_fine(name: str) -> None:
    read_all(name, OBJECTS[name])


@EACH
@pytest.mark.parametrize("bit", [0, 7])
def test_every_flipped_bit_is_noticed(name: str, bit: int) -> None:
    data = OBJECTS[name]
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        with pytest.raises(VaultError):
            read_all(name, bytes(damaged))


@EACH
def test_every_flipped_bit_of_the_end_is_noticed_by_range_readers(name: str) -> None:
    data = OBJECTS[name]
    size = codec.index_size(name, data[-44:])
    for place in range(len(data) - size, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(VaultError):
            codec.open_index(KEYS, name, bytes(damaged[-size:]))


@EACH
def test_every_truncation_and_extension_is_noticed(name: str) -> None:
    data = OBJECTS[name]
    for length in range(len(data)):
        with pytest.raises(VaultError):
            read_all(name, data[:length])
        with pytest.raises(VaultError):
            read_all(name, data[length + 1 :])
    for longer in (data + b"\0", b"\0" + data, data * 2):
        with pytest.raises(VaultError):
            read_all(name, longer)


@EACH
def test_an_object_is_only_what_its_own_name_says(name: str) -> None:
    others = [
        *(other for other in NAMES if other != name),
        layout.log_name(DEVICE, 2),
        layout.log_name(OTHER, 1),
        layout.roster_name(2),
        layout.checkpoint_name(DEVICE, 2),
        layout.pack_name(OTHER, PACK[-64:]),
        layout.pack_name(DEVICE, "ab" * 32),
    ]
    for other in others:
        with pytest.raises(IntegrityError):
            read_all(other, OBJECTS[name])
        with pytest.raises(IntegrityError):
            codec.open_index(KEYS, other, OBJECTS[name])


@EACH
def test_an_object_of_another_vault_or_key_is_refused(name: str) -> None:
    for keys in (sample_keys(vault="ac" * 16), sample_keys(2)):
        with pytest.raises(IntegrityError):
            codec.open_blobs(keys, name, OBJECTS[name])
        with pytest.raises(IntegrityError):
            codec.open_index(keys, name, OBJECTS[name])


def test_a_name_that_is_a_path_to_elsewhere_is_refused() -> None:
    for name in ("../../etc/passwd", f"devices/{DEVICE}/packs/../log/000000000001", "/vault.json"):
        with pytest.raises(FormatError, match="not the name"):
            codec.open_blobs(KEYS, name, PACK_DATA)


def test_blobs_that_change_places_are_noticed() -> None:
    blobs = codec.open_blobs(KEYS, PACK, PACK_DATA)
    swapped = (
        PACK_DATA[:8] + BLOBS[1].data + BLOBS[0].data + BLOBS[2].data + PACK_DATA[blobs[-1].offset + blobs[-1].length :]
    )
    assert len(swapped) == len(PACK_DATA)
    with pytest.raises(IntegrityError, match=f"blob 0 of {PACK} was altered"):
        codec.open_blob(KEYS, PACK, 0, blobs[0], swapped[8 : 8 + blobs[0].length])


def test_a_blob_that_anyone_could_encrypt_is_refused() -> None:
    # Who learns the age recipient can make blobs that decrypt; the digest in the index is what stops them.
    planted = codec.seal_chunk(KEYS, b"wrong")
    info = replace(codec.open_blobs(KEYS, PACK, PACK_DATA)[0], length=len(planted.data))
    with pytest.raises(IntegrityError, match="was altered"):
        codec.open_blob(KEYS, PACK, 0, info, planted.data)


@pytest.mark.parametrize(
    ("offset", "value", "error", "message"),
    [
        (0, b"CSYM", IntegrityError, "not an object of a vault"),
        (4, b"\x02", FormatError, "format version 2"),
        (4, b"\x00", FormatError, "format version 0"),
        (5, b"\x03", IntegrityError, "another type"),
        (5, b"\x09", IntegrityError, "another type"),
        (6, b"\x00\x02", WrongKey, "epoch 2"),
        (6, b"\x00\x00", WrongKey, "epoch 0"),
    ],
)
def test_a_wrong_header_is_called_what_it_is(offset: int, value: bytes, error: type[VaultError], message: str) -> None:
    data = OBJECTS[LOG]
    with pytest.raises(error, match=message):
        codec.open_log(KEYS, LOG, data[:offset] + value + data[offset + len(value) :])


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (7, 1), (2**64 - 1, 2**32 - 1), (8, 2**32 - 1), (2**63, 8), (8, 0), (0, 2**32 - 1)],
)
def test_a_trailer_with_impossible_figures_is_refused(offset: int, length: int) -> None:
    data = OBJECTS[LOG]
    forged = data[:-44] + struct.pack(">QI", offset, length) + data[-32:]
    with pytest.raises(IntegrityError):
        codec.open_log(KEYS, LOG, forged)
    with pytest.raises(IntegrityError):
        codec.open_index(KEYS, LOG, forged)


def test_an_older_state_of_the_same_name_is_authentic() -> None:
    # The codec can't tell which of two entries that a device signed for one seq is the right one: that is for
    # the chain and for `seen`, so both carry digests of whole objects.
    first = codec.open_log(KEYS, LOG, OBJECTS[LOG])
    renamed = msgspec.structs.replace(ENTRY, name="other")
    second = codec.open_log(KEYS, LOG, codec.encode_log(KEYS, renamed, BLOBS))
    assert first.sha256 != second.sha256


# What follows holds the keys: objects that authenticate and yet must not be believed.


def forge(index: bytes, blobs: list[codec.Sealed] | None = None, name: str = LOG) -> bytes:
    return frame.assemble(KEYS, name, blobs or [], index)


def log_index(**changes: object) -> bytes:
    fields = {"blobs": [], "device": DEVICE, "seq": 1, "prev": "", "time_ns": 1, "name": "laptop", **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


ROW = {"path": "tree/a", "sha256": "ab" * 32}


def test_the_forge_makes_what_is_accepted_unless_damaged() -> None:
    assert codec.open_log(KEYS, LOG, forge(log_index(records=[ROW]))).entry.records[0].record.path == "tree/a"


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"\xff\xfe",
        b'{"blobs":' + b"[" * 100_000,
        log_index(unknown=1),
        log_index(device=...),
        log_index(device=OTHER),
        log_index(device="x"),
        log_index(seq=2, prev="ef" * 32),
        log_index(seq=1.5),
        log_index(seq="1"),
        log_index(seq=True),
        log_index(prev="ef" * 32),
        log_index(time_ns=2**80),
        log_index(name="x" * 256),
        log_index(seen={DEVICE: [1, "ab" * 32]}),
        log_index(seen={OTHER: [1]}),
        log_index(seen={f"{n:032x}": [1, "ab" * 32] for n in range(4097)}),
        log_index(objects=["packs/../../x"]),
        log_index(objects=["log/000000000002"]),
        log_index(objects=["log/000000000001"]),
        log_index(objects=[f"../{OTHER}/log/000000000001"]),
        log_index(objects=[f"packs/{'ab' * 32}"] * 2),
        log_index(records=[ROW, ROW]),
        log_index(records=[{**ROW, "unknown": 1}]),
        log_index(records=[{**ROW, "kind": "other"}]),
        log_index(records=[{**ROW, "seq": 1}]),
        log_index(records=[{**ROW, "path": "tree/../../x"}]),
        log_index(records=[{**ROW, "path": "/etc/passwd"}]),
        log_index(records=[{**ROW, "path": "tree/" + "/".join(["a"] * 5000)}]),
        log_index(records=[{**ROW, "size": -1}]),
        log_index(records=[{**ROW, "size": 10}]),
        log_index(records=[{**ROW, "vector": {DEVICE: 9}}]),
        log_index(records=[{**ROW, "vector": {OTHER: 0}}]),
        log_index(records=[{**ROW, "extends": {"seq": 1, "keep": 1}}]),
        log_index(records=[{**ROW, "size": 1, "slices": [[0, 0, 0, 1]]}]),
        log_index(records=[{**ROW, "size": 1, "slices": [[1, 0, 0, 1]]}]),
        log_index(records=[{**ROW, "size": 2**40, "slices": [[0, 0, 0, 2**40]]}]),
        log_index(records=[{**ROW, "kind": "tombstone"}]),
        log_index(records=[{"path": "tree/a"}]),
        log_index(records=[{"path": f"tree/{n}", "sha256": "ab" * 32} for n in range(8193)]),
    ],
)
def test_an_authentic_but_malformed_index_is_refused(index: bytes) -> None:
    with pytest.raises(FormatError, match=LOG):
        codec.open_log(KEYS, LOG, forge(index))


@pytest.mark.parametrize(
    "blobs",
    [
        [[9, 1, "ab" * 32, 1]],
        [[8, 2, "ab" * 32, 1]],
        [[0, 9, "ab" * 32, 1]],
        [[8, 0, "ab" * 32, 1]],
        [[8, 1, "ab" * 32, 0]],
        [[8, 1, "ab" * 32, 2**20 + 1]],
        [[8, 1, "ab", 1]],
        [[8, 1, "ab" * 32]],
        [[8, -1, "ab" * 32, 1]],
        [[8, 1, "ab" * 32, 1]] * 2,
        [],
    ],
)
def test_blobs_that_do_not_tile_are_refused(blobs: list[object]) -> None:
    # One byte lies between the header and the index, so only [[8, 1, ...]] is right.
    one = [codec.Sealed(b"x", "ab" * 32, 1)]
    assert len(codec.open_blobs(KEYS, LOG, forge(log_index(blobs=[[8, 1, "ab" * 32, 1]]), one))) == 1
    for name, index in ((LOG, log_index(blobs=blobs)), (PACK, json.dumps({"blobs": blobs}).encode())):
        with pytest.raises(FormatError, match=name):
            codec.open_blobs(KEYS, name, forge(index, one, name))


def test_more_blobs_than_an_object_may_have_are_refused() -> None:
    rows = [[8 + n, 1, "ab" * 32, 1] for n in range(layout.MAX_BLOBS + 1)]
    many = [codec.Sealed(b"x", "ab" * 32, 1)] * len(rows)
    with pytest.raises(FormatError, match="malformed"):
        codec.open_blobs(KEYS, PACK, forge(json.dumps({"blobs": rows}).encode(), many, PACK))


def test_an_index_that_is_a_bomb_is_refused() -> None:
    with pytest.raises(FormatError, match=f"the index of {LOG} decompresses to more"):
        codec.open_log(KEYS, LOG, forge(log_index() + b" " * layout.MAX_INDEX))


def test_a_blob_that_is_a_bomb_is_refused() -> None:
    data = seal.encrypt_to(seal.recipient_of(KEYS.current.identity), zstd.compress(bytes(1 << 28)))
    info = replace(codec.open_blobs(KEYS, PACK, PACK_DATA)[0], length=len(data), sha256=sha256(data).hexdigest())
    with pytest.raises(FormatError, match=f"blob 0 of {PACK} decompresses to more"):
        codec.open_blob(KEYS, PACK, 0, info, data)


def test_a_blob_of_another_length_than_its_index_says_is_refused() -> None:
    info = replace(codec.open_blobs(KEYS, PACK, PACK_DATA)[0], plain=6)
    with pytest.raises(FormatError, match="holds 5 bytes where its index says 6"):
        codec.open_blob(KEYS, PACK, 0, info, BLOBS[0].data)


def test_a_checkpoint_with_impossible_records_is_refused() -> None:
    def refused(*records: dict[str, object]) -> None:
        fields = {"blobs": [], "device": DEVICE, "seq": 5, "sha256": "ef" * 32, "time_ns": 1, "name": "laptop"}
        name = layout.checkpoint_name(DEVICE, 5)
        with pytest.raises(FormatError, match=name):
            read_checkpoint(KEYS, name, forge(json.dumps({**fields, "records": records}).encode(), name=name))

    refused(dict(ROW))
    refused({**ROW, "seq": 6})
    refused({**ROW, "seq": 1}, {**ROW, "seq": 1})
    refused({**ROW, "seq": 2, "extends": {"seq": 1, "keep": 0}})


def test_errors_say_which_object_and_nothing_secret() -> None:
    data = bytearray(OBJECTS[LOG])
    data[-1] ^= 1
    with pytest.raises(IntegrityError, match=LOG) as caught:
        codec.open_log(KEYS, LOG, bytes(data))
    assert KEYS.current.identity not in str(caught.value)
    assert KEYS.current.secret.hex() not in str(caught.value)
