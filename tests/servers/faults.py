"""A TCP proxy on the loopback that breaks connections on purpose. It runs in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal

_SLICE = 16 * 1024


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    `latency` seconds pass before each piece of an answer. After `after` bytes of answers (None: never) the connection
    is reset, closed cleanly, or stalls: open, and silent.
    """

    latency: float = 0.0
    after: int | None = None
    then: Literal["reset", "close", "stall"] = "reset"


CLEAN = Fault()
REFUSED = Fault(after=0)
BLACKHOLE = Fault(after=0, then="stall")


class FaultProxy:
    """Passes connections to `upstream` (a port of the loopback) until told otherwise."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.connections = 0
        self._fault = CLEAN
        self._left: int | None = None
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
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
            for writer in list(self._writers):
                _reset(writer)

        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connection(reader, writer, self._next_fault())
        except OSError:
            pass
        finally:
            self._tasks.discard(task)

    def _next_fault(self) -> Fault:
        self.connections += 1
        if self._left is None:
            return self._fault
        self._left -= 1
        return self._fault if self._left >= 0 else CLEAN

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._writers.add(writer)
        requests = asyncio.create_task(_copy(reader, up_writer))
        try:
            await self._answers(up_reader, writer, fault)
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)
            self._writers.discard(writer)
            up_writer.close()
            writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        left = fault.after
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


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_SLICE):
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close the hard way: the other side sees a connection reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
