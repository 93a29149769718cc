"""What is decided in every case stands in docs/semantics.md, row by row."""

from __future__ import annotations

from every_case import BASES, COLUMNS, LOCALS, VAULTS, page, rows


def test_the_page_says_what_is_done() -> None:
    written, wanted = page()
    assert written == wanted, "write it anew: .venv/bin/python tests/support/every_case.py"


def test_every_case_is_there_once() -> None:
    cases = [row[:3] for row in rows()]
    assert len(set(cases)) == len(cases)
    assert {case[0] for case in cases} == set(BASES)
    assert {case[1] for case in cases} == set(LOCALS)
    assert all(any(case[2].startswith(vault.partition(",")[0]) for case in cases) for vault in VAULTS)


def test_nothing_that_is_here_alone_is_replaced_without_a_copy() -> None:
    for base, local, vault, done in rows():
        if local == "something else":
            for column, said in zip(COLUMNS, done, strict=True):
                kept = said.endswith("kept as a conflict") or said in {"uploaded", "**both are read and merged**"}
                assert kept, f"{column}: {base}, {local}, {vault}: {said}"


def test_a_session_is_never_deleted_because_it_vanished() -> None:
    for _, local, vault, done in rows():
        if local == "nothing":
            assert "deleted" not in done[0], vault
