import pytest

from claude_syncd.core.merge.rows import RowKind, lines_of, read_row, renamed

SID = "0b5e3c9e-8d4f-4a6f-9f65-3d1c6a1c2e01"
NEW = "11111111-2222-5333-8444-555555555555"
ROW = b'{"parentUuid":null,"sessionId":"%s","type":"user","uuid":"u1","timestamp":"2026-11-01T10:00:00.000Z"}\n'


def row(sid: str = SID) -> bytes:
    return ROW % sid.encode()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (row(), RowKind.CONTENT),
        (row().rstrip(b"\n"), RowKind.CONTENT),
        (b' { "uuid" : "u1" } \r\n', RowKind.CONTENT),
        (b'{"x":"\xe2\x80\xa8","uuid":"u1"}\n', RowKind.CONTENT),
        (b'{"x":"\xff\xfe","uuid":"u1"}\n', RowKind.CONTENT),
        (b'{"x":"\\ud83d","uuid":"u1"}\n', RowKind.CONTENT),
        (b'{"type":"mode","mode":"plan"}\n', RowKind.METADATA),
        (b'{"type":"summary","message":{"uuid":"u1"}}\n', RowKind.METADATA),
        (b'{"uuid":null}\n', RowKind.METADATA),
        (b'{"uuid":""}\n', RowKind.METADATA),
        (b'{"type":"custom-title","customTitle":"a","sessionId":"x"}\n', RowKind.METADATA),
        (b'{"type":"custom-title","customTitle":"a (from b)","sessionId":"x"}\n', RowKind.MARK),
        (b'{"type":"ai-title","aiTitle":"a (from b)"}\n', RowKind.METADATA),
        # What can't be read may hold a message, so it counts like one.
        (b'{"uuid":"u1"}{"uuid":"u2"}\n', RowKind.CONTENT),
        (b'{"uuid":"u1","mess\n', RowKind.CONTENT),
        (b'\0\0\0{"uuid":"u1"}\n', RowKind.CONTENT),
        (b"[1]\n", RowKind.CONTENT),
        (b'{"x":' + b"[" * 300 + b"]" * 300 + b',"type":"mode"}\n', RowKind.CONTENT),
        (b'{"x":"' + b"[" * 300 + b'","type":"mode"}\n', RowKind.METADATA),
        (b"\n", RowKind.NOTHING),
        (b"\0\0\0\0\n", RowKind.NOTHING),
        (b'{"uuid":"u1","mess', RowKind.NOTHING),
    ],
)
def test_what_a_line_is(line: bytes, kind: RowKind) -> None:
    assert read_row(line, SID).kind is kind


def test_only_the_end_of_a_file_is_torn() -> None:
    assert read_row(b'{"uuid":"u1","mess', SID).torn
    assert not read_row(b'{"uuid":"u1","mess\n', SID).torn
    assert not read_row(b'{"uuid":"u1"}', SID).torn


def test_the_time_of_a_row_is_its_own() -> None:
    assert read_row(row(), SID).stamp == b"2026-11-01T10:00:00.000Z"
    nested = b'{"uuid":"u","message":{"timestamp":"2026-11-01T10:00:00.000Z"},"timestamp":5}\n'
    assert read_row(nested, SID).stamp == b""


def test_a_row_is_the_same_in_a_fork_and_at_the_end_of_a_file() -> None:
    assert read_row(row(), SID) == read_row(renamed(row(), SID, NEW), NEW)
    assert read_row(row(), SID) == read_row(row().rstrip(b"\n"), SID)


@pytest.mark.parametrize(
    "other",
    [
        row().replace(b"10:00", b"10:01"),
        row().replace(b"u1", b"u2"),
        row(NEW),  # of another session: brought along by a branch of Claude Code's own
    ],
)
def test_rows_that_differ_are_others(other: bytes) -> None:
    assert read_row(row(), SID).digest != read_row(other, SID).digest


@pytest.mark.parametrize(
    "line",
    [
        b'{"uuid":"u","sessionId":"%s"}\n',
        b'{"a":"b","sessionId" : \t"%s","uuid":"u"}\n',
        b'{"message":{"content":[{"x":"{"}]},"uuid":"u","sessionId":"%s"}\n',
        b'{"x":"\\"","sessionId":"%s"}',
        b'{"x":"\\ud800","sessionId":"%s"}\n',
        b'{"sessionId":"%s","x":"\xff"}\r\n',
    ],
)
def test_its_own_session_is_renamed_and_no_other_byte(line: bytes) -> None:
    assert renamed(line % SID.encode(), SID, NEW) == line % NEW.encode()


@pytest.mark.parametrize(
    "text",
    [
        '"message":{"sessionId":"SID","content":"${HOME}/SID"}',
        '"toolUseResult":[{"sessionId":"SID"},{"sessionId":"SID"}]',
        '"forkedFrom":{"sessionId":"SID","messageUuid":"u0"}',
        '"message":{"content":"{\\"sessionId\\":\\"SID\\"}"}',
        '"persistedOutputPath":"/home/ann/.claude/projects/-x/SID/tool-results/a.txt"',
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_the_id_elsewhere_stays(text: str, *, last: bool) -> None:
    """In what was said, in results of tools, in names of files, in where the session itself comes from."""
    text = text.replace("SID", SID)

    def line(sid: str) -> bytes:
        own = f'"sessionId":"{sid}"'
        return ("{" + (f"{own},{text}" if last else f"{text},{own}") + "}\n").encode()

    assert renamed(line(SID), SID, NEW) == line(NEW)


@pytest.mark.parametrize(
    "line",
    [
        b'{"uuid":"u","message":{"sessionId":"%s"}}\n',
        b'{"uuid":"u","sessionId":"%s-and-more"}\n',
        b'{"message":{"sessionId":"%s"},"session\\u0049d":"%s"}\n',  # spelled as nobody spells it: left alone
        b'{"uuid":"u","sessionId":["%s"]}\n',
        b'{"sessionId":"%s","uuid":"u"}{"uuid":"v"}\n',
        b'{"sessionId":"%s","uuid":"u"',
        b"\0%s\n",
    ],
)
def test_nothing_of_a_line_that_names_no_session_of_its_own_changes(line: bytes) -> None:
    line = line.replace(b"%s", SID.encode())
    assert renamed(line, SID, NEW) == line


def test_lines_end_at_a_line_feed_only() -> None:
    content = "a\r\nb\u2028c\x85d\x0be\n\n\0f".encode()
    assert list(lines_of(content)) == [b"a\r\n", "b\u2028c\x85d\x0be\n".encode(), b"\n", b"\0f"]
    assert list(lines_of(b"")) == []


def test_a_long_line_full_of_brackets_and_quotes_takes_no_longer_than_its_length() -> None:
    """It is torn within a string: a search that began anew at each quote in it would take hours."""
    line = b'{"x":[[[["' + b'\\"{["a' * 300_000 + b"\n"
    assert read_row(line, SID).kind is RowKind.CONTENT
    assert renamed(line, SID, NEW) == line
