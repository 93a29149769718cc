"""Stores whose servers overwrite although they were asked not to."""

from __future__ import annotations

import pytest
from store_scripts import Overwriting

from claude_syncd.errors import AlreadyExists
from claude_syncd.store.count import Counting
from claude_syncd.store.look_first import LookingFirst
from claude_syncd.store.open import S3Options, WebDavOptions, open_store


async def test_a_name_that_is_taken_is_left_alone_at_the_cost_of_a_look() -> None:
    within = Overwriting()
    counter = Counting(within)
    store = LookingFirst(counter)
    await store.put("a", b"one", if_absent=True)
    with pytest.raises(AlreadyExists):
        await store.put("a", b"two", if_absent=True)
    assert within.objects == {"a": b"one"}
    assert counter.snapshot().requests == {"put": 1, "get": 2, "list": 0, "delete": 0, "head": 0}


async def test_what_may_be_overwritten_is_not_looked_at() -> None:
    counter = Counting(Overwriting())
    store = LookingFirst(counter)
    await store.put("a", b"one")
    await store.put("a", b"two")
    assert await store.get("a") == b"two"
    assert counter.snapshot().requests["get"] == 1


async def test_it_is_asked_first_only_where_setting_up_found_that_it_has_to_be() -> None:
    for heeds in (True, False):
        for options in (
            S3Options("b", endpoint="http://127.0.0.1:9", conditional_put=heeds),
            WebDavOptions("http://127.0.0.1:9/", conditional_put=heeds),
        ):
            opened = open_store(options)
            kinds = []
            inner: object = opened.store
            while inner is not None:
                kinds.append(type(inner))
                inner = getattr(inner, "_store", None)
            assert (LookingFirst in kinds) is not heeds
            await opened.store.close()
