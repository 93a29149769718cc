"""What a check of the vault finds, and what it does not take for a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices import Device, settle

from claude_syncd.engine.check import check
from claude_syncd.engine.compact import Compactor
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from claude_syncd.core.status import CheckReport

Pair = tuple[Device, Device]


async def filled(pair: Pair) -> Pair:
    """A checkpoint, log entries behind it, a conflict, a deletion, files of more than one blob."""
    ann, bob = pair
    ann.write("CLAUDE.md", "be kind\n")
    ann.write("agents/big.md", "big " * 600_000)
    ann.write("agents/x.json", '"one"')
    await settle(ann, bob)
    ann.write("agents/x.json", '"ann"', age=20)
    bob.write("agents/x.json", '"bob"', age=10)
    await settle(ann, bob)
    await Compactor(ann.site, ann.round.between_rounds, ann.round.outbox).compact()
    ann.write("CLAUDE.md", "be kinder\n", age=1)
    (ann.places.tree / "agents/big.md").unlink()
    await settle(ann, bob)
    return ann, bob


def problems(report: CheckReport) -> dict[str, str]:
    return {finding.object: finding.problem for finding in report.findings}


async def test_a_sound_vault_has_nothing_wrong_with_it(pair: Pair) -> None:
    ann, bob = await filled(pair)
    before = dict(ann.vault.objects)
    for device in (ann, bob):
        report = await check(device.site, read_data=False)
        assert (problems(report), report.more, report.files, report.bytes_read) == ({}, 0, 0, 0)
        assert report.objects == len(before)
        report = await check(device.site, read_data=True)
        assert problems(report) == {}
        assert report.files >= 6
        assert report.bytes_read > 2_400_000
    assert ann.vault.objects == before
    assert not list(ann.places.state.glob("check-*"))


async def test_each_damage_is_found_and_named(pair: Pair) -> None:
    ann, _ = await filled(pair)
    sound = dict(ann.vault.objects)
    for name, data in sound.items():
        where = len(data) - 20  # the MAC
        ann.vault.objects[name] = data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :]
        assert name in problems(await check(ann.site, read_data=False)), name
        ann.vault.objects[name] = data
    packs = [name for name in sound if "/packs/" in name]
    assert packs
    for name in packs:
        ann.vault.objects[name] = sound[name][:500] + bytes([sound[name][500] ^ 1]) + sound[name][501:]
        assert problems(await check(ann.site, read_data=False)) == {}  # only who reads the data can tell
        found = problems(await check(ann.site, read_data=True))
        assert name in found
        assert any(path.startswith(("tree/", "conflicts/")) for path in found)
        for place in range(8):  # its head, which nobody reads who reads only some of its blobs
            ann.vault.objects[name] = sound[name][:place] + bytes([sound[name][place] ^ 1]) + sound[name][place + 1 :]
            assert problems(await check(ann.site, read_data=True)).keys() == {name}
        ann.vault.objects[name] = sound[name]


async def test_what_is_missing_is_found(pair: Pair) -> None:
    ann, bob = await filled(pair)
    sound = dict(ann.vault.objects)
    newest = max(name for name in sound if name.startswith(f"{layout.area(ann.site.me)}log/"))
    del ann.vault.objects[newest]
    assert "rolled back" in problems(await check(bob.site, read_data=False))[newest]
    ann.vault.objects |= sound
    pack = next(name for name in sound if "/packs/" in name)
    del ann.vault.objects[pack]
    assert "missing" in problems(await check(bob.site, read_data=False))[pack]
    ann.vault.objects |= sound
    del ann.vault.objects["roster/000001"]
    assert "roster/000001" in problems(await check(bob.site, read_data=False))


async def test_what_nothing_names_is_told_and_is_no_fault(pair: Pair) -> None:
    ann, _ = await filled(pair)
    from claude_syncd.vault import codec

    name, data = codec.encode_pack(ann.vault.keys, ann.site.me, [codec.seal_chunk(ann.vault.keys, b"left over")])
    before = await check(ann.site, read_data=False)
    ann.vault.objects[name] = data
    report = await check(ann.site, read_data=True)
    assert problems(report) == {}
    assert report.spare_objects == before.spare_objects + 1
    assert report.spare_bytes == before.spare_bytes + len(data)
