"""The vault's form of a file and the disk's: both ways, and what is remembered between them."""

from __future__ import annotations

import json

import pytest

from claude_syncd.core.merge.history import Homes
from claude_syncd.core.merge.jsontext import Invalid
from claude_syncd.core.projection import HistoryForm, Inward, Memory, SettingsForm, is_projected

HOOK = {"Stop": [{"hooks": [{"type": "command", "command": "~/bin/x"}]}]}
HOMES = Homes("/home/ann")


def spelled(value: object) -> bytes:
    return json.dumps(value).encode()


def came(vault: object, disk: object, memory: Memory | None = None, *approved: str) -> Inward:
    form = SettingsForm(memory, approved=frozenset(approved), device="d", time_ns=7)
    found = form.inward(spelled(vault), None if disk is None else spelled(disk))
    assert isinstance(found, Inward)
    return found


def stands_for(found: Inward) -> object:
    out = SettingsForm(found.memory).outward(found.disk)
    assert isinstance(out, bytes)
    return json.loads(out)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tree/settings.json", True),
        ("tree/settings.local.json", True),
        ("tree/history.jsonl", True),
        ("tree/keybindings.json", False),
        ("tree/themes/settings.json", False),
        ("tree/Settings.json", False),
        ("conflicts/0123456789abcdef/tree/settings.json", False),
        ("tree/projects/p/history.jsonl", False),
    ],
)
def test_which_files_have_two_forms(path: str, *, expected: bool) -> None:
    assert is_projected(path) is expected


def test_what_waits_is_remembered_with_who_brought_it_and_is_in_what_the_file_stands_for() -> None:
    found = came({"model": "b", "hooks": HOOK}, {"model": "a", "env": {"X": "1"}})
    assert json.loads(found.disk) == {"model": "b", "env": {"X": "1"}}
    assert found.memory is not None
    (waiting,) = found.memory.waiting
    assert (waiting.setting, waiting.device, waiting.time_ns) == ("hooks.Stop", "d", 7)
    assert stands_for(found) == {"model": "b", "hooks": HOOK}
    again = came({"model": "c", "hooks": HOOK}, json.loads(found.disk), found.memory)
    assert again.memory is not None
    assert again.memory.waiting == (waiting,)


def test_an_approved_change_is_in_the_file_and_waits_no_more() -> None:
    found = came({"hooks": HOOK}, {"model": "a"})
    assert found.memory is not None
    done = came({"hooks": HOOK}, json.loads(found.disk), found.memory, found.memory.waiting[0].digest)
    assert json.loads(done.disk) == {"hooks": HOOK}
    assert done.memory is not None
    assert done.memory.waiting == ()
    assert stands_for(done) == {"hooks": HOOK}


def test_a_rejected_change_is_known_for_as_long_as_it_is_the_same() -> None:
    found = came({"cleanupPeriodDays": 1}, {})
    assert found.memory is not None
    digest = found.memory.waiting[0].digest
    memory = Memory(
        vault=found.memory.vault, base=found.memory.base, waiting=found.memory.waiting, rejected=(digest, "else")
    )
    again = came({"cleanupPeriodDays": 1, "model": "a"}, json.loads(found.disk), memory)
    assert again.memory is not None
    assert again.memory.rejected == (digest,)
    other = came({"cleanupPeriodDays": 2}, json.loads(found.disk), memory)
    assert other.memory is not None
    assert other.memory.rejected == ()


def test_what_this_device_changes_goes_out_on_top_of_what_waits() -> None:
    found = came({"model": "a", "hooks": HOOK}, {"model": "a"})
    mine = {"model": "b", "hooks": {"Start": []}}
    out = SettingsForm(found.memory).outward(spelled(mine))
    assert isinstance(out, bytes)
    assert json.loads(out) == {"model": "b", "hooks": {**HOOK, "Start": []}}


def test_an_older_value_that_was_not_replaced_is_no_change() -> None:
    found = came({"statusLine": {"command": "new"}}, {"statusLine": {"command": "old"}})
    assert json.loads(found.disk) == {"statusLine": {"command": "old"}}
    assert stands_for(found) == {"statusLine": {"command": "new"}}


def test_a_file_that_shares_nothing_is_as_if_it_were_not_there() -> None:
    assert SettingsForm(None).outward(spelled({"env": {"A": "b"}, "sandbox": {}})) is None
    assert SettingsForm(None).outward(b"{}") is None


def test_when_the_vault_has_nothing_more_the_own_part_stays() -> None:
    found = came({}, {"model": "a", "env": {"A": "b"}, "hooks": HOOK})
    assert json.loads(found.disk) == {"env": {"A": "b"}, "hooks": HOOK}
    assert SettingsForm(found.memory).outward(found.disk) is None


def test_a_secret_in_the_vault_neither_comes_in_nor_goes_out_again() -> None:
    found = came({"model": "a", "env": {"LD_PRELOAD": "x"}, "apiKeyHelper": "x", "hooks": HOOK}, {"model": "b"})
    assert json.loads(found.disk) == {"model": "a"}
    assert stands_for(found) == {"model": "a", "hooks": HOOK}


@pytest.mark.parametrize(
    "broken",
    [
        b"\xef\xbb\xbf{}",
        b'{"model":"\xff"}',
        b'{"hooks":{},"hooks":{}}',
        b'{"a":{"hooks":1,"\\u0068ooks":2}}',
        b"// x\n{}",
        b"[" * 5000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"{}" + b" " * (1 << 20),
        b"",
        b"null",
    ],
)
def test_what_is_no_json_is_neither_taken_nor_replaced(broken: bytes) -> None:
    form = SettingsForm(None)
    assert isinstance(form.outward(broken), Invalid)
    assert isinstance(form.inward(broken, b"{}"), Invalid)
    assert isinstance(form.inward(b'{"model":"a"}', broken), Invalid)


def prompt(when: int, project: str) -> bytes:
    return f'{{"display":"{when}","timestamp":{when},"project":"{project}"}}\n'.encode()


def test_prompts_that_only_the_disk_has_stay_in_it() -> None:
    here = prompt(1, "/home/ann/a") + prompt(3, "/srv/b")
    found = HistoryForm(HOMES, None).inward(prompt(2, "~/c"), here)
    assert found.disk == prompt(1, "/home/ann/a") + prompt(2, "/home/ann/c") + prompt(3, "/srv/b")


def test_a_history_that_went_on_is_taken_as_it_is() -> None:
    unordered = prompt(2, "~/c") + prompt(1, "~")
    found = HistoryForm(HOMES, None).inward(unordered + prompt(1, "~~"), prompt(2, "/home/ann/c"))
    assert found.disk == prompt(2, "/home/ann/c") + prompt(1, "/home/ann") + prompt(1, "~")
    shorter = HistoryForm(HOMES, None).inward(unordered, prompt(1, "/home/ann"))
    assert shorter.disk == prompt(2, "/home/ann/c") + prompt(1, "/home/ann")


def test_lines_that_another_device_spelled_otherwise_are_remembered() -> None:
    vault = prompt(1, "/home/ann/a") + prompt(2, "~b") + prompt(3, "~/c")
    found = HistoryForm(HOMES, None).inward(vault, None)
    assert found.disk == prompt(1, "/home/ann/a") + prompt(2, "~b") + prompt(3, "/home/ann/c")
    assert found.memory == Memory(vault=prompt(1, "/home/ann/a") + prompt(2, "~b"))
    assert HistoryForm(HOMES, found.memory).outward(found.disk) == vault
    more = HistoryForm(HOMES, found.memory).outward(found.disk + prompt(4, "/home/ann/a"))
    assert more == vault + prompt(4, "~/a")
