"""Two stores that hold one vault: what counts, who is asked, and what is caught up when one was away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from shaky_store import ShakyStore

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreUnavailable
from claude_syncd.store import mirror as mirrors
from claude_syncd.store.catch_up import catch_up, check_headers
from claude_syncd.store.mirror import Mirrored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ME, OTHER = "a" * 32, "b" * 32
HEADER = b"the header"
DIGEST = sha256(HEADER).hexdigest()
MINE = f"devices/{ME}/"
THEIRS = f"devices/{OTHER}/"


def log(seq: int, area: str = MINE) -> str:
    return f"{area}log/{seq:012}"


def pack(number: int, area: str = MINE) -> str:
    return f"{area}packs/{number:064x}"


@pytest.fixture
def one() -> ShakyStore:
    return vault("memory://one")


@pytest.fixture
def two() -> ShakyStore:
    return vault("memory://two")


def vault(address: str) -> ShakyStore:
    store = ShakyStore(address)
    store.objects = {"vault.json": HEADER, "keys/passphrase-1.age": b"slot", "roster/000001": b"me"}
    return store


class Notes:
    """What a mirror has written down."""

    def __init__(self) -> None:
        self.text: bytes | None = None
        self.writings = 0

    def save(self, text: bytes) -> None:
        self.text = text
        self.writings += 1


@asynccontextmanager
async def mirrored(
    *stores: ShakyStore, notes: Notes | None = None, patience: float = 3600.0
) -> AsyncIterator[Mirrored]:
    notes = notes or Notes()
    mirror = Mirrored(stores, notes=notes.text, save=notes.save, patience=patience, farewell=0.0)
    try:
        yield mirror
    finally:
        await mirror.close()


async def whole(_: str, data: bytes) -> bool:
    return not data.startswith(b"rot")


async def caught_up(mirror: Mirrored) -> int:
    return await catch_up(mirror, {ME}, {ME, OTHER}, DIGEST, whole=whole)


def states(mirror: Mirrored) -> list[tuple[str, int]]:
    return [(standing.state, standing.behind) for standing in mirror.standing()]


class Late(ShakyStore):
    """A store that takes its time for puts without a condition, until it is told not to."""

    def __init__(self) -> None:
        super().__init__("memory://late")
        self.now = asyncio.Event()

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        if not if_absent:
            await self.now.wait()
        await super().put(name, data, if_absent=if_absent)


async def test_a_conditional_put_sees_what_one_of_them_has_not_got_yet(two: ShakyStore) -> None:
    one = Late()
    async with mirrored(one, two) as mirror:
        await mirror.put("roster/000002", b"first")
        second = asyncio.create_task(mirror.put("roster/000002", b"second", if_absent=True))
        for _ in range(10):
            await asyncio.sleep(0)
        one.now.set()
        with pytest.raises(AlreadyExists):
            await second
        await mirror.settled()
        assert [store.objects["roster/000002"] for store in (one, two)] == [b"first"] * 2


async def test_a_put_reaches_both(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one, two) as mirror:
        await mirror.put(log(1), b"entry", if_absent=True)
        await mirror.put(pack(1), b"pack")
        await mirror.settled()
        assert one.objects == two.objects
        assert one.objects[log(1)] == b"entry"
        assert states(mirror) == [("ok", 0), ("ok", 0)]


@pytest.mark.parametrize("weather", ["down", "silent"])
@pytest.mark.parametrize("conditional", [True, False])
async def test_a_put_waits_for_nobody_but_one(
    one: ShakyStore, two: ShakyStore, weather: str, *, conditional: bool
) -> None:
    two.weather = weather  # type: ignore[assignment]
    async with mirrored(one, two) as mirror:
        await mirror.put(log(1), b"entry", if_absent=conditional)
        assert one.objects[log(1)] == b"entry"
        assert log(1) not in two.objects
        two.weather = "up"
        await caught_up(mirror)
        assert two.objects[log(1)] == b"entry"


async def test_a_silent_first_store_holds_up_a_conditional_put_for_so_long_only(
    one: ShakyStore, two: ShakyStore
) -> None:
    one.weather = "silent"
    async with mirrored(one, two, patience=0.01) as mirror:
        await mirror.put(log(1), b"entry", if_absent=True)
        assert two.objects[log(1)] == b"entry"
        assert await mirror.get(log(1)) == b"entry"
        one.weather = "up"
        await mirror.settled()
        assert one.objects == two.objects


async def test_who_is_down_is_asked_once(one: ShakyStore, two: ShakyStore) -> None:
    one.weather = "down"
    async with mirrored(one, two) as mirror:
        for seq in range(1, 5):
            await mirror.put(log(seq), b"entry", if_absent=True)
            assert await mirror.get(log(seq)) == b"entry"
        assert one.asked == [("put", log(1))]
        assert states(mirror)[0] == ("unreachable", 4)
        assert "out of reach" in mirror.standing()[0].problem
        one.weather = "up"
        assert await caught_up(mirror) == 4
        assert one.objects == two.objects
        assert states(mirror) == [("ok", 0), ("ok", 0)]


async def test_with_both_down_nothing_counts(one: ShakyStore, two: ShakyStore) -> None:
    one.weather = two.weather = "down"
    async with mirrored(one, two) as mirror:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await mirror.put(log(1), b"entry")
            with pytest.raises(StoreUnavailable):
                await mirror.put("keys/a.age", b"slot")
            with pytest.raises(StoreUnavailable):
                await mirror.get(log(1))
            with pytest.raises(StoreUnavailable):
                await mirror.list("")
            with pytest.raises(StoreUnavailable):
                await mirror.delete(log(1))
            with pytest.raises(StoreUnavailable):
                await caught_up(mirror)
        one.weather = "up"
        await mirror.put(log(1), b"entry")
        assert one.objects[log(1)] == b"entry"


async def test_the_first_store_decides_who_wins_a_name(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one, two) as here, mirrored(one, two) as there:
        await here.put("roster/000002", b"here", if_absent=True)
        with pytest.raises(AlreadyExists):
            await there.put("roster/000002", b"there", if_absent=True)
        await here.settled()
        assert one.objects["roster/000002"] == two.objects["roster/000002"] == b"here"


async def test_a_missing_object_is_asked_for_in_the_other(one: ShakyStore, two: ShakyStore) -> None:
    two.objects[pack(1)] = b"pack"
    two.objects[log(9, THEIRS)] = b"news"
    async with mirrored(one, two) as mirror:
        assert await mirror.get(pack(1)) == b"pack"
        assert await mirror.get(log(9, THEIRS)) == b"news"
        with pytest.raises(ObjectMissing):
            await mirror.get(pack(2))


async def test_missing_is_believed_without_the_other_only_for_what_is_guessed(one: ShakyStore, two: ShakyStore) -> None:
    two.weather = "down"
    async with mirrored(one, two) as mirror:
        for name in (log(1, THEIRS), "roster/000002"):
            with pytest.raises(ObjectMissing):
                await mirror.get(name)
        with pytest.raises(StoreUnavailable):
            await mirror.get(pack(1))
        two.weather = "up"
        two.objects[pack(1)] = b"pack"
        assert await mirror.get(pack(1)) == b"pack"  # who is believed to be down is asked before giving up


async def test_listings_are_united(one: ShakyStore, two: ShakyStore) -> None:
    one.objects[log(1)] = b"1"
    two.objects[log(2)] = b"22"
    async with mirrored(one, two) as mirror:
        assert [(info.name, info.size) for info in await mirror.list(MINE)] == [(log(1), 1), (log(2), 2)]
        two.weather = "down"
        assert [info.name for info in await mirror.list(MINE)] == [log(1)]


async def test_a_deletion_that_one_missed_does_not_bring_the_object_back(one: ShakyStore, two: ShakyStore) -> None:
    notes = Notes()
    async with mirrored(one, two, notes=notes) as mirror:
        await mirror.put(pack(1), b"dead")
        await mirror.settled()
        two.weather = "down"
        await mirror.delete(pack(1))
        two.weather = "up"
        # Not read or listed from where it still is.
        with pytest.raises(ObjectMissing):
            await mirror.get(pack(1))
        assert pack(1) not in [info.name for info in await mirror.list("")]
    assert pack(1) in two.objects
    async with mirrored(one, two, notes=notes) as later:  # after a restart
        assert await caught_up(later) == 1
        assert pack(1) not in one.objects
        assert one.objects == two.objects
        assert await caught_up(later) == 0


async def test_a_slot_that_was_removed_stays_so_and_one_that_was_added_arrives(
    one: ShakyStore, two: ShakyStore
) -> None:
    notes = Notes()
    async with mirrored(one, two, notes=notes) as mirror:
        two.weather = "down"
        await mirror.put("keys/passphrase-2.age", b"new", if_absent=True)
        await mirror.delete("keys/passphrase-1.age")
    two.weather = "up"
    async with mirrored(one, two) as another:  # another device knows of nothing, and touches nothing
        await caught_up(another)
        assert "keys/passphrase-1.age" not in one.objects
        assert "keys/passphrase-2.age" not in two.objects
    async with mirrored(one, two, notes=notes) as mirror:
        await caught_up(mirror)
        assert one.objects == two.objects
        assert [name for name in one.objects if name.startswith("keys/")] == ["keys/passphrase-2.age"]


async def test_each_outage_in_turn_leaves_the_newest_slot(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one, two) as mirror:
        two.weather = "down"
        await mirror.put("keys/a.age", b"first")
        one.weather, two.weather = "down", "up"
        with pytest.raises(StoreUnavailable):
            await mirror.put("keys/a.age", b"second")
        await mirror.put("keys/a.age", b"second")  # with none believed to be up, all are asked
        one.weather = "up"
        assert await mirror.get("keys/a.age") == b"second"
        await caught_up(mirror)
        assert one.objects["keys/a.age"] == two.objects["keys/a.age"] == b"second"


async def test_only_what_is_this_devices_own_is_copied(one: ShakyStore, two: ShakyStore) -> None:
    one.objects |= {log(1): b"mine", log(1, THEIRS): b"theirs", "roster/000002": b"them", "photo.jpg": b"dear"}
    async with mirrored(one, two) as mirror:
        assert await caught_up(mirror) == 2
        assert two.objects.keys() == one.objects.keys() - {log(1, THEIRS), "photo.jpg"}
        assert states(mirror) == [("ok", 0), ("behind", 1)]


async def test_a_store_that_lost_everything_is_filled(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one, two) as mirror:
        await mirror.put(log(1), b"entry")
        await mirror.put(pack(1), b"pack")
        await mirror.settled()
        before = dict(one.objects)
        one.objects.clear()
        assert await mirror.get(log(1)) == b"entry"
        assert await caught_up(mirror) == 5
        assert one.objects == two.objects == before
        copied = [name for kind, name in one.asked if kind == "put"][-5:]
        assert (copied[0], copied[-1]) == ("vault.json", log(1))


async def test_an_older_state_is_reported_and_changes_nothing(one: ShakyStore, two: ShakyStore) -> None:
    notes = Notes()
    async with mirrored(one, two, notes=notes) as mirror:
        for store in (one, two):
            store.objects |= {log(seq, THEIRS): b"%d" % seq for seq in range(1, 6)}
        await caught_up(mirror)
    for seq in (3, 4, 5):
        del two.objects[log(seq, THEIRS)]
    async with mirrored(one, two, notes=notes) as mirror:
        assert await caught_up(mirror) == 0
        assert await mirror.get(log(5, THEIRS)) == b"5"
        assert states(mirror) == [("ok", 0), ("disagrees", 3)]
        assert f"the log of device {OTHER[:8]} ends at 2, and had 5" in mirror.standing()[1].problem
        assert "memory://two" in mirror.standing()[1].problem
        two.objects |= {log(seq, THEIRS): b"%d" % seq for seq in (3, 4, 5)}  # its owner has caught it up
        await caught_up(mirror)
        assert states(mirror) == [("ok", 0), ("ok", 0)]


async def test_a_log_that_was_compacted_is_no_older_state(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one, two) as mirror:
        for store in (one, two):
            store.objects |= {log(seq, THEIRS): b"%d" % seq for seq in range(1, 6)}
        await caught_up(mirror)
        for store in (one, two):
            store.objects[f"{THEIRS}checkpoints/{5:012}"] = b"all"
            for seq in range(1, 6):
                del store.objects[log(seq, THEIRS)]
        await caught_up(mirror)
        assert states(mirror) == [("ok", 0), ("ok", 0)]


async def test_other_bytes_under_an_immutable_name_are_reported(one: ShakyStore, two: ShakyStore) -> None:
    one.objects[log(1, THEIRS)], two.objects[log(1, THEIRS)] = b"longer", b"short"
    two.objects[log(1)] = b"twin!"
    async with mirrored(one, two) as mirror:
        await mirror.put(log(1), b"entry", if_absent=True)
        await mirror.settled()
        assert "other bytes" in mirror.standing()[1].problem
        await caught_up(mirror)
        problem = mirror.standing()[1].problem
        assert log(1) in problem
        assert log(1, THEIRS) in problem
        assert "another size" in problem
        assert (one.objects[log(1)], two.objects[log(1)]) == (b"entry", b"twin!")


async def test_what_one_has_damaged_is_copied_from_another(one: ShakyStore, two: ShakyStore) -> None:
    three = vault("memory://three")
    one.objects[pack(1)], two.objects[pack(1)] = b"rotten", b"a pack"
    async with mirrored(one, two, three) as mirror:
        assert await caught_up(mirror) == 1
        assert three.objects[pack(1)] == b"a pack"
        assert one.objects[pack(1)] == b"rotten"
        assert states(mirror) == [("disagrees", 0), ("ok", 0), ("ok", 0)]
        assert f"its {pack(1)} is damaged" in mirror.standing()[0].problem
        # And who has it whole is not accused of the difference, be it one of size or not.
        for rotten in (b"rotten", b"rot"):
            one.objects[pack(1)] = rotten
            assert await caught_up(mirror) == 0
            assert [state for state, _ in states(mirror)] == ["disagrees", "ok", "ok"]
        del one.objects[pack(1)]
        assert await caught_up(mirror) == 1
        assert one.objects == two.objects
        assert states(mirror) == [("ok", 0)] * 3


async def test_what_nobody_has_whole_is_copied_nowhere(one: ShakyStore, two: ShakyStore) -> None:
    one.objects |= {pack(1): b"rot", pack(2): b"sound"}
    async with mirrored(one, two) as mirror:
        assert await caught_up(mirror) == 1
        assert pack(1) not in two.objects
        assert two.objects[pack(2)] == b"sound"
        assert states(mirror) == [("disagrees", 0), ("behind", 1)]
        one.objects[pack(1)] = b"mended"
        assert await caught_up(mirror) == 1
        assert states(mirror) == [("ok", 0), ("ok", 0)]


async def test_a_place_with_another_vault_is_left_alone(one: ShakyStore, two: ShakyStore) -> None:
    two.objects = {"vault.json": b"another", log(1): b"not mine"}
    before = dict(two.objects)
    notes = Notes()
    async with mirrored(one, two, notes=notes) as mirror:
        await check_headers(mirror, DIGEST)
        await mirror.put(pack(1), b"pack")
        await mirror.put("keys/a.age", b"slot")
        await mirror.delete("keys/a.age")
        await mirror.settled()
        await caught_up(mirror)
        with pytest.raises(ObjectMissing):
            await mirror.get(log(1))
        assert log(1) not in [info.name for info in await mirror.list("")]
        assert two.objects == before
        assert mirror.standing()[1].state == "disagrees"
        assert "another vault" in mirror.standing()[1].problem
    async with mirrored(one, two, notes=notes) as later:  # before anybody has looked again
        await later.put(pack(2), b"pack")
        await later.settled()
        assert two.objects == before


async def test_two_devices_that_reach_one_store_each_converge_later(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one) as here, mirrored(two) as there:
        for seq in range(1, 6):
            await here.put(log(seq), b"mine", if_absent=True)
            await there.put(log(seq, THEIRS), b"theirs", if_absent=True)
    async with mirrored(one, two) as here, mirrored(two, one) as there:
        assert await there.get(log(3)) == b"mine"  # before anything was caught up
        await asyncio.gather(caught_up(here), catch_up(there, {OTHER}, {ME, OTHER}, DIGEST, whole=whole))
        assert one.objects == two.objects
        assert len(one.objects) == 13


async def test_what_is_too_much_to_hold_is_copied_later(
    one: ShakyStore, two: ShakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "OWED", 100)
    two.weather = "silent"
    async with mirrored(one, two) as mirror:
        for number in range(10):
            await mirror.put(pack(number), b"x" * 40)
        assert mirror.members[1].owed == 80
        assert mirror.wanted.is_set()
        two.weather = "up"
        assert await caught_up(mirror) == 8
        assert one.objects == two.objects


async def test_a_deletion_waits_for_a_put_that_is_under_way(one: ShakyStore, two: ShakyStore) -> None:
    async with mirrored(one, two) as mirror:
        two.weather = "silent"
        await mirror.put(pack(1), b"pack")
        deletion = asyncio.create_task(mirror.delete(pack(1)))
        await asyncio.sleep(0)
        two.weather = "up"
        await deletion
        assert pack(1) not in one.objects
        assert pack(1) not in two.objects


async def test_closing_waits_for_no_store_for_long(one: ShakyStore, two: ShakyStore) -> None:
    two.weather = "silent"
    notes = Notes()
    async with mirrored(one, two, notes=notes) as mirror:
        await mirror.put(log(1), b"entry")
    two.weather = "up"
    async with mirrored(one, two, notes=notes) as later:
        assert states(later) == [("ok", 0), ("behind", 1)]  # as it was noted
        await caught_up(later)
        assert one.objects == two.objects


async def test_who_says_nothing_holds_up_no_catching_up(one: ShakyStore, two: ShakyStore) -> None:
    three = vault("memory://three")
    async with mirrored(one, two, three) as mirror:
        two.weather = "silent"
        del three.objects["roster/000001"]
        assert await catch_up(mirror, {ME}, {ME}, DIGEST, whole=whole, patience=0.01) == 1
        assert states(mirror) == [("ok", 0), ("unreachable", 0), ("ok", 0)]
        assert "does not answer within" in mirror.standing()[1].problem


async def test_notes_that_are_damaged_say_nothing(one: ShakyStore, two: ShakyStore) -> None:
    notes = Notes()
    for text in (b"{", b"\xff", b'{"stores": {"memory://one": {"missed": 5}}}'):
        notes.text = text
        async with mirrored(one, two, notes=notes) as mirror:
            assert states(mirror) == [("ok", 0), ("ok", 0)]
