"""The transport over RabbitMQ, by aiormq, the AMQP client beneath aio-pika.

    amqp://user:password@host:5672/vhost        amqps://user:password@host:5671/vhost?cafile=/path/authority.pem

Two connections: one publishes, one consumes, so that a broker that is short of memory and lets nobody publish still
hands out messages and hears of acks.

Guarantees: what `base.py` says. Claims last as long as the channel: as long as the process lives and its loop runs, and
no longer than the broker's `consumer_timeout`, 30 minutes unless its operator says otherwise.
Must not: know what a message means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from amends.errors import TransportAway, TransportError, TransportRefused
from amends.transport.base import Destination, Kind, Listening, Receive, Send
from amends.transport.names import at_broker, group_at_broker
from amends.transport.rabbitmq_link import Link
from amends.transport.rabbitmq_listen import RabbitmqListener
from amends.transport.rabbitmq_places import Places
from amends.transport.rabbitmq_publish import Nowhere, Parcel, Publisher
from amends.transport.rabbitmq_wire import Letter, letter
from amends.transport.url import TLS, parse

PORTS = {"amqp": 5672, "amqps": 5671}
SETTLE_SECONDS = 2.0
AGAIN_SECONDS = 1.0  # a second try has at least so long


class RabbitmqTransport:
    """Two connections to one virtual host."""

    def __init__(self, url: str) -> None:
        self._url = parse(url, PORTS)
        self._url.only("heartbeat_seconds", *TLS)
        self._url.number("heartbeat_seconds", 1)
        self.prefix: str = self._url.prefix
        self._sending, self._hearing = Link(self._url, "publish"), Link(self._url, "listen")
        self._sending.beside, self._hearing.beside = self._hearing, self._sending
        self._places, self._sources = Places(self._url, self._sending), Places(self._url, self._hearing)
        self._publisher = Publisher(self._url, self._sending)
        self._listeners: list[RabbitmqListener] = []
        self._wanted: set[Destination] = set()
        self._preparing: asyncio.Task[None] | None = None
        self._sending.opened, self._hearing.opened = self._opened, self._sources.forget

    @property
    def away(self) -> str:
        """Why nothing can be published at the moment; empty if it can."""
        return self._sending.away

    async def open(self) -> None:
        await self._sending.open()
        try:
            await self._hearing.open()
        except BaseException:
            await self._sending.close()
            raise

    async def close(self) -> None:
        await asyncio.gather(*(listener.close() for listener in self._listeners))
        self._listeners.clear()
        await self._publisher.settle(SETTLE_SECONDS)
        if self._preparing is not None:
            self._preparing.cancel()
        await asyncio.gather(self._sending.close(), self._hearing.close())

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        told: list[Exception | None] = [None] * len(sends)
        parcels: dict[int, Parcel] = {}
        end = asyncio.get_running_loop().time() + self._url.publish_seconds
        for index, send in enumerate(sends):
            made = await self._parcel(send, end)
            if isinstance(made, Parcel):
                parcels[index] = made
            else:
                told[index] = made
        for index, error in zip(parcels, await self.put(list(parcels.values())), strict=True):
            told[index] = error
        return told

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        group_at_broker(self.prefix, source, group)
        listener = RabbitmqListener(self, self._hearing, self._sources, source, group)
        await listener.start(receive, in_flight)
        self._listeners.append(listener)
        return listener

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        self._wanted.update(destinations)
        for destination in destinations:
            at_broker(self.prefix, destination)
            try:
                await self._places.destination(destination)
            except TransportAway:
                return  # seen to when the broker is there

    async def lag(self, source: Destination, group: str) -> int | None:
        return await self._sources.waiting(group_at_broker(self.prefix, source, group))

    async def put(self, parcels: Sequence[Parcel]) -> list[Exception | None]:
        """Publish. A queue that is missing is made, where it may be, and what was for it goes out again."""
        end = asyncio.get_running_loop().time() + self._url.publish_seconds
        told = await self._publisher.send(parcels, self._url.publish_seconds)
        if any(isinstance(error, TransportAway) for error in told):
            self._places.forget()  # a topic's exchange that is missing ends the channel
        if any(isinstance(error, Nowhere) for error in told):
            await self._again(parcels, told, end)
        return told

    async def keep(self, to: Destination, letter: Letter) -> Exception | None:
        """Put a letter into a queue."""
        told = await self.put([Parcel("", at_broker(self.prefix, to), letter, to)])
        return told[0]

    async def _again(self, parcels: Sequence[Parcel], told: list[Exception | None], end: float) -> None:
        """Send what was for a missing queue once more."""
        lost = {index: parcels[index].makes for index, error in enumerate(told) if isinstance(error, Nowhere)}
        if self._url.create:
            await self._publisher.vanished({parcels[index].key for index in lost})
        self._places.forget()
        again: list[int] = []
        for index, to in lost.items():
            error = None if to is None else await self._seen_to(to, end)
            if to is not None and error is None:
                again.append(index)
            elif error is not None:
                told[index] = error
        left = max(end - asyncio.get_running_loop().time(), AGAIN_SECONDS)
        sent = await self._publisher.send([parcels[index] for index in again], left)
        for index, fate in zip(again, sent, strict=True):
            told[index] = fate

    async def _seen_to(self, to: Destination, end: float) -> TransportError | None:
        """See to a destination, and say why it is not there."""
        try:
            async with asyncio.timeout_at(end):
                await self._places.destination(to)
        except (TransportRefused, TransportAway) as error:
            return error
        except TimeoutError:
            return TransportAway(f"{self._url.shown}: no answer in time")
        return None

    async def _parcel(self, send: Send, end: float) -> Parcel | TransportError:
        """What goes out for a message, or why nothing does."""
        try:
            name = at_broker(self.prefix, send.to)
        except TransportRefused as error:
            return error
        made = letter(send.message, self._url.message_bytes)
        if isinstance(made, TransportRefused):
            return made
        if send.to.kind is Kind.QUEUE:
            return Parcel("", name, made, send.to)
        return await self._seen_to(send.to, end) or Parcel(name, "", made)

    def _opened(self) -> None:
        """See to what was asked for before, as the broker may have lost it."""
        self._places.forget()
        if self._wanted:
            self._preparing = asyncio.get_running_loop().create_task(self._prepare_again())

    async def _prepare_again(self) -> None:
        try:
            await self.prepare(list(self._wanted))
        except TransportRefused:
            return  # whoever publishes there is told
