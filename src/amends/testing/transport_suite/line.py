"""A line to a broker that can be cut: a TCP proxy on loopback.

Guarantees: bytes are passed on unchanged and in order until the line is cut; while it is down nobody gets through, and
its address stays the same.
Must not: know what is said on it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

READ_BYTES = 256 * 1024
_PORTS = {"amqp": 5672, "nats": 4222, "redis": 6379, "kafka": 9092}


class Line(Protocol):
    """Between a transport and its broker."""

    url: str
    """The broker, by this line."""

    async def open(self) -> None:
        """Let through."""
        ...

    async def cut(self) -> None:
        """Break every connection; new ones get through."""
        ...

    async def down(self) -> None:
        """Break every connection, and let nobody through."""
        ...

    async def up(self) -> None:
        """Let through again."""
        ...

    async def close(self) -> None:
        """Take it away. May be called twice."""
        ...


class ProxyLine:
    """Before the first host of a URL."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self.url: str = url
        self._target = (self._parts.hostname or "127.0.0.1", self._parts.port or _PORTS[self._parts.scheme])
        self._server: asyncio.Server | None = None
        self._port = 0
        self._pipes: set[asyncio.Task[None]] = set()
        self._down = False

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._parts.netloc.rpartition("@")
        self.url = urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{self._port}"))

    async def cut(self) -> None:
        pipes = list(self._pipes)
        for pipe in pipes:
            pipe.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)

    async def down(self) -> None:
        self._down = True
        await self.cut()

    async def up(self) -> None:
        self._down = False

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on both ways, until one side ends it or the line is cut."""
        task = asyncio.current_task()
        if self._down or task is None:
            writer.transport.abort()
            return
        self._pipes.add(task)
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.append(far_writer)
            both = [asyncio.ensure_future(_pass(reader, far_writer)), asyncio.ensure_future(_pass(far_reader, writer))]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            return  # of a handler of a connection nobody asks for the end
        finally:
            self._pipes.discard(task)
            for end in ends:
                end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()
