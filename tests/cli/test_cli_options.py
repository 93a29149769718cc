from __future__ import annotations

import pytest

from claude_syncd.ctl.options import Command, Option, parse
from claude_syncd.errors import UsageError

COMMAND = Command(
    "go",
    "go somewhere",
    "x:y",
    options=(
        Option("--quiet", "say nothing", short="-q"),
        Option("--fast", "be quick", short="-f"),
        Option("--lines", "how many", short="-n", metavar="N"),
        Option("--side", "which", choices=("left", "right")),
    ),
)


@pytest.mark.parametrize(
    "line", ["-qn5 here", "-q -n 5 here", "here --quiet --lines 5", "--lines=5 -q -- here", "--lines 3 -qn=5 here -n5"]
)
def test_every_way_to_write_it(line: str) -> None:
    given = parse(COMMAND, line.split())
    assert (given.has("--quiet"), given.has("--fast")) == (True, False)
    assert given.words == ["here"]
    if "=5" not in line or "--lines=5" in line:
        assert given.number("--lines", 1) == 5


def test_behind_two_dashes_everything_is_a_word() -> None:
    assert parse(COMMAND, ["-", "--", "-q", "--lines", "--"]).words == ["-", "-q", "--lines", "--"]


@pytest.mark.parametrize("line", ["-x", "-qx", "--quie", "--quiet=1", "--lines", "-n", "--side up", "--side"])
def test_what_is_wrong_is_named(line: str) -> None:
    with pytest.raises(UsageError):
        parse(COMMAND, line.split())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("366d", 366 * 86400)],
)
def test_times(text: str, seconds: int) -> None:
    assert parse(COMMAND, ["--lines", text]).seconds("--lines") == seconds


@pytest.mark.parametrize("text", ["", "0", "h", "2x", "2h3", "-5", "1.5h", "367d", "99999999999", "٣m", "2 h"])
def test_what_is_no_time(text: str) -> None:
    given = parse(COMMAND, [f"--lines={text}"])
    with pytest.raises(UsageError):
        given.seconds("--lines")


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "٣", "99999999999"])
def test_what_is_no_number(text: str) -> None:
    given = parse(COMMAND, [f"--lines={text}"])
    with pytest.raises(UsageError):
        given.number("--lines", 1)
