"""A control server on a real socket in the test's own loop, over a service in memory."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from memory_service import MemoryService

from claude_syncd.control.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Served:
    """What runs: the service, where it can be asked, and the task that serves it."""

    service: MemoryService
    path: Path
    task: asyncio.Task[None]

    async def exchange(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes, and give status, headers (lower case) and everything behind them until the server closes."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        first, *rest = head.decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in rest)
        return int(first.split(" ")[1]), headers, body

    async def ask(self, method: str, path: str, body: bytes = b"", accept: str = "*/*") -> tuple[int, bytes]:
        """Make one request and give status and content."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: {accept}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        status, _, content = await self.exchange(head.encode() + body)
        return status, content

    async def stop(self) -> None:
        """Cancel the server and wait for its end."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    ready = asyncio.Event()
    service = MemoryService()
    path = tmp_path / "control.sock"
    task = asyncio.create_task(serve(service, path, ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    running = Served(service, path, task)
    yield running
    await running.stop()
