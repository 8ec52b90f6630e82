"""One connection to RabbitMQ, kept: opened again, with growing pauses, whenever it is lost.

Guarantees: `connection` is open or None; whoever waits for it is woken when it is there; a connection that is given up
is gone at once, with a frozen broker, too.
Must not: declare, publish or consume anything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import aiormq
from aiormq.connection import Connection, TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ConnectionNotAllowed,
    IncompatibleProtocolError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from amends.errors import TransportRefused
from amends.transport.driver_logs import driving, keep_out
from amends.transport.lasting import lasting
from amends.transport.url import Host, Url

PAUSE_FIRST_SECONDS = 0.1
PAUSE_LAST_SECONDS = 2.0
HEARTBEAT_SECONDS = 10
CLOSE_SECONDS = 3.0
# What is not mended by waiting, where it happens at the first connection. A vhost that is not there comes as a frame
# that was not expected.
_FINAL = (
    AuthenticationError,
    ConnectionNotAllowed,
    IncompatibleProtocolError,
    InvalidFrameError,
    ProbableAuthenticationError,
    ssl.SSLError,
)
TROUBLE = (AMQPError, OSError, asyncio.TimeoutError, asyncio.InvalidStateError, RuntimeError)
_log = logging.getLogger("amends.transport.rabbitmq")


class _Wire(TransportFactory):
    """Opens the socket, and remembers it, so that it can be given up."""

    def __init__(self, inner: TransportFactory) -> None:
        self._inner = inner
        self.writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self.writer = await self._inner.create(url, **kwargs)
        return reader, self.writer

    def abort(self) -> None:
        """Give it up."""
        if self.writer is not None:
            self.writer.transport.abort()


class Link:
    """Keeps one connection."""

    def __init__(self, url: Url, name: str) -> None:
        self._url = url
        self._name = name
        self._context = url.tls() if url.scheme == "amqps" else None
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._wire: _Wire | None = None
        self._broken: asyncio.Event = asyncio.Event()
        self._lost = False
        self.connection: Connection | None = None
        self.away: str = "it is not open"
        self.opened: Callable[[], None] = lambda: None
        self.beside: Link | None = None  # the other connection: one of them says that the broker is away
        keep_out("aiormq")

    @property
    def lost(self) -> bool:
        """Whether it was said that the broker is away."""
        return self._lost

    @property
    def modern(self) -> bool:
        """Whether the broker is RabbitMQ 4, whose quorum queues give a message up after 20 deliveries by default."""
        told: Any = getattr(self.connection, "server_properties", {})
        major = str(told.get("version", "")).partition(".")[0]
        return major.isdigit() and int(major) >= 4

    async def open(self) -> None:
        """Connect once, and keep it up from then on. Raises TransportRefused where no waiting helps."""
        try:
            self._set(await self._connect())
        except _Refused as error:
            raise self._url.refused(str(error)) from error
        except TROUBLE as error:
            self._away(error)
        self._keeper = asyncio.get_running_loop().create_task(
            lasting(self._keep, f"the connection to {self._url.shown}", _log), name=f"amends-rabbitmq-{self._name}"
        )

    async def close(self) -> None:
        """Give the connection back."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        await self._end()
        self.away = "it is closed"
        self._changed.set()

    async def ready(self, seconds: float) -> Connection | None:
        """The connection, waited for if need be; None where it does not come in time, or never will."""
        try:
            async with asyncio.timeout(seconds):
                while self.connection is None and self._keeper is not None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self.connection

    async def _keep(self) -> None:
        pause = PAUSE_FIRST_SECONDS
        while True:
            if self.connection is not None:
                pause = PAUSE_FIRST_SECONDS
                await self._broken.wait()
                self._away(_reason(self.connection))
                await self._end()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # so that not all come at once
            pause = min(pause * 2, PAUSE_LAST_SECONDS)
            try:
                self._set(await self._connect())
            except (_Refused, *TROUBLE) as error:
                self._away(error)

    async def _connect(self) -> Connection:
        """Try the hosts in turn."""
        last: BaseException = OSError("no host")
        for host in self._url.hosts:
            wire = _Wire(TLSTransportFactory() if self._context else TCPTransportFactory())
            try:
                async with asyncio.timeout(self._url.connect_seconds):
                    with driving():
                        made = await aiormq.connect(self._target(host), context=self._context, transport_factory=wire)
            except TROUBLE as error:
                wire.abort()
                if _is_final(error):
                    raise _Refused(f"{host}: {_text(error)}") from error
                last = error
            except BaseException:
                wire.abort()
                raise
            else:
                self._wire = wire
                return made
        raise last

    def _target(self, host: Host) -> str:
        url = self._url
        login = f"{quote(url.user or 'guest', safe='')}:{quote(url.password or 'guest', safe='')}"
        vhost = quote(unquote(url.path or "") or "/", safe="")
        options = f"heartbeat={url.number('heartbeat_seconds', HEARTBEAT_SECONDS)}&name=amends-{self._name}"
        return f"{url.scheme}://{login}@{host}/{vhost}?{options}"

    def _set(self, connection: Connection) -> None:
        self._broken.clear()
        connection.closing.add_done_callback(lambda _: self._broken.set())
        if self._lost:
            _log.info("%s is there again, to %s", self._url.shown, self._name)
        self.connection, self.away, self._lost = connection, "", False
        self._changed.set()
        self.opened()

    def _away(self, why: BaseException | str) -> None:
        text = why if isinstance(why, str) else _text(why)
        self.connection = None
        self.away = f"{self._url.shown}: {text}"
        said = self._lost or (self.beside is not None and self.beside.lost)
        self._lost = True
        _log.log(logging.DEBUG if said else logging.WARNING, "%s is away: %s", self._url.shown, text)

    async def _end(self) -> None:
        """Say good-bye if there is somebody to hear it."""
        connection, wire = self.connection, self._wire
        self.connection = self._wire = None
        if wire is None:
            return
        try:
            if connection is not None and not connection.is_closed:
                async with asyncio.timeout(CLOSE_SECONDS):
                    with driving():
                        await connection.close()
        except TROUBLE:
            _log.debug("the connection to %s did not end in time", self._url.shown)
        finally:
            wire.abort()


class _Refused(TransportRefused):
    """The broker said no."""


def _is_final(error: BaseException) -> bool:
    if isinstance(error, InvalidFrameError):
        return "Connection.Close" in str(error)
    return isinstance(error, _FINAL) or isinstance(error.__cause__, _FINAL)


def _reason(connection: Connection) -> str:
    closing = connection.closing
    error = closing.exception() if closing.done() and not closing.cancelled() else None
    return _text(error) if error is not None else "the connection was lost"


def _text(error: BaseException) -> str:
    """What an error says; never a URL with its password, which these errors do not hold."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {str(error.args[-1] if error.args else error)[:300]}"
