import hashlib
import string
import struct
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vault_samples import DEVICE, OTHER, file_record, sample_entry, sample_keys

from claude_syncd.core.model import Checkpoint, Extends, Kind, LogEntry, Published, Record, RosterEntry, Seen, Slice
from claude_syncd.errors import FormatError, WrongKey
from claude_syncd.vault import codec, layout

KEYS = sample_keys()
NAME = layout.log_name(DEVICE, 1)
PACK = layout.pack_name(DEVICE, "ab" * 32)

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
devices = st.binary(min_size=16, max_size=16).map(bytes.hex).filter(lambda device: device != DEVICE)
seqs = st.integers(1, layout.MAX_SEQ)
times = st.integers(-(2**63), 2**63 - 1)
parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda part: part not in {".", ".."}
)
paths = st.builds(
    lambda root, rest: "/".join([root, *rest]),
    st.sampled_from(["tree", "conflicts"]),
    st.lists(parts, min_size=1, max_size=4),
)


@st.composite
def published(draw: st.DrawFn, path: str, seq: int, *, extends: bool = True) -> Published:
    kind = draw(st.sampled_from(Kind))
    vector = {**draw(st.dictionaries(devices, seqs, max_size=3)), DEVICE: seq}
    mode, mtime_ns = draw(st.integers(0, 0o7777)), draw(times)
    if kind is not Kind.FILE:
        return Published(
            record=Record(path=path, kind=kind, device=DEVICE, seq=seq, vector=vector, mtime_ns=mtime_ns, mode=mode)
        )
    slices = tuple(
        Slice(name, blob, start, length)
        for name, blob, start, length in draw(
            st.lists(
                st.tuples(
                    st.sampled_from([PACK, layout.pack_name(DEVICE, "cd" * 32)]),
                    st.integers(0, layout.MAX_BLOBS - 1),
                    st.integers(0, layout.MAX_BLOB_PLAIN // 2),
                    st.integers(1, layout.MAX_BLOB_PLAIN // 2),
                ),
                max_size=5,
            )
        )
    )
    kept = None
    size = sum(s.length for s in slices)
    if extends and seq > 1 and draw(st.booleans()):
        kept = Extends(path=draw(paths), seq=draw(st.integers(1, seq - 1)), keep=draw(st.integers(0, 1000)))
        size += draw(st.integers(0, 2**40))
    record = Record(
        path=path,
        kind=kind,
        device=DEVICE,
        seq=seq,
        vector=vector,
        size=size,
        mtime_ns=mtime_ns,
        mode=mode,
        sha256=draw(digests),
    )
    return Published(record=record, extends=kept, slices=slices)


@st.composite
def entries(draw: st.DrawFn) -> LogEntry:
    seq = draw(seqs)
    return LogEntry(
        device=DEVICE,
        seq=seq,
        prev="" if seq == 1 else draw(digests),
        time_ns=draw(times),
        name=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=255)),
        seen=draw(st.dictionaries(devices, st.builds(Seen, seqs, digests), max_size=3)),
        records=tuple([draw(published(path, seq)) for path in draw(st.lists(paths, max_size=4, unique=True))]),
    )


@given(entries(), st.lists(st.binary(min_size=1, max_size=300), max_size=3))
def test_a_log_entry_reads_back(entry: LogEntry, plains: list[bytes]) -> None:
    blobs = [codec.seal_chunk(KEYS, plain) for plain in plains]
    data = codec.encode_log(KEYS, entry, blobs)
    name = layout.log_name(entry.device, entry.seq)
    opened = codec.open_log(KEYS, name, data)
    assert opened.entry == entry
    assert opened.sha256 == hashlib.sha256(data).hexdigest()
    assert [
        codec.open_blob(KEYS, name, n, info, data[info.offset : info.offset + info.length])
        for n, info in enumerate(opened.blobs)
    ] == plains


@given(st.data())
def test_a_checkpoint_reads_back(data: st.DataObject) -> None:
    seq = data.draw(seqs)
    dots = data.draw(st.lists(st.tuples(paths, st.integers(1, seq)), max_size=4, unique=True))
    checkpoint = Checkpoint(
        device=DEVICE,
        seq=seq,
        sha256=data.draw(digests),
        time_ns=data.draw(times),
        name="laptop",
        seen={OTHER: Seen(3, "0d" * 32)},
    )
    records = [data.draw(published(path, at, extends=False)) for path, at in dots]
    encoded = codec.encode_checkpoint(KEYS, checkpoint, records)
    opened = codec.open_checkpoint(KEYS, layout.checkpoint_name(DEVICE, seq), encoded)
    assert (opened.checkpoint, opened.blobs) == (checkpoint, ())
    assert opened.sha256 == hashlib.sha256(encoded).hexdigest()
    assert [one for portion in opened.records for one in portion] == records


def test_a_checkpoint_of_many_records_and_objects_reads_back_in_portions() -> None:
    checkpoint = Checkpoint(device=DEVICE, seq=9, sha256="ef" * 32, time_ns=1, name="laptop", seen={})
    records = [
        file_record(f"tree/{n}", b"x", n % 9 + 1, Slice(layout.pack_name(DEVICE, f"{n // 3:064x}"), 0, 0, 1))
        for n in range(3000)
    ]
    encoded = codec.encode_checkpoint(KEYS, checkpoint, iter(records))
    opened = codec.open_checkpoint(KEYS, layout.checkpoint_name(DEVICE, 9), encoded)
    portions = list(opened.records)
    assert len(portions) > 1
    assert [one for portion in portions for one in portion] == records


def test_a_checkpoint_that_no_reader_would_take_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(device=DEVICE, seq=5, sha256="ef" * 32, time_ns=1, name="laptop", seen={})
    good = file_record("tree/a", b"x", 5, Slice(PACK, 0, 0, 1))
    for records in (
        [good, good],
        [file_record("tree/a", b"x", 6, Slice(PACK, 0, 0, 1))],
        [file_record("tree/a", b"x", 5, extends=Extends(path="tree/a", seq=1, keep=1))],
        [file_record("tree/a", b"x", 5, Slice(layout.log_name(DEVICE, 6), 0, 0, 1))],
        [file_record("tree/a", b"xy", 5, Slice(PACK, 0, 0, 1))],
    ):
        with pytest.raises(FormatError):
            codec.encode_checkpoint(KEYS, checkpoint, records)
    for wrong in (
        msgspec.structs.replace(checkpoint, sha256=""),
        msgspec.structs.replace(checkpoint, seen={DEVICE: Seen(1, "ab" * 32)}),
    ):
        with pytest.raises(FormatError):
            codec.encode_checkpoint(KEYS, wrong, [good])
    codec.encode_checkpoint(KEYS, checkpoint, [good])
    for bound in ("MAX_CHECKPOINT_INDEX", "MAX_CHECKPOINT_RECORDS", "MAX_SLICES"):
        with monkeypatch.context() as patch:
            patch.setattr(layout, bound, 0)
            with pytest.raises(FormatError):
                codec.encode_checkpoint(KEYS, checkpoint, [good])


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_a_pack_reads_back_from_all_of_it_or_from_its_end(plains: list[bytes]) -> None:
    name, data = codec.encode_pack(KEYS, DEVICE, [codec.seal_chunk(KEYS, plain) for plain in plains])
    blobs = codec.open_blobs(KEYS, name, data)
    tail = data[-codec.index_size(name, data[-44:]) :]
    assert codec.open_index(KEYS, name, tail) == blobs
    assert [
        codec.open_blob(KEYS, name, n, info, data[info.offset : info.offset + info.length])
        for n, info in enumerate(blobs)
    ] == plains


def test_a_packs_name_is_the_digest_of_what_the_mac_follows() -> None:
    name, data = codec.encode_pack(KEYS, DEVICE, [codec.seal_chunk(KEYS, b"plain")])
    assert name == layout.pack_name(DEVICE, hashlib.sha256(data[:-32]).hexdigest())


def test_the_mac_is_the_documented_one() -> None:
    name, data = codec.encode_pack(KEYS, DEVICE, [codec.seal_chunk(KEYS, b"plain")])
    index_offset, index_length = struct.unpack(">QI", data[-44:-32])
    mac_key = hashlib.blake2b(b"mac", key=KEYS.current.secret, digest_size=32, person=b"claude-syncd-v1").digest()
    covered = [
        KEYS.vault_id.encode(),
        struct.pack(">H", len(name)),
        name.encode(),
        b"CSYN" + bytes([1, 3, 0, 1]),
        data[-44:-32],
        data[index_offset : index_offset + index_length],
    ]
    expected = hashlib.blake2b(b"".join(covered), key=mac_key, digest_size=32, person=b"claude-syncd-mac").digest()
    assert data[-32:] == expected


def test_a_roster_entry_reads_back() -> None:
    entry = RosterEntry(number=7, device=DEVICE, name="läptop", time_ns=5)
    assert codec.open_roster(KEYS, "roster/000007", codec.encode_roster(KEYS, entry)) == entry


def test_objects_of_an_older_epoch_stay_readable() -> None:
    rotated = sample_keys(epochs=2)
    name, data = codec.encode_pack(KEYS, DEVICE, [codec.seal_chunk(KEYS, b"plain")])
    assert rotated.ring[0] == KEYS.current
    blobs = codec.open_blobs(rotated, name, data)
    assert codec.open_index(rotated, name, data) == blobs
    assert codec.open_blob(rotated, name, 0, blobs[0], data[8 : 8 + blobs[0].length]) == b"plain"
    newer, newer_data = codec.encode_pack(rotated, DEVICE, [codec.seal_chunk(rotated, b"plain")])
    with pytest.raises(WrongKey, match="epoch 2"):
        codec.open_blobs(KEYS, newer, newer_data)


def test_an_append_of_two_kilobytes_is_small() -> None:
    text = "".join(
        f'{{"uuid":"{hashlib.sha256(bytes([n])).hexdigest()[:32]}","text":"{string.ascii_lowercase * 4}"}}\n'
        for n in range(14)
    ).encode()
    assert 2000 < len(text) < 2300
    path = "tree/projects/~-dev-app/0b0e6f4e-6a2e-4f7e-9d6d-0d6c2d0f4a11.jsonl"
    name = layout.log_name(DEVICE, 9)
    record = file_record(path, text, 9, Slice(name, 0, 0, len(text)), extends=Extends(path=path, seq=8, keep=500))
    data = codec.encode_log(KEYS, sample_entry(record, seq=9), [codec.seal_chunk(KEYS, text)])
    assert len(data) < 3000


def altered(**changes: object) -> LogEntry:
    return msgspec.structs.replace(sample_entry(file_record("tree/a", b"", 1)), **changes)


def with_record(**changes: object) -> LogEntry:
    one = file_record("tree/a", b"", 1)
    return altered(records=(msgspec.structs.replace(one, record=msgspec.structs.replace(one.record, **changes)),))


def with_slices(content: bytes, *slices: Slice, extends: Extends | None = None) -> LogEntry:
    return altered(records=(file_record("tree/a", content, 1, *slices, extends=extends),))


@pytest.mark.parametrize(
    "entry",
    [
        altered(prev="ef" * 32),
        altered(prev="EF" * 32),
        altered(device="nobody"),
        altered(seq=0),
        altered(seq=2),  # no previous one, and records of seq 1
        altered(name="x" * 256),
        altered(time_ns=2**63),
        altered(seen={DEVICE: Seen(1, "0d" * 32)}),
        altered(seen={"nobody": Seen(1, "0d" * 32)}),
        altered(seen={OTHER: Seen(0, "0d" * 32)}),
        altered(records=(file_record("tree/a", b"", 1),) * 2),
        altered(records=tuple(file_record(f"tree/{n}", b"", 1) for n in range(layout.MAX_RECORDS + 1))),
        with_record(path="tree/../a"),
        with_record(path="tree/\ud800"),
        with_record(device=OTHER),
        with_record(seq=2),
        with_record(vector={OTHER: 1}),
        with_record(vector={DEVICE: 2}),
        with_record(vector={DEVICE: 1, "nobody": 1}),
        with_record(size=1),
        with_record(size=-1),
        with_record(sha256=""),
        with_record(sha256="ab"),
        with_record(mode=0o10000),
        with_record(mtime_ns=2**64),
        with_record(kind=Kind.TOMBSTONE),
        with_slices(b"a", Slice(NAME, 0, 0, 1)),
        with_slices(b"a", Slice(PACK, 0, layout.MAX_BLOB_PLAIN, 1)),
        with_slices(b"a", Slice(PACK, layout.MAX_BLOBS, 0, 1)),
        with_slices(b"a", Slice(PACK, 0, 0, 2)),
        with_slices(b"", Slice(PACK, 0, 0, 0)),
        with_slices(b"a", Slice(PACK, 0, -1, 1)),
        with_slices(b"a", Slice(layout.pack_name(OTHER, "ab" * 32), 0, 0, 1)),
        with_slices(b"a", Slice("roster/000001", 0, 0, 1)),
        with_slices(b"a", Slice(f"devices/{DEVICE}/../{OTHER}/log/000000000001", 0, 0, 1)),
        with_slices(b"a", Slice(layout.log_name(DEVICE, 2), 0, 0, 1)),
        with_slices(b"a", extends=Extends(path="tree/a", seq=1, keep=1)),
        with_slices(b"a", extends=Extends(path="tree/a", seq=0, keep=1)),
    ],
)
def test_an_entry_that_no_reader_would_take_is_never_written(entry: LogEntry) -> None:
    with pytest.raises(FormatError):
        codec.encode_log(KEYS, entry, [])


def test_a_slice_of_an_own_blob_stays_within_it() -> None:
    blob = codec.seal_chunk(KEYS, b"plain")
    codec.encode_log(KEYS, with_slices(b"pla", Slice(NAME, 0, 0, 3)), [blob])
    for beyond in (Slice(NAME, 0, 3, 3), Slice(NAME, 1, 0, 3)):
        with pytest.raises(FormatError, match="beyond its blobs"):
            codec.encode_log(KEYS, with_slices(b"pla", beyond), [blob])


@pytest.mark.parametrize("plain", [b"", bytes(layout.MAX_BLOB_PLAIN + 1)])
def test_a_chunk_that_is_empty_or_too_large_is_refused(plain: bytes) -> None:
    with pytest.raises(FormatError, match="1 MiB"):
        codec.seal_chunk(KEYS, plain)


@pytest.mark.parametrize("number", [0, 1_000_000])
def test_a_roster_number_beyond_bounds_is_refused(number: int) -> None:
    with pytest.raises(FormatError):
        codec.encode_roster(KEYS, RosterEntry(number=number, device=DEVICE, name="x", time_ns=0))


def test_an_object_beyond_the_largest_is_refused() -> None:
    huge = codec.Sealed(bytes(34 << 20), "ab" * 32, 1)
    with pytest.raises(FormatError, match="more than an object may"):
        codec.encode_pack(KEYS, DEVICE, [huge])


@pytest.mark.parametrize("opener", [codec.open_log, codec.open_roster, codec.open_checkpoint])
def test_a_name_of_another_type_is_refused(opener: Callable[..., object]) -> None:
    name, data = codec.encode_pack(KEYS, DEVICE, [codec.seal_chunk(KEYS, b"plain")])
    with pytest.raises(FormatError, match="not the name of"):
        opener(KEYS, name, data)
