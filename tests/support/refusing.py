"""`claude-syncctl init` with settings that can't work: what is promised of every one of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from fresh_machine import GOOD, Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-key-of-a-test"}
SECRETS = (*KEYS.values(), GOOD, "the-password")


def refused(
    machine: Machine,
    *words: str,
    part: str,
    code: int = 1,
    stdin: str = f"{GOOD}\n",
    environ: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Have `init` fail as it should."""
    before = sorted(path for path in machine.home.rglob("*"))
    run = machine.run if machine.run_by else machine.run_here
    done = run("init", *words, "--passphrase-stdin", stdin=stdin, **environ)
    lines = done.err.splitlines()
    assert done.code == code, done
    assert [line.partition(": ")[0] for line in lines] == ["error", "hint"], done.err
    assert part in done.err
    assert "config.toml" not in lines[1], "there is none yet"
    assert done.out == ""
    assert not any(secret in done.err for secret in SECRETS[1:])
    assert machine.is_untouched()
    assert sorted(path for path in machine.home.rglob("*")) == before
