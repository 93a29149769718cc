"""The parts that the git store is made of: how git is run, what of its output is kept, and trees."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_syncd.errors import StoreUnavailable
from claude_syncd.store.git_change import Change, plan
from claude_syncd.store.git_run import environment, run_git
from claude_syncd.store.git_tree import Blob, Tree, parse_tree

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.lists(st.sampled_from(["a", "b", "a.b", "a-b"]), min_size=1, max_size=3).map("/".join)


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where `git` is a shell that runs its first word."""
    (tmp_path / "git").write_text('#!/bin/sh\neval "$1"\n')
    (tmp_path / "git").chmod(0o755)
    return environment({"PATH": f"{tmp_path}:{os.environ['PATH']}"})


async def test_a_command_says_how_it_ended(env: dict[str, str]) -> None:
    done = await run_git("echo out; echo said >&2; exit 3", env=env)
    assert (done.code, done.out, done.said, done.cut, done.silent) == (3, b"out\n", "said\n", False, False)


async def test_a_command_is_fed(env: dict[str, str]) -> None:
    pieces = [b"a" * 700_000, b"", b"b" * 300_000]
    assert (await run_git("cat", env=env, feed=pieces)).out == b"".join(pieces)
    assert (await run_git("head -c 10", env=env, feed=pieces)).out == b"a" * 10
    assert (await run_git("cat", env=env)).out == b""


@pytest.mark.parametrize(
    ("skip", "most", "kept", "cut"),
    [(0, 10, b"0123456789", False), (0, 9, b"012345678", True), (3, 4, b"3456", True), (3, 7, b"3456789", False)],
)
async def test_only_what_is_wanted_of_the_output_is_kept(
    env: dict[str, str], skip: int, most: int, kept: bytes, cut: bool
) -> None:
    done = await run_git("for n in 0 1 2 3 4 5 6 7 8 9; do printf $n; done", env=env, skip=skip, most=most)
    assert (done.out, done.cut) == (kept, cut)


async def test_output_without_end_is_cut(env: dict[str, str]) -> None:
    done = await run_git("yes", env=env, skip=1_000_000, most=10)
    assert (done.out, done.cut) == (b"y\n" * 5, True)


async def test_of_messages_the_end_is_kept_without_progress(env: dict[str, str]) -> None:
    said = "yes | head -c 1000000 >&2; printf 'Writing: 10%%\\rWriting: 20%%\\rerror: it broke\\r\\nend' >&2"
    done = await run_git(said, env=env)
    assert done.said.endswith("y\nerror: it broke\nend")
    assert len(done.said) < 100_000


async def test_a_command_that_shows_life_is_waited_for(env: dict[str, str]) -> None:
    done = await run_git("for n in 1 2 3 4 5 6; do sleep 0.2; printf . >&2; done; echo end", env=env, patience=1.0)
    assert (done.code, done.out, done.said) == (0, b"end\n", "......")


async def test_a_command_that_shows_none_is_given_up(env: dict[str, str]) -> None:
    done = await run_git("echo begin; exec sleep 60", env=env, patience=0.3)
    assert done.silent
    assert done.code != 0
    assert done.out == b"begin\n"


async def test_a_command_that_was_given_up_has_failed_whatever_it_says(env: dict[str, str]) -> None:
    done = await run_git("trap 'exit 0' TERM; echo begin; while :; do sleep 0.05; done", env=env, patience=0.3)
    assert done.silent
    assert done.code != 0


async def test_a_process_may_be_one_too_many(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("asyncio.create_subprocess_exec", spawn)
    with pytest.raises(StoreUnavailable, match="can't be run"):
        await run_git("true", env=env)


async def test_something_left_behind_does_not_change_how_a_command_ended(env: dict[str, str]) -> None:
    done = await run_git("sleep 60 & echo end; exit 4", env=env, patience=0.3)
    assert (done.code, done.out, done.silent) == (4, b"end\n", False)


def test_the_environment_keeps_what_helpers_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_TRACE", "LC_ALL", "LANGUAGE", "SSH_ASKPASS", "CLAUDE_SYNC_STORE__PASSWORD"):
        monkeypatch.setenv(name, "x")
    for name in ("https_proxy", "SSH_AUTH_SOCK", "GH_TOKEN", "GIT_SSL_CAINFO", "GIT_SSH_COMMAND"):
        monkeypatch.setenv(name, "x")
    made = environment({"GIT_DIR": "mirror"})
    assert {name for name, value in made.items() if value == "x"} == {
        *("https_proxy", "SSH_AUTH_SOCK", "GH_TOKEN", "GIT_SSL_CAINFO", "GIT_SSH_COMMAND")
    }
    assert (made["GIT_DIR"], made["LC_ALL"], made["GIT_TERMINAL_PROMPT"]) == ("mirror", "C", "0")


def test_a_listing_is_parsed_below_a_prefix() -> None:
    listing = (
        b"100644 blob 11 5\tp/b\x00100644 blob 22      7\tp/a/x\x00100644 blob 33 1\tpq\x00"
        b"100644 blob 44 1\tp/tmp/x\x00100644 blob 55 1\tp/../x\x00160000 commit 66 -\tp/sub\x00100644 blob 77\x00"
    )
    assert parse_tree(listing, "p/") == Tree({"b": Blob("11", 5), "a/x": Blob("22", 7)}, ["a/x", "b"], 5)
    assert parse_tree(listing, "").names == ["p/a/x", "p/b", "p/tmp/x", "pq"]
    assert parse_tree(b"", "") == Tree()


@given(st.lists(st.tuples(NAMES, st.booleans(), st.booleans())), NAMES)
def test_changes_are_made_like_those_of_a_dictionary(wanted: list[tuple[str, bool, bool]], prefix: str) -> None:
    changes = [Change(name, b"" if put else None, if_absent, 0) for name, put, if_absent in wanted]
    made = plan(changes, Tree())
    expected = set[str]()
    for change in changes:
        clash = any(other.startswith(f"{change.name}/") or change.name.startswith(f"{other}/") for other in expected)
        taken = change.if_absent and change.name in expected
        if change.data is None:
            expected.discard(change.name)
            assert change not in made.errors
        elif clash or taken:
            assert change in made.errors
        else:
            expected.add(change.name)
            assert change not in made.errors
    assert made.tree.names == sorted(expected) == sorted(made.tree.blobs)
    assert expected <= set(made.last)
    assert list(made.tree.beginning(prefix)) == [name for name in sorted(expected) if name.startswith(prefix)]
