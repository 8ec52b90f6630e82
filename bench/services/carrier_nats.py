"""The bare client of NATS: nats-py, a work-queue stream in files, a durable consumer that the server pushes to.

Guarantees: each message is confirmed by JetStream, all of a batch awaited together.
Must not: keep anything in progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from bench.services.carrier import Got, Letter, Receive


class Bare:
    """One connection."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix.replace(".", "-")
        self._client: Any = None
        self._stream: Any = None

    async def open(self, queues: Sequence[str]) -> None:
        """Make the streams."""
        self._client = await nats.connect(self._url)
        self._stream = self._client.jetstream(publish_async_max_pending=100_000)
        for queue in queues:
            name = self._name(queue)
            await self._stream.add_stream(
                StreamConfig(name=name, subjects=[name], retention=RetentionPolicy.WORK_QUEUE)
            )

    async def publish(self, letters: Sequence[Letter]) -> None:
        """All at once, then all confirms."""
        confirms = [
            await self._stream.publish_async(self._name(queue), id_ + body, wait_stall=10.0)
            for queue, id_, body in letters
        ]
        await asyncio.gather(*confirms)

    async def consume(self, queue: str, receive: Receive) -> None:
        """Have it pushed."""

        async def came(message: Any) -> None:
            receive([Got(message.data[:16], message.data[16:], message)])

        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=-1)
        name = self._name(queue)
        await self._stream.subscribe(name, durable="bare", stream=name, cb=came, manual_ack=True, config=config)

    async def ack(self, got: Sequence[Got]) -> None:
        """Sent, and not waited for."""
        for one in got:
            await one.handle.ack()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    def _name(self, queue: str) -> str:
        return f"{self._prefix}-{queue.replace('.', '-')}"
