"""The transport over Kafka against its bare client, in one run: `python -m bench.transport_kafka [kafka://host:port]`.

What is measured is a message confirmed by the broker, delivered, and committed; bare with the client's own methods as a
careful user would write them, and by the transport. Without a URL a Kafka is started for the purpose.

Guarantees: both sides have the same broker, messages, partitions, batches and settings, one after the other.
Must not: run beside another benchmark.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]

from amends.message import Message, headers
from amends.transport.base import Delivery, Destination, Send
from amends.transport.kafka import KafkaTransport

ROUNDS = 3
MESSAGES = 10_000
BATCH = 500
LONE = 300
QUEUE = Destination("bench.commands")
_BODY = b'{"sku":"teapot","quantity":1,"order":"order-42","note":"' + b"x" * 200 + b'"}'


def _message(number: int) -> Message:
    return Message(
        f"id-{number}", "inventory.reserve-stock", "orders", _BODY, 1_700_000_000.0, "order-42", f"saga-{number}",
        {"amendssaga": f"order-{number}", "amendsstep": "reserve-stock", "amendsattempt": "1"},
    )  # fmt: skip


class Bare:
    """The client alone: send() futures awaited together, getmany(), a commit of what has come."""

    def __init__(self, url: str, topic: str) -> None:
        self._address = url.removeprefix("kafka://")
        self._topic = topic
        self.count: int = 0
        self.came = asyncio.Event()

    async def open(self) -> None:
        shared = {"bootstrap_servers": self._address}
        self._producer: Any = AIOKafkaProducer(acks="all", enable_idempotence=True, max_batch_size=256 * 1024, **shared)
        self._consumer: Any = AIOKafkaConsumer(
            self._topic,
            group_id=f"{self._topic}.bare",
            enable_auto_commit=False,
            auto_offset_reset="latest",
            **shared,
        )
        await self._producer.start()
        await self._consumer.start()
        await asyncio.gather(*(self._consumer.position(tp) for tp in self._consumer.assignment()))
        self._tasks = [asyncio.ensure_future(self._consume()), asyncio.ensure_future(self._commit())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._producer.stop()
        await self._consumer.stop()

    async def publish(self, messages: Sequence[Message]) -> None:
        futures = []
        for message in messages:
            told = [(name, value.encode()) for name, value in headers(message, "ce_").items()]
            key = message.key.encode()
            futures.append(await self._producer.send(self._topic, value=message.data, key=key, headers=told))
        await asyncio.gather(*futures)

    async def _consume(self) -> None:
        while True:
            found = await self._consumer.getmany(timeout_ms=1000)
            self.count += sum(len(records) for records in found.values())
            self.came.set()

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(0.15)
            await self._consumer.commit()


class Ours:
    """The transport."""

    def __init__(self, url: str, prefix: str) -> None:
        self._transport = KafkaTransport(f"{url}?prefix={prefix}")
        self.count: int = 0
        self.came = asyncio.Event()
        self._acks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self._transport.open()
        await self._transport.listen(QUEUE, "", self._receive, in_flight=1000)

    async def close(self) -> None:
        await self._transport.close()

    async def publish(self, messages: Sequence[Message]) -> None:
        told = await self._transport.publish([Send(QUEUE, message) for message in messages])
        assert told == [None] * len(messages), told

    def _receive(self, deliveries: Sequence[Delivery]) -> None:
        task = asyncio.ensure_future(self._work(deliveries))
        self._acks.add(task)
        task.add_done_callback(self._acks.discard)

    async def _work(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await delivery.ack()
        self.count += len(deliveries)
        self.came.set()


async def _until(side: Bare | Ours, count: int) -> None:
    while side.count < count:
        side.came.clear()
        await side.came.wait()


async def _rate(side: Bare | Ours) -> float:
    """Messages a second through publishing, delivery and commit, 4 batches at a time."""
    messages = [_message(number) for number in range(MESSAGES)]
    target, gate = side.count + MESSAGES, asyncio.Semaphore(4)

    async def batch(at: int) -> None:
        async with gate:
            await side.publish(messages[at : at + BATCH])

    began = time.perf_counter()
    await asyncio.gather(*(batch(at) for at in range(0, MESSAGES, BATCH)))
    await _until(side, target)
    return MESSAGES / (time.perf_counter() - began)


async def _lone(side: Bare | Ours) -> float:
    """Milliseconds from publishing one message to having it, the median."""
    told = []
    for number in range(LONE):
        target, began = side.count + 1, time.perf_counter()
        await side.publish([_message(number)])
        await _until(side, target)
        told.append(time.perf_counter() - began)
    return median(told) * 1000


async def _measure(url: str) -> None:
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    ours, bare = Ours(url, prefix), Bare(url, f"{prefix}.{QUEUE.name}")
    measures: dict[str, Callable[[Bare | Ours], Awaitable[float]]] = {"messages/s": _rate, "lone, ms": _lone}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in measures}
    for _ in range(ROUNDS):
        for name, measure in measures.items():
            pair = []
            for side in (ours, bare):  # the topic is made by the first
                await side.open()
                await measure(side) if not found[name] else None
                pair.append(await measure(side))
                await side.close()
            found[name].append((pair[0], pair[1]))
            ours, bare = Ours(url, prefix), Bare(url, f"{prefix}.{QUEUE.name}")
    for name, pairs in found.items():
        us, them = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
        print(f"{name:>12}: transport {us:10.2f}   bare client {them:10.2f}   ratio {us / them:.2f}")


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    if arguments:
        asyncio.run(_measure(arguments[0]))
        return
    from services.kafka import Kafka

    with Kafka() as server:
        asyncio.run(_measure(server.url))


if __name__ == "__main__":
    main(sys.argv[1:])
