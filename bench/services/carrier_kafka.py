"""The bare client of Kafka: aiokafka, futures awaited together, getmany, a commit of what was acked.

Guarantees: confirmed by all replicas, idempotent; the same number of partitions as amends makes, and the same pause
between two commits.
Must not: leave its group while it works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from aiokafka.errors import TopicAlreadyExistsError  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from amends.transport.kafka_options import BATCH_BYTES, COMMIT_SECONDS, FETCH_WAIT_SECONDS, PARTITIONS
from bench.services.carrier import Got, Letter, Receive, unending


class Bare:
    """One producer, one consumer."""

    def __init__(self, url: str, prefix: str) -> None:
        self._address = url.removeprefix("kafka://").partition("?")[0]
        self._prefix = prefix
        self._producer: Any = None
        self._consumer: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._acked: dict[TopicPartition, set[int]] = {}
        self._next: dict[TopicPartition, int] = {}

    async def open(self, queues: Sequence[str]) -> None:
        """Make the topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._address)
        await admin.start()
        for queue in queues:
            with suppress(TopicAlreadyExistsError):
                await admin.create_topics([NewTopic(self._prefix + queue, PARTITIONS, 1)])
        await admin.close()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._address, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
        )
        await self._producer.start()

    async def publish(self, letters: Sequence[Letter]) -> None:
        """All at once, then all confirms."""
        confirms = [
            await self._producer.send(self._prefix + queue, value=body, key=id_.hex().encode())
            for queue, id_, body in letters
        ]
        await asyncio.gather(*confirms)

    async def consume(self, queue: str, receive: Receive) -> None:
        """Ask, and let the broker keep the question."""
        topic = self._prefix + queue
        self._consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self._address,
            group_id=f"{topic}.bare",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(FETCH_WAIT_SECONDS * 1000),
        )
        await self._consumer.start()

        async def read() -> None:
            while True:
                found = await self._consumer.getmany(timeout_ms=1000)
                for place, records in found.items():
                    self._next.setdefault(place, records[0].offset)
                came = [
                    Got(bytes.fromhex(one.key.decode()), one.value, (place, one.offset))
                    for place, records in found.items()
                    for one in records
                ]
                if came:
                    receive(came)

        async def commit() -> None:
            while True:
                await asyncio.sleep(COMMIT_SECONDS)
                if self._advanced():
                    await self._consumer.commit(dict(self._next))

        self._tasks = [unending(read()), unending(commit())]

    def _advanced(self) -> bool:
        """Whether there is anything to commit: in each partition, what is done up to the first that is not."""
        moved = False
        for place, offsets in self._acked.items():
            while self._next[place] in offsets:
                offsets.remove(self._next[place])
                self._next[place] += 1
                moved = True
        return moved

    async def ack(self, got: Sequence[Got]) -> None:
        """With the next commit."""
        for one in got:
            place, offset = one.handle
            self._acked.setdefault(place, set()).add(offset)

    async def close(self) -> None:
        """Leave the group."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._consumer is not None:
            await self._consumer.stop()
        await self._producer.stop()
