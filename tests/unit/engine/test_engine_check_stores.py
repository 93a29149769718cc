"""What a check finds in each of two stores, and what it does not take for damage there."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import pytest
from devices import Device, Vault, settle
from mirroring import Mirroring, Places

from claude_syncd.crypto.keys import EpochKey, VaultKeys
from claude_syncd.engine.check import check
from claude_syncd.engine.compact import Compactor
from claude_syncd.errors import StoreUnavailable
from claude_syncd.vault import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from claude_syncd.core.status import CheckReport, StoreCheck
    from claude_syncd.store.base import Span

ONE, TWO = "memory://0", "memory://1"
HEADER, SLOT = b"the header", "keys/passphrase-1.age"


@pytest.fixture
def vault() -> Vault:
    made = Vault()
    made.keys = VaultKeys("ab" * 16, sha256(HEADER).hexdigest(), (EpochKey(1, b"k" * 32),))
    return made


@pytest.fixture
def places() -> Places:
    made = Places()
    for objects in made.objects:
        objects |= {"vault.json": HEADER, SLOT: b"slot"}
    return made


@pytest.fixture
async def ann(places: Places, vault: Vault, tmp_path: Path, stack: ExitStack) -> Mirroring:
    """A checkpoint, packs, log entries behind it, all of it in both places."""
    made = stack.enter_context(Mirroring(places, vault, tmp_path, "ann").running())
    bob = stack.enter_context(Mirroring(places, vault, tmp_path, "bob").running())
    for device in (made, bob):
        await device.start()
    made.write("agents/big.md", "big " * 600_000)
    bob.write("agents/bob.md", "bob\n")
    await settle(made, bob)
    await Compactor(made.site, made.round.between_rounds, made.round.outbox).compact()
    made.write("CLAUDE.md", "be kind\n")
    await settle(made, bob)
    for device in (made, bob):
        await device.catch_up()
    assert places.alike
    return made


def found(report: CheckReport) -> dict[tuple[str, str], str]:
    return {(one.store, one.object): one.problem for one in report.findings}


def stores(report: CheckReport) -> list[StoreCheck]:
    assert isinstance(report.stores, list)
    return report.stores


def objects(places: Places) -> list[str]:
    return [name for name in places.objects[0] if layout.try_parse(name) is not None]


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def test_a_sound_vault_is_whole_in_both(places: Places, ann: Mirroring) -> None:
    before = [dict(one) for one in places.objects]
    for read_data in (False, True):
        report = await check(ann.site, read_data=read_data)
        assert found(report) == {}
        assert report.objects == len(objects(places))
        assert [(one.url, one.objects, one.damaged, one.behind, one.problem) for one in stores(report)] == [
            (url, len(before[0]), 0, 0, "") for url in (ONE, TWO)
        ]
    assert [dict(one) for one in places.objects] == before
    assert not list(ann.places.state.glob("check-*"))


DAMAGES: Final[Sequence[Callable[[bytes], bytes]]] = [
    lambda data: flipped(data, 0),
    lambda data: flipped(data, 4),  # the version of the format
    lambda data: flipped(data, 7),  # the epoch of the key
    lambda data: flipped(data, -20),
    lambda data: data[:-1],
    lambda data: b"",
]


@pytest.mark.parametrize("number", [0, 1])
async def test_what_one_store_has_damaged_is_named_with_it(places: Places, ann: Mirroring, number: int) -> None:
    url, other = (ONE, TWO)[number], (ONE, TWO)[1 - number]
    one_of_each = {layout.parse(name).type: name for name in objects(places)}
    assert len(one_of_each) == 4
    for name in one_of_each.values():
        for damage in DAMAGES:
            whole = places.objects[number][name]
            places.objects[number][name] = damage(whole)
            report = await check(ann.site, read_data=True)
            assert found(report).keys() == {(url, name)}, name
            assert f"{other} has it whole" in found(report)[url, name]
            assert [one.damaged for one in stores(report)] == [int(number == 0), int(number == 1)]
            assert report.files >= 3
            places.objects[number][name] = whole


async def test_only_who_reads_the_data_sees_damage_within(places: Places, ann: Mirroring) -> None:
    packs = [name for name in objects(places) if "/packs/" in name]
    assert packs
    for name in packs:
        whole = places.objects[1][name]
        places.objects[1][name] = flipped(whole, 500)
        assert found(await check(ann.site, read_data=False)) == {}
        assert found(await check(ann.site, read_data=True)).keys() == {(TWO, name)}
        # Nobody is told that a copy is whole which was not looked at.
        places.objects[0][name] = whole[:-1]
        report = await check(ann.site, read_data=False)
        assert {url for url, object_ in found(report) if object_ == name} == {ONE, TWO}
        assert "no other store" in found(report)[ONE, name]
        places.objects[0][name] = places.objects[1][name] = whole


async def test_damage_in_both_is_a_loss_for_the_vault(places: Places, ann: Mirroring) -> None:
    name = next(name for name in objects(places) if "/packs/" in name)
    for one in places.objects:
        one[name] = flipped(one[name], 500)
    problems = found(await check(ann.site, read_data=True))
    assert {url for url, object_ in problems if object_ == name} == {ONE, TWO}
    assert "no other store" in problems[TWO, name]
    assert any(url == "" and path.startswith("tree/") for url, path in problems)


async def test_different_damage_in_each_leaves_every_blob_readable(places: Places, ann: Mirroring) -> None:
    name = max((name for name in objects(places) if "/packs/" in name), key=lambda name: len(places.objects[0][name]))
    size = len(places.objects[0][name])
    for one, at in zip(places.objects, (10, size // 2), strict=True):
        one[name] = flipped(one[name], at)
    report = await check(ann.site, read_data=True)
    assert found(report).keys() == {(ONE, name), (TWO, name)}


async def test_what_is_to_come_is_no_damage_and_what_is_there_is_checked(places: Places, ann: Mirroring) -> None:
    lost = [name for name in objects(places) if "/packs/" in name or "/checkpoints/" in name]
    for name in lost:
        del places.objects[1][name]
    report = await check(ann.site, read_data=True)
    assert found(report) == {}
    assert [(one.objects, one.behind) for one in stores(report)] == [
        (len(places.objects[0]), 0),
        (len(places.objects[1]), len(lost)),
    ]
    places.objects[1]["roster/000001"] += b"."
    assert found(await check(ann.site, read_data=False)).keys() == {(TWO, "roster/000001")}


async def test_what_is_missing_in_both_is_missing(places: Places, ann: Mirroring) -> None:
    name = next(name for name in objects(places) if "/packs/" in name)
    for one in places.objects:
        del one[name]
    report = await check(ann.site, read_data=False)
    assert "it is missing" in found(report)["", name]
    assert [one.behind for one in stores(report)] == [0, 0]


async def test_a_store_that_has_lost_the_end_of_a_log_was_rolled_back(places: Places, ann: Mirroring) -> None:
    area = layout.area(ann.site.me)
    del places.objects[1][max(name for name in objects(places) if name.startswith(f"{area}log/"))]
    report = await check(ann.site, read_data=False)
    assert "rolled back" in found(report)[TWO, area]
    assert [one.behind for one in stores(report)] == [0, 1]
    await ann.catch_up()
    assert found(await check(ann.site, read_data=False)) == {}


async def test_an_object_that_missed_its_deletion_is_none(places: Places, ann: Mirroring) -> None:
    name = next(name for name in objects(places) if "/packs/" in name)
    places.objects[0][f"{name[:-4]}0000"] = places.objects[1][f"{name[:-4]}0000"] = b"left over"
    ann.two.weather = "down"
    await ann.site.store.delete(f"{name[:-4]}0000")
    ann.two.weather = "up"
    report = await check(ann.site, read_data=True)
    assert found(report) == {}
    assert [one.behind for one in stores(report)] == [0, 0]


@pytest.mark.parametrize("number", [0, 1])
async def test_a_store_that_is_down_is_told_and_the_other_checked(places: Places, ann: Mirroring, number: int) -> None:
    name = next(name for name in objects(places) if "/packs/" in name)
    places.objects[1 - number][name] = flipped(places.objects[1 - number][name], -20)
    ann.views[number].weather = "down"
    report = await check(ann.site, read_data=True)
    told = stores(report)[number]
    assert (told.objects, told.problem) == (
        0,
        f"{(ONE, TWO)[number]} was not checked, it is out of reach: nobody answers",
    )
    assert told.hint
    problems = found(report)
    assert ((ONE, TWO)[1 - number], name) in problems
    assert any(path.startswith("tree/") for _, path in problems)  # in reach it is whole nowhere
    ann.views[1 - number].weather = "down"
    with pytest.raises(StoreUnavailable):
        await check(ann.site, read_data=False)


class Failing:
    """A store that goes away after so many calls."""

    def __init__(self, device: Mirroring, number: int, calls: int) -> None:
        self.left = calls
        assert device.site.mirror is not None
        self.member = device.site.mirror.members[number]
        self.store, self.member.store = self.member.store, self  # type: ignore[assignment]
        self.address = self.store.address

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("it went away", retry_after=3600.0)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        self._count()
        return await self.store.get(name, span)

    async def list(self, prefix: str) -> object:
        self._count()
        return await self.store.list(prefix)


@pytest.mark.parametrize("number", [0, 1])
async def test_a_store_that_goes_away_meanwhile_is_told(places: Places, ann: Mirroring, number: int) -> None:
    whole, was_cut_off = len(places.objects[0]), set()
    spoilt = "roster/000002"  # in the other, so that this one's copy is looked at again
    places.objects[1 - number][spoilt] += b"."
    for calls in range(1, 40):
        failing = Failing(ann, number, calls)
        report = await check(ann.site, read_data=True)
        failing.member.store = failing.store
        assert found(report).keys() == {((ONE, TWO)[1 - number], spoilt)}
        assert report.files >= 3
        told, other = stores(report)[number], stores(report)[1 - number]
        assert (other.objects, other.problem) == (whole, "")
        assert ("it went away" in told.problem) == (failing.left < 0)
        was_cut_off.add(failing.left < 0)
    assert was_cut_off == {True, False}


async def test_another_header_is_found_and_its_store_left_alone(places: Places, ann: Mirroring) -> None:
    places.objects[1]["vault.json"] = flipped(HEADER, 3)
    report = await check(ann.site, read_data=False)
    assert found(report).keys() == {(TWO, "vault.json")}
    assert [one.objects > 0 for one in stores(report)] == [True, False]
    assert "not checked" in stores(report)[1].problem


async def test_key_slots_must_be_alike(places: Places, ann: Mirroring) -> None:
    places.objects[1][SLOT] = b"slit"
    assert found(await check(ann.site, read_data=False)).keys() == {(TWO, SLOT)}


async def test_status_says_what_a_check_found_until_another_finds_it_whole(places: Places, ann: Mirroring) -> None:
    name = next(name for name in objects(places) if "/packs/" in name)
    whole = places.objects[1][name]
    places.objects[1][name] = flipped(whole, -20)
    await check(ann.site, read_data=False)
    assert [one.state for one in ann.status().stores] == ["ok", "disagrees"]
    places.objects[1][name] = whole
    await check(ann.site, read_data=True)
    assert [one.state for one in ann.status().stores] == ["ok", "ok"]


async def test_what_is_moved_away_is_copied_again(places: Places, ann: Mirroring) -> None:
    for number in (0, 1):
        for name in [name for name in objects(places) if name.startswith(layout.area(ann.site.me))]:
            places.objects[number][name] = flipped(places.objects[number][name], -20)
            assert len(found(await check(ann.site, read_data=True))) == 1
            del places.objects[number][name]
            await ann.catch_up()
            assert places.alike
    assert found(await check(ann.site, read_data=True)) == {}


async def test_one_store_has_no_word_about_stores(pair: tuple[Device, Device]) -> None:
    await settle(*pair)
    from claude_syncd.ctl.view import plain

    assert "stores" not in plain(await check(pair[0].site, read_data=False))
