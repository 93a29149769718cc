"""The log: one JSON object a line, private, rotated, free of secrets and content."""

from __future__ import annotations

import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from claude_syncd import log
from claude_syncd.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state" / "log" / "claude-syncd.log"
    log.close()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_is_one_json_object_that_leads_with_time_level_event(file: Path) -> None:
    log.configure(file, "info")
    log.get_logger("claude_syncd.engine.push").info("pushed", files=3, note="zwei\nZeilen ✓")
    (line,) = lines(file)
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["event"] == "pushed"
    assert line["level"] == "info"
    assert line["files"] == 3
    assert line["note"] == "zwei\nZeilen ✓"
    assert line["logger"] == "claude_syncd.engine.push"
    assert line["time"].endswith("Z")


def test_file_and_folder_are_private(file: Path) -> None:
    file.parent.mkdir(parents=True, mode=0o755)
    file.touch(mode=0o644)
    file.chmod(0o644)
    log.configure(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_rotation_keeps_five_private_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_FILE", 2000)
    log.configure(file)
    logger = log.get_logger("claude_syncd.x")
    for number in range(200):
        logger.info("tick", number=number)
    names = sorted(path.name for path in file.parent.iterdir())
    assert names == [file.name, *(f"{file.name}.{n}" for n in range(1, 5))]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in file.parent.iterdir())
    assert lines(file)[-1]["number"] == 199


def test_level(file: Path) -> None:
    log.configure(file, "warning")
    logger = log.get_logger("claude_syncd.level")
    logger.info("quiet")
    logger.warning("loud")
    assert [line["event"] for line in lines(file)] == ["loud"]
    log.configure(file, "debug")
    logger.debug("now")
    assert [line["event"] for line in lines(file)] == ["loud", "now"]


def test_values_of_secret_names_are_masked_at_any_depth(file: Path) -> None:
    log.configure(file)
    log.get_logger("claude_syncd.s").info(
        "x",
        passphrase="p1-hush",
        secret_access_key="p2-hush",
        vault_key=b"p3-hush",
        key="p4-hush",
        recovery_code="p5-hush",
        options={"session_token": "p6-hush", "list": [{"password": "p7-hush"}]},
        region="eu",
        keep=1,
    )
    text = file.read_text()
    assert "hush" not in text
    (line,) = lines(file)
    assert line["region"] == "eu"
    assert line["keep"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "opened AGE-SECRET-KEY-1QQQHUSH9",
        "the code is 7K2M-HVSH-9ABC-0000-1111-2222-3333-4444-WXYZ HUSH9"[:-6],
        "GET https://user:HUSH9@host/x",
        "Authorization: Bearer abcdefghijklmnopHUSH9",
        "GET /x?X-Amz-Signature=HUSH9&a=1",
        "aws_secret_access_key = HUSH9",
        '{"session_token": "HUSH9"}',
    ],
)
def test_text_that_looks_like_a_secret_is_masked(file: Path, text: str) -> None:
    log.configure(file)
    logger = log.get_logger("claude_syncd.s")
    logger.info("as a value", detail=text)
    logger.info(text)
    logging.getLogger("botocore").warning("%s", text)
    logger.error("as an exception", exc_info=ValueError(text))
    assert len(lines(file)) == 4
    assert "HUSH9" not in file.read_text()


def test_bytes_and_long_text_are_not_written_out(file: Path) -> None:
    log.configure(file)
    log.get_logger("claude_syncd.s").info("x", data=b"abc" * 10, long="y" * 100_000)
    (line,) = lines(file)
    assert line["data"] == "<30 bytes>"
    assert len(line["long"]) < 5000


def test_libraries_are_heard_from_warning_on(file: Path) -> None:
    log.configure(file, "debug")
    logging.getLogger("botocore").info("chatter")
    logging.getLogger("botocore").warning("trouble %d", 7)
    (line,) = lines(file)
    assert (line["event"], line["level"], line["logger"]) == ("trouble 7", "warning", "botocore")


def test_python_warnings_go_to_the_log(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure(file)
        warnings.warn("old thing", UserWarning, stacklevel=1)
        log.close()
    (line,) = lines(file)
    assert "old thing" in line["event"]


def test_console_is_text_on_stderr_and_only_when_asked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(file, console=False)
    log.get_logger("claude_syncd.c").info("unseen")
    log.configure(None, console=True)
    log.get_logger("claude_syncd.c").info("seen", passphrase="hush")
    log.get_logger("claude_syncd.c").error("failed", exc_info=ValueError("why"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "unseen" not in captured.err
    assert "seen" in captured.err
    assert "ValueError: why" in captured.err
    assert "hush" not in captured.err
    assert "\x1b[" not in captured.err


def test_nothing_is_printed_before_configure(capsys: pytest.CaptureFixture[str]) -> None:
    log.close()
    log.get_logger("claude_syncd.early").info("too early")
    assert capsys.readouterr().out == ""


def test_configured_twice_writes_once(file: Path) -> None:
    log.configure(file)
    log.configure(file)
    log.get_logger("claude_syncd.twice").info("one")
    assert len(lines(file)) == 1


def test_a_log_that_cannot_be_opened_is_a_local_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="can't write the log"):
        log.configure(tmp_path / "file" / "x.log")
