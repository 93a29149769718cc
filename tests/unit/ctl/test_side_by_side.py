from claude_syncd.ctl.side_by_side import two_columns

DIFF = "--- x.md\n+++ kept/x.md\n@@ -1,3 +1,4 @@\n same\n-old\n+new\n+more\n--- not a head\n end\n"


def test_both_sides_beside_each_other() -> None:
    rows = two_columns(DIFF, 43, lambda text, _: text)
    assert rows == [
        "x.md                 | kept/x.md",
        "@@ -1,3 +1,4 @@",
        "same                   same",
        "old                  | new",
        "-- not a head        | more",
        "end                    end",
    ]


def test_long_lines_are_cut_and_nothing_reaches_the_terminal() -> None:
    rows = two_columns("@@ -1 +1 @@\n-" + "y" * 50 + "\n+\x1b[31mred\n", 43, lambda text, _: text)
    assert rows[1] == "y" * 19 + "… | \\x1b[31mred"


def test_what_is_only_on_one_side_is_told() -> None:
    assert two_columns("@@ -1 +1,2 @@\n+a\n b\n-c\n", 23, lambda text, _: text)[1:] == [
        "           > a",
        "b            b",
        "c          <",
    ]
