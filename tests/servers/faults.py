"""A TCP proxy on the loopback that breaks connections on purpose, and tells what was asked through it.

It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import weakref
from dataclasses import dataclass
from typing import Literal

_SLICE = 16 * 1024
# A client sends the next request when it has the answer to the last one: so each one begins a piece of its own.
_REQUEST = re.compile(rb"([A-Z]+ \S+) HTTP/1\.1\r\n")


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    `latency` seconds pass before each piece of an answer. After `after` bytes (None: never) of what is sent (`of`) the
    connection is reset, closed cleanly, or stalls: open, and silent. With `instead` the server hears nothing, and each
    connection gets these bytes for an answer.
    """

    latency: float = 0.0
    after: int | None = None
    then: Literal["reset", "close", "stall"] = "reset"
    of: Literal["answers", "requests"] = "answers"
    instead: bytes = b""


CLEAN = Fault()
REFUSED = Fault(after=0)
BLACKHOLE = Fault(after=0, then="stall")


def busy(seconds: int) -> Fault:
    """An HTTP server that asks to be left alone for so long."""
    head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\nConnection: close\r\n"
    return Fault(instead=f"{head}\r\n".encode())


class FaultProxy:
    """Passes connections to `upstream` (a port of the loopback) until told otherwise.

    `asked` are the requests of HTTP that came, method and path, in the order of their coming.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.connections = 0
        self.asked: list[str] = []
        self._fault = CLEAN
        self._left: int | None = None
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._opened: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> str:
        """Begin to listen; the endpoint."""
        self._thread.start()
        self._ready.wait()
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def set(self, fault: Fault, connections: int | None = None) -> None:
        """From now on connections meet `fault`; only the next `connections` if given. Those there now are reset."""

        async def change() -> None:
            self._fault, self._left = fault, connections
            self._reset_all()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    def listen(self, *, listening: bool) -> None:
        """Whether anybody listens: if not, the system refuses connections. Those there now are reset."""

        async def change() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            self._reset_all()
            if listening:
                await self._open()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self) -> None:
        await self._open()
        self._ready.set()
        await self._stop.wait()
        if self._server is not None:
            self._server.close()
        # Not gather: a connection that was accepted a moment ago has a task that is not in `_tasks` yet.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        for writer in list(self._opened):
            writer.transport.abort()
        await asyncio.sleep(0)  # sockets are closed in the loop's next round

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self._opened.add(writer)
        try:
            if self._stop.is_set():
                return
            fault = self._next_fault()
            if fault.instead:
                await self._answered(reader, writer, fault.instead)
            else:
                await self._connection(reader, writer, fault)
        except (OSError, asyncio.CancelledError):
            pass  # streams complain of a task that ends as cancelled
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    def _next_fault(self) -> Fault:
        self.connections += 1
        if self._left is None:
            return self._fault
        self._left -= 1
        return self._fault if self._left >= 0 else CLEAN

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        self._note(await reader.read(_SLICE))
        writer.write(answer)
        await writer.drain()
        while await reader.read(_SLICE):  # what it sends still; closed before, it would lose the answer
            pass

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._opened.add(up_writer)
        requests = asyncio.create_task(self._requests(reader, up_writer, fault, writer))
        try:
            await self._answers(up_reader, writer, fault)
        finally:
            up_writer.close()  # first: whoever is cancelled while it waits here gets no further
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)

    async def _requests(
        self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, fault: Fault, client: asyncio.StreamWriter
    ) -> None:
        left = fault.after if fault.of == "requests" else None
        while data := await reader.read(_SLICE):
            self._note(data)
            up.write(data if left is None else data[:left])
            await up.drain()
            if left is None:
                continue
            left -= min(left, len(data))
            if left == 0:
                if fault.then == "stall":
                    await asyncio.Event().wait()
                up.close()  # the server sees an upload that ends too early
                if fault.then == "reset":
                    _reset(client)
                return

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        left = fault.after if fault.of == "answers" else None
        # The server has done its work before any of its answer is lost.
        while data := await reader.read(_SLICE):
            await asyncio.sleep(fault.latency)
            writer.write(data if left is None else data[:left])
            await writer.drain()
            if left is None:
                continue
            left -= min(left, len(data))
            if left == 0:
                if fault.then == "reset":
                    _reset(writer)
                elif fault.then == "stall":
                    await asyncio.Event().wait()
                return

    def _note(self, data: bytes) -> None:
        found = _REQUEST.match(data)
        if found is not None:
            self.asked.append(found[1].decode(errors="replace"))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close the hard way: the other side sees a connection reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
