"""A TCP proxy that does to a connection with a server what networks do at the worst moment.

    with Proxy(url) as proxy:
        through = proxy.url(url)
        trap = proxy.swallow_next(b"INSERT INTO amends.journal")  # executed and committed, and nobody is told
        ...
        assert trap.wait(20)

PostgreSQL's protocol is read, so that a statement and its answer are found for sure; every other is passed on unread,
and `services/plain_wire.py` says what can be done to it all the same.

It runs on a thread of its own, so that it serves synchronous and asynchronous clients alike; its methods may be
called from any thread, and have taken effect when they return.

Guarantees: bytes are passed on unchanged and in order, or the line is cut; after `swallow_next` has sprung before a
PostgreSQL, the server has answered that statement for good, and the client has seen nothing of the answer.
Must not: be reached from another machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from services.plain_wire import PlainLine
from services.postgres_wire import Line, Passing
from services.process import free_port

READ_BYTES = 64 * 1024
CALL_SECONDS = 30.0
T = TypeVar("T")


@dataclass
class Trap:
    """Waits for one statement, or message. `swallow`: it is executed, its answer lost; `lose`: it never arrives."""

    marker: bytes
    kind: Literal["swallow", "lose"]
    skip: int = 0  # so many executions pass unharmed first
    _sprung: threading.Event = field(default_factory=threading.Event)

    @property
    def sprung(self) -> bool:
        """Whether the line was cut by it."""
        return self._sprung.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until the line was cut by it; False if that did not happen in time."""
        return self._sprung.wait(seconds)

    def spring(self) -> None:
        """Say that it was."""
        self._sprung.set()


class _Connection:
    """One client's line through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, line: Line | PlainLine) -> None:
        self.client = client
        self.server = server
        self.line = line
        self.trap: Trap | None = None  # sprung once the server has answered so often:
        self.last_answer = 0

    def cut(self) -> None:
        """Cut both ends now, as a reset: what was under way is lost."""
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Stands before one server."""

    def __init__(self, url: str) -> None:
        """url: of the server behind it; only scheme, host and port matter."""
        parts = urlsplit(url)
        self._reads = parts.scheme.startswith("postgres")
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._traps: list[Trap] = []
        self._delay_seconds = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def url(self, url: str) -> str:
        """The way through this proxy to what the URL of the server behind it names."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    @property
    def lines(self) -> int:
        """How many connections go through it now."""
        return len(self._connections)

    def cut(self) -> int:
        """Cut all lines now. Gives how many."""
        return self._do(self._cut)

    def delay(self, seconds: float) -> None:
        """From now on everything takes so much longer, in each direction."""
        self._do(lambda: setattr(self, "_delay_seconds", seconds))

    def freeze(self) -> None:
        """Pass on nothing, while all lines stay open: a half-open network."""
        self._do(self._flowing.clear)

    def thaw(self) -> None:
        """Pass on what was held, and everything again."""
        self._do(self._flowing.set)

    def refuse(self) -> None:
        """Take no new connections; those that are there stay."""
        self._call(self._refuse())

    def accept(self) -> None:
        """Take connections (again), on the same port."""
        self._call(self._accept())

    def swallow_next(self, match: bytes, *, skip: int = 0) -> Trap:
        """Let the server execute the next statement with this in its text or values, and cut the line once it has
        answered (committed, if it was to), before a byte of the answer is passed on. `skip` spares the first ones."""
        return self._set(Trap(match, "swallow", skip))

    def lose_next(self, match: bytes, *, skip: int = 0) -> Trap:
        """Cut the line instead of passing on the next such statement: to the client it looks the same."""
        return self._set(Trap(match, "lose", skip))

    def disarm(self) -> None:
        """Forget the traps that have not caught anything."""
        self._do(self._traps.clear)

    def _set(self, trap: Trap) -> Trap:
        self._do(lambda: self._traps.append(trap))
        return trap

    def _do(self, act: Callable[[], T]) -> T:
        async def on_the_loop() -> T:
            return act()

        return self._call(on_the_loop())

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS)

    def _cut(self) -> int:
        gone = list(self._connections)
        for connection in gone:
            connection.cut()
        return len(gone)

    async def _accept(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=READ_BYTES)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _close(self) -> None:
        await self._refuse()
        self._flowing.set()
        self._cut()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection(*self._target, limit=READ_BYTES)
        except OSError:
            client.transport.abort()  # nobody behind us: as if nobody were here
            return
        connection = _Connection(client, server, Line() if self._reads else PlainLine())
        self._connections.add(connection)
        there = asyncio.create_task(self._to_server(connection, from_client))
        back = asyncio.create_task(self._to_client(connection, from_server))
        try:
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connections.discard(connection)
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            client.close()
            server.close()

    async def _to_server(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                await self._held()
                for message in connection.line.from_client(data):
                    self._arm(connection, message)
                    if connection.trap is not None and connection.trap.kind == "lose":
                        connection.cut()
                        connection.trap.spring()
                        return
                    connection.server.write(message.data)
                await connection.server.drain()

    async def _to_client(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_BYTES):
                await self._held()
                messages = connection.line.from_server(data)
                if connection.trap is None:
                    connection.client.writelines(messages)
                    await connection.client.drain()
                elif connection.line.answers_seen >= connection.last_answer:
                    connection.cut()
                    connection.trap.spring()
                    return

    def _arm(self, connection: _Connection, message: Passing) -> None:
        """Whether this message is what a trap waits for."""
        if message.executes is None or connection.trap is not None:
            return
        for trap in self._traps:
            if trap.marker in message.executes:
                if trap.skip > 0:
                    trap.skip -= 1
                    continue
                self._traps.remove(trap)
                connection.trap = trap
                connection.last_answer = message.answer
                return

    async def _held(self) -> None:
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        await self._flowing.wait()
