"""Text and transcript rows that compress like the real ones: all words come from Python's standard library.

Rows have Claude Code's shape (key order too) and one line each. Everything follows from the `Random` that is passed.
"""

from __future__ import annotations

import json
import sysconfig
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

CORPUS_BYTES = 12_000_000
SLICE_ROWS = 256
VERSION = "2.1.329"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Source text, escaped for the inside of a JSON string. `starts`: where each line begins; it ends with `size`."""

    escaped: bytes
    starts: list[int]

    def cut(self, random: Random, length: int) -> bytes:
        """About `length` bytes of whole lines from a random place, at least one line."""
        first = random.randrange(len(self.starts) - 2)
        begin = self.starts[first]
        last = bisect_left(self.starts, begin + length, first + 1, len(self.starts) - 1)
        return self.escaped[begin : self.starts[last]]


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """The standard library's sources, up to CORPUS_BYTES, in the order of their names."""
    pieces: list[bytes] = []
    starts = [0]
    size = 0
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*folder.glob("*.py"), *folder.glob("[a-z]*/*.py")]):
        if path.parent.name in {"site-packages", "test", "idlelib"}:
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            piece = json.dumps(line)[1:-1].encode() + b"\\n"
            pieces.append(piece)
            size += len(piece)
            starts.append(size)
        if size > CORPUS_BYTES:
            break
    return Corpus(b"".join(pieces), starts)


def plain(random: Random, length: int) -> str:
    """About `length` characters of plain text, whole lines."""
    text: str = json.loads(b'"' + corpus().cut(random, length) + b'"')
    return text


def uuid4(random: Random) -> str:
    """A random UUID, version 4."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def stamp(seconds: float) -> str:
    """Seconds since the epoch as Claude Code writes times: UTC, milliseconds, Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"


@dataclass(slots=True)
class Conversation:
    """Writes the rows of one session, each the child of the one before. `clock`: seconds since the epoch."""

    random: Random
    cwd: str
    session: str
    clock: float
    agent: str = ""
    parent: str = ""

    def _row(self, kind: str, message: bytes, rest: bytes = b"") -> bytes:
        identity = uuid4(self.random)
        parent = f'"{self.parent}"' if self.parent else "null"
        side = f'true,"agentId":"{self.agent}"' if self.agent else "false"
        self.clock += self.random.random() * 20
        head = (
            f'{{"parentUuid":{parent},"isSidechain":{side},"userType":"external","cwd":{json.dumps(self.cwd)},'
            f'"sessionId":"{self.session}","version":"{VERSION}","gitBranch":"main","entrypoint":"cli","type":"{kind}",'
        )
        tail = f',"uuid":"{identity}","timestamp":"{stamp(self.clock)}"}}\n'
        self.parent = identity
        return b"".join((head.encode(), message, rest, tail.encode()))

    def user(self, text: str) -> bytes:
        """What a person typed."""
        return self._row("user", f'"message":{{"role":"user","content":{json.dumps(text)}}}'.encode())

    def assistant(self, content: bytes, stop: str) -> bytes:
        """An answer: `content` is the JSON of its blocks."""
        random = self.random
        head = (
            f'"message":{{"model":"claude-opus-5","id":"msg_{random.getrandbits(96):024x}","type":"message",'
            f'"role":"assistant","content":['
        )
        tail = (
            f'],"stop_reason":"{stop}","stop_sequence":null,"usage":{{"input_tokens":{random.randrange(9000)},'
            f'"cache_creation_input_tokens":{random.randrange(9000)},"cache_read_input_tokens":{random.randrange(99000)},'
            f'"output_tokens":{random.randrange(3000)},"service_tier":"standard"}}}},"requestId":"req_'
            f'{random.getrandbits(96):024x}"'
        )
        return self._row("assistant", head.encode() + content, tail.encode())

    def turn(self) -> Iterator[bytes]:
        """A question, some tool calls with their results, an answer."""
        random, text = self.random, corpus()
        yield self._row(
            "user",
            b'"message":{"role":"user","content":"' + text.cut(random, random.randrange(40, 400)) + b'"}',
        )
        for _ in range(random.randrange(1, 5)):
            yield from self._tool_call(text)
        thoughts = text.cut(random, random.randrange(100, 1500))
        yield self.assistant(b'{"type":"text","text":"' + thoughts + b'"}', "end_turn")

    def _tool_call(self, text: Corpus) -> Iterator[bytes]:
        random = self.random
        tool = f"toolu_{random.getrandbits(96):024x}"
        name = f"{self.cwd}/src/module_{random.randrange(40):02d}.py"
        yield self.assistant(
            f'{{"type":"tool_use","id":"{tool}","name":"Read","input":{{"file_path":{json.dumps(name)}}}}}'.encode(),
            "tool_use",
        )
        # Claude Code keeps what a tool returned twice: as the model saw it, and as the terminal shows it.
        result = text.cut(random, random.choice((300, 900, 2500, 6000)))
        yield self._row(
            "user",
            b'"message":{"role":"user","content":[{"tool_use_id":"'
            + tool.encode()
            + b'","type":"tool_result","content":"',
            result
            + b'"}]},"toolUseResult":{"type":"text","file":{"filePath":'
            + json.dumps(name).encode()
            + b',"content":"'
            + result
            + b'","startLine":1}}',
        )

    def last_prompt(self) -> bytes:
        """The metadata row that Claude Code appends now and then; it has no uuid."""
        return (
            f'{{"type":"last-prompt","lastPrompt":"go on","leafUuid":"{self.parent}","sessionId":"{self.session}"}}\n'
        ).encode()

    def rows(self, size: int) -> Iterator[bytes]:
        """Chunks of whole rows, about `size` bytes together and never less; a chunk is at most some MB."""
        written, pending, held = 0, 0, list[bytes]()
        while written + pending < size:
            for row in self.turn():
                held.append(row)
                pending += len(row)
                if written + pending >= size:
                    break
            if len(held) >= SLICE_ROWS:
                held.append(self.last_prompt())
                yield b"".join(held)
                written += pending + len(held[-1])
                pending, held = 0, []
        held.append(self.last_prompt())
        yield b"".join(held)
