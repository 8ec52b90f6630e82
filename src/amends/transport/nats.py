"""NATS JetStream: `nats://` and `tls://`. Streams stand for destinations, durable pull consumers for groups.

Guarantees: what `base.py` says; with the server's default settings, of what was confirmed nothing is lost when the
server is killed (a power cut is another matter: `docs/reference/transports.md`).
Must not: change or remove streams and consumers that are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from amends.transport.base import Destination, Kind, Listening, Receive, Send
from amends.transport.nats_link import Link
from amends.transport.nats_listener import NatsListener
from amends.transport.nats_options import read
from amends.transport.nats_places import Places, consumer_of, stream_of
from amends.transport.nats_publish import Publisher


class NatsTransport:
    """One connection to a NATS server, or to a cluster."""

    def __init__(self, url: str) -> None:
        self._options = read(url)
        self.prefix: str = self._options.prefix
        self._link = Link(self._options)
        self._places = Places(self._link)
        self._publisher = Publisher(self._link)
        self._listeners: list[NatsListener] = []

    @property
    def away(self) -> str:
        """Why nothing can be published at the moment; empty if it can."""
        return self._link.away

    async def open(self) -> None:
        await self._link.open()

    async def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        await asyncio.gather(*(listener.close() for listener in listeners))
        await self._link.close()

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        return await self._publisher.publish(sends) if sends else []

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        stream_of(self.prefix, source)
        consumer_of(self.prefix, source, group)
        if not self._link.is_open:
            raise self._options.url.refused(self.away)
        listener = NatsListener(self._link, self._publisher, source, group, receive, in_flight)
        await listener.start(self._options.connect_seconds)
        self._listeners.append(listener)
        return listener

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        for destination in destinations:
            if destination.kind is Kind.QUEUE:
                await self._places.consumer(destination, "", None)
            else:
                await self._places.stream(destination)

    async def lag(self, source: Destination, group: str) -> int | None:
        return await self._places.lag(source, group)
