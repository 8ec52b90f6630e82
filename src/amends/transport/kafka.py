"""The transport over Apache Kafka.

A queue is a topic with one group, named after the topic; a topic has a group of consumers for each group. A message's
key says its partition, so what has the same key keeps its order. See `kafka_listen.py` for acks, and
`kafka_delivery.py` for what `times` says.

Guarantees: what `base.py` says. A confirmed message is in all replicas that are in sync.
Must not: know what a saga is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from amends.errors import TransportRefused
from amends.transport import kafka_edge as edge
from amends.transport.base import Destination, Listening, Receive, Send
from amends.transport.door import MESSAGE_BYTES
from amends.transport.kafka_link import Link
from amends.transport.kafka_listen import KafkaListener
from amends.transport.kafka_options import read
from amends.transport.kafka_publish import Publisher
from amends.transport.names import at_broker, group_at_broker

CLOSE_SECONDS = 2.0  # for confirms and acks that are on their way
LAG_SECONDS = 5.0


class KafkaTransport:
    """One connection to a Kafka, in one process, on one loop."""

    def __init__(self, url: str) -> None:
        self._options = read(url)
        self.prefix: str = self._options.prefix
        self._link = Link(self._options)
        self._publisher = Publisher(self._link, self._options.url.number("message_bytes", MESSAGE_BYTES))
        self._listeners: list[KafkaListener] = []

    @property
    def away(self) -> str:
        """Why nothing can be published at the moment; empty if it can."""
        return self._link.away

    async def open(self) -> None:
        await self._link.open()

    async def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        until = time.monotonic() + CLOSE_SECONDS
        while self._publisher.busy and not self._link.away and time.monotonic() < until:
            await asyncio.sleep(0.01)
        if listeners:
            await asyncio.gather(*(listener.left(max(until - time.monotonic(), 0.0)) for listener in listeners))
        await self._link.close()

    async def publish(self, sends: Sequence[Send]) -> list[Exception | None]:
        return await self._publisher.publish(sends)

    async def listen(self, source: Destination, group: str, receive: Receive, *, in_flight: int) -> Listening:
        listener = KafkaListener(self._link, self._publisher, source, group, receive)
        if not self._link.opened:
            raise TransportRefused(f"{self._options.shown}: {self._link.away}")
        listener.in_flight = in_flight
        self._listeners.append(listener)
        try:
            await listener.start()
        except BaseException:
            self._listeners.remove(listener)
            raise
        return listener

    async def prepare(self, destinations: Sequence[Destination]) -> None:
        """As `Transport.prepare` says; a broker that is away for `publish_seconds` raises TransportAway."""
        topics = [at_broker(self.prefix, destination) for destination in destinations]
        await self._link.prepare(topics, self._options.publish_seconds)

    async def lag(self, source: Destination, group: str) -> int | None:
        topic, name = at_broker(self.prefix, source), group_at_broker(self.prefix, source, group)
        until = time.monotonic() + LAG_SECONDS
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(LAG_SECONDS):
                    return await self._lag(topic, name)
            except edge.AWAY:  # a group that nobody has asked for before is not there at once
                await asyncio.sleep(0.1)
        return None

    async def _lag(self, topic: str, group: str) -> int:
        """What is in the log behind what is committed."""
        producer = await self._link.ready(LAG_SECONDS)
        found = await edge.topics_there(producer.client, [topic])
        if topic not in found:
            return 0
        partitions = await self._link.partitions(topic, LAG_SECONDS)
        ends = await edge.ends(producer.client, topic, partitions, edge.LATEST)
        firsts = await edge.ends(producer.client, topic, partitions, edge.EARLIEST)
        done = await edge.committed(producer.client, group, topic, partitions)
        return sum(max(end - max(done.get(number, 0), firsts[number]), 0) for number, end in ends.items())
