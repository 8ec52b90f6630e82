"""The bare client of RabbitMQ: aiormq, which aio-pika stands on; quorum queues, confirms, many outstanding.

Guarantees: persistent messages, each confirmed; a batch is acked with one frame where nothing before it is open.
Must not: declare anything again that is there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import aiormq
from pamqp.commands import Basic

from bench.services.carrier import Got, Letter, Receive

PREFETCH = 1000


class Bare:
    """One connection, with a channel for each way."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._out: Any = None
        self._in: Any = None
        self._connection: Any = None
        self._open: dict[int, None] = {}

    async def open(self, queues: Sequence[str]) -> None:
        """Make the queues."""
        self._connection = await aiormq.connect(self._url)
        self._out = await self._connection.channel(publisher_confirms=True)
        self._in = await self._connection.channel(publisher_confirms=False)
        for queue in queues:
            await self._out.queue_declare(self._prefix + queue, durable=True, arguments={"x-queue-type": "quorum"})

    async def publish(self, letters: Sequence[Letter]) -> None:
        """All at once, then all confirms."""
        sent = [
            self._out.basic_publish(
                body,
                routing_key=self._prefix + queue,
                properties=Basic.Properties(delivery_mode=2, correlation_id=id_.hex()),
                mandatory=True,
                wait=False,
            )
            for queue, id_, body in letters
        ]
        await asyncio.gather(*sent)

    async def consume(self, queue: str, receive: Receive) -> None:
        """Have it pushed; what comes in one turn of the loop is handed over together."""
        loop, waiting = asyncio.get_running_loop(), list[Got]()

        def hand_over() -> None:
            came = waiting.copy()
            waiting.clear()
            receive(came)

        async def came(delivered: Any) -> None:
            if not waiting:
                loop.call_soon(hand_over)
            self._open[delivered.delivery_tag] = None
            id_ = bytes.fromhex(delivered.header.properties.correlation_id)
            waiting.append(Got(id_, delivered.body, delivered.delivery_tag))

        await self._in.basic_qos(prefetch_count=PREFETCH)
        await self._in.basic_consume(self._prefix + queue, came)

    async def ack(self, got: Sequence[Got]) -> None:
        """One for all that nothing open lies before, one for each of the others."""
        tags = [one.handle for one in got]
        for tag in tags:
            del self._open[tag]
        first_open = next(iter(self._open), math.inf)
        together = [tag for tag in tags if tag < first_open]
        if together:
            await self._in.basic_ack(max(together), multiple=True, wait=False)
        for tag in tags:
            if tag > first_open:
                await self._in.basic_ack(tag, wait=False)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()
