"""What the members of a mirror lack is decided from their listings alone."""

from __future__ import annotations

from claude_syncd.store.mirror_plan import Step, View, compare, ends, is_mutable, is_object, resized

ME, OTHER = "a" * 32, "b" * 32
PACK = f"devices/{ME}/packs/{'0' * 64}"
LOG = f"devices/{ME}/log/000000000001"
THEIRS = f"devices/{OTHER}/log/000000000001"
VAULT = {"vault.json": 1, "keys/main.age": 2}


def view(sizes: dict[str, int], missed: dict[str, bool] | None = None) -> View:
    return View(sizes, missed or {})


def test_members_with_the_same_need_nothing() -> None:
    found = compare([view({**VAULT, LOG: 5}), view({**VAULT, LOG: 5})], {ME})
    assert found.steps == ()
    assert found.lacking == (frozenset(), frozenset())


def test_what_one_has_goes_to_the_other_with_what_is_referred_to_first() -> None:
    full = {**VAULT, "roster/000001": 1, LOG: 5, PACK: 6}
    found = compare([view(full), view({})], {ME})
    assert [step.name for step in found.steps] == ["vault.json", "keys/main.age", "roster/000001", PACK, LOG]
    assert {(step.source, step.target) for step in found.steps} == {(0, 1)}


def test_another_devices_area_is_its_own_business_but_told() -> None:
    found = compare([view({**VAULT, THEIRS: 5}), view(VAULT)], {ME})
    assert found.steps == ()
    assert found.lacking == (frozenset(), frozenset({THEIRS}))


def test_a_key_that_one_lacks_is_not_brought_back_to_a_place_that_has_others() -> None:
    found = compare([view({**VAULT, "keys/old.age": 3}), view(VAULT)], {ME})
    assert found.steps == ()


def test_a_deletion_that_was_missed_is_made_up_for_and_then_settled() -> None:
    late = compare([view(VAULT), view({**VAULT, PACK: 6}, {PACK: True})], {ME})
    assert late.steps == (Step(PACK, 1, None),)
    done = compare([view(VAULT), view(VAULT, {PACK: True})], {ME})
    assert (done.steps, done.settled) == ((), (frozenset(), frozenset({PACK})))


def test_what_was_missed_is_copied_from_a_member_that_has_not_even_over_what_is_there() -> None:
    found = compare([view({**VAULT, "keys/main.age": 1}, {"keys/main.age": False}), view(VAULT)], set())
    assert found.steps == (Step("keys/main.age", 0, 1),)


def test_a_deletion_that_was_noted_does_not_delete_what_has_come_since() -> None:
    found = compare([view({**VAULT, PACK: 6}), view({**VAULT, PACK: 5}, {PACK: True})], {ME})
    assert found.steps == (Step(PACK, 1, 0),)


def test_other_objects_in_the_same_place_are_left_alone() -> None:
    assert not any(map(is_object, ("notes.txt", "keys/../x.age", f"{PACK}.tmp", "roster/1", "devices/x/log/1")))
    assert all(map(is_object, (*VAULT, "roster/000001", LOG, PACK)))
    assert compare([view({**VAULT, "notes.txt": 1}), view(VAULT)], {ME}).steps == ()
    assert [name for name in (*VAULT, "roster/000001", LOG, PACK) if is_mutable(name)] == list(VAULT)


def test_sizes_that_differ_and_how_far_logs_reach() -> None:
    far = f"devices/{ME}/checkpoints/000000000007"
    a, b, c = view({LOG: 5, PACK: 6, "roster/000001": 1}), view({LOG: 9, PACK: 6, "roster/000001": 2}), view({far: 1})
    assert resized([a, b, c]) == {LOG: [0, 1]}
    assert resized([a, view({LOG: 9}, {LOG: False}), c]) == {}
    assert ends(a) == {ME: 1}
    assert ends(view({LOG: 5, far: 1, THEIRS: 1})) == {ME: 7, OTHER: 1}
