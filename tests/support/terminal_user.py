"""A person at a terminal: sees the screen as a terminal draws it, answers questions, presses arrow keys and Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

COLUMNS, LINES = 150, 70  # nothing scrolls away
PATIENCE = 30.0
DOWN, ENTER, CTRL_C, CTRL_U = b"\x1b[B", b"\r", b"\x03", b"\x15"
POINTER = "»"


class _Screen(pyte.Screen):
    """Tells where the cursor is when it is asked, as terminals do."""

    def __init__(self, terminal: int) -> None:
        super().__init__(COLUMNS, LINES)
        self._terminal = terminal

    def write_process_input(self, text: str) -> None:
        os.write(self._terminal, text.encode())


class TerminalUser:
    """Runs `command` on a terminal of its own until the end of the `with` block."""

    def __init__(self, command: Sequence[str | Path], environ: Mapping[str, str], folder: Path) -> None:
        self._master, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._screen = _Screen(self._master)
        self._stream = pyte.ByteStream(self._screen)
        self._lines = [""] * LINES
        self._seen = 0
        self.raw = b""
        self._process = subprocess.Popen(
            # Ctrl-C reaches those whose terminal it is, unless somebody before them would not hear of it.
            ["env", "--default-signal=INT", "setsid", "--ctty", *command],
            env={"TERM": "xterm", **environ},
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    @property
    def shown(self) -> str:
        """What stands on the screen."""
        for number in self._screen.dirty:
            row = self._screen.buffer[number]
            self._lines[number] = "".join(row[column].data for column in range(COLUMNS)).rstrip() if row else ""
        self._screen.dirty.clear()
        return "\n".join(self._lines).rstrip()

    def sees(self, text: str) -> str:
        """Wait until `text` is on the screen below what was seen so far; gives the line that it is in."""
        found = ""

        def there() -> bool:
            nonlocal found
            for number, line in enumerate(self.shown.split("\n")[self._seen :]):
                if text in line:
                    found = line
                    self._seen += number
                    return True
            return False

        self._until(there, text)
        return found

    def notices(self, text: str) -> None:
        """Wait until `text` is anywhere on the screen."""
        self._until(lambda: text in self.shown, text)

    def answers(self, question: str, answer: str) -> None:
        """Type an answer in place of what is proposed."""
        self.sees(question)
        self._seen += 1
        self.retypes(answer)

    def retypes(self, answer: str) -> None:
        """Type another answer to the question that is still there."""
        self._type(CTRL_U + answer.encode() + ENTER)

    def agrees(self, question: str, *, no: bool = False) -> None:
        """Answer a question for yes or no."""
        self.sees(question)
        self._seen += 1
        self._type(b"n" if no else b"y")

    def chooses(self, question: str, choice: str) -> None:
        """Move down to the choice that begins with `choice`, and take it."""
        self.sees(question)
        pointed = ""

        def moved() -> bool:
            return self._pointed() not in {"", pointed}

        for _ in range(40):
            self._until(moved, f"another choice than {pointed!r}")
            pointed = self._pointed()
            if pointed.startswith(choice):
                self._seen += 1
                return self._type(ENTER)
            self._type(DOWN)
        raise AssertionError(f"no choice {choice!r} in:\n{self.shown}")

    def _pointed(self) -> str:
        """The choice that the pointer is at."""
        below = (line.lstrip() for line in self.shown.split("\n")[self._seen :])
        return next((line.lstrip(f" {POINTER}") for line in below if line.startswith(POINTER)), "")

    def interrupts(self) -> None:
        """Press Ctrl-C."""
        self._type(CTRL_C)

    def signals(self, number: int) -> None:
        """Have the command get a signal."""
        self._process.send_signal(number)

    def ends(self) -> int:
        """Wait until the command has ended; its exit code."""
        self._until(lambda: False, "the end", end=True)
        return self._process.wait(PATIENCE)

    def _type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def _until(self, reached: Callable[[], bool], what: str, *, end: bool = False) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited in vain for {what}; the screen:\n{self.shown}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # what Linux says at the end
                data = b""
            if not data:
                assert end, f"it ended before {what}; the screen:\n{self.shown}"
                return
            self.raw += data
            self._stream.feed(data)
