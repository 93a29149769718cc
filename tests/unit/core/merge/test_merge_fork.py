import json

import pytest

from claude_syncd.core.merge.fork import MAX_TITLE, Title, fork_lines, marked, title_row
from claude_syncd.core.merge.rows import lines_of

OLD = "0b5e3c9e-8d4f-4a6f-9f65-3d1c6a1c2e01"
NEW = "7d444840-9dc0-51d1-b245-5ffdce74fad2"


def custom(text: str, sid: str = OLD) -> bytes:
    return json.dumps({"type": "custom-title", "customTitle": text, "sessionId": sid}).encode() + b"\n"


def suggested(text: str) -> bytes:
    return json.dumps({"type": "ai-title", "aiTitle": text, "sessionId": OLD}).encode() + b"\n"


def prompt(content: object, **more: object) -> bytes:
    return json.dumps({"type": "user", "message": {"content": content}, "uuid": "u", **more}).encode() + b"\n"


def title_of(*rows: bytes) -> str:
    title = Title()
    for row in rows:
        title.see(row)
    return title.current()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ""),
        ([prompt("Fix the  login\npage")], "Fix the login page"),
        ([prompt([{"type": "image"}, {"type": "text", "text": "what is this"}])], "what is this"),
        ([prompt("x" * 100)], "x" * 59 + "…"),
        ([prompt("meta", isMeta=True), prompt("<command-name>/clear</command-name>"), prompt("real")], "real"),
        ([prompt([{"type": "tool_result", "content": [{"text": 5}]}]), prompt("next")], "next"),
        ([prompt("said"), suggested("Claude's")], "Claude's"),
        ([custom("mine"), prompt("said"), suggested("Claude's")], "mine"),
        ([custom("first"), custom("second")], "second"),
        ([custom("kept"), custom("")], "kept"),
        ([custom("a\x1b[31m\u202eb\u0085c")], "a [31m b c"),
        ([custom("long " * 100)], ("long " * 100)[: MAX_TITLE - 1].rstrip() + "…"),
        ([b'{"type":"custom-title","customTitle":5}\n', b'{"type":"custom-title",\n', b"\xff\n"], ""),
        ([prompt('say {"type":"custom-title","customTitle":"no"}')], 'say {"type":"custom-title","customTitle":"no"}'),
    ],
)
def test_the_title_of_a_session(rows: list[bytes], expected: str) -> None:
    assert title_of(*rows) == expected


@pytest.mark.parametrize(
    ("title", "device", "expected"),
    [
        ("Fix it", "laptop", "Fix it (from laptop)"),
        ("", "laptop", "Session (from laptop)"),
        ("Fix it (from laptop)", "tower", "Fix it (from tower)"),
        ("Fix (it)", "laptop", "Fix (it) (from laptop)"),
        ("Fix it", 'a "b" (c)\n', "Fix it (from a b c)"),
        ("Fix it", " ", "Fix it (from another device)"),
        ("Fix it", "n" * 80, f"Fix it (from {'n' * 59}…)"),
        ("Größe", "Jörgs Laptop", "Größe (from Jörgs Laptop)"),
    ],
)
def test_a_title_names_the_device_once(title: str, device: str, expected: str) -> None:
    assert marked(title, device) == expected
    assert marked(expected, device) == expected


def test_the_row_of_a_title_has_the_shape_of_claude_codes_own() -> None:
    assert title_row(NEW, 'a "b"') == (
        b'{"type":"custom-title","customTitle":"a \\"b\\"","sessionId":"%s"}\n' % NEW.encode()
    )


def made(content: bytes, line: int, device: str = "laptop") -> bytes:
    return b"".join(fork_lines(lines_of(content), OLD, NEW, line, device))


def test_a_torn_last_line_is_left_out_and_one_that_only_lacks_its_end_is_not() -> None:
    whole = prompt("hello")
    mark = title_row(NEW, "hello (from laptop)")
    assert made(whole + b'{"uuid":"x","mes', 0) == whole + mark
    assert made(whole + whole[:-1], 0) == whole + whole + mark
    assert made(whole + b"\0\0", 0) == whole + b"\0\0\n" + mark


def test_a_title_that_tells_where_it_comes_from_is_kept_if_it_is_the_forks_own() -> None:
    head, tail, own = custom("x"), prompt("hello"), custom("x (from tower)")
    assert made(head + tail + own, 1) == (head + tail + own).replace(OLD.encode(), NEW.encode())
    told = made(own + tail, 1)
    assert told.endswith(title_row(NEW, "x (from laptop)"))
