"""The clients of aiokafka: how they are made, started and given up.

`stop` of a producer waits for a broker that is away: `drop_producer` does not. A start that is interrupted leaves a
connection open, over which it asks for the cluster: `start` is not interrupted, and what is dropped has started. What
is closed may still open a connection, which nobody closes: here it is closed as it comes.

Guarantees: dropping takes some seconds at most, and leaves nothing behind.
Must not: decide when something is to be done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from traceback import walk_tb
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import KafkaConnectionError  # type: ignore[import-untyped]

from amends.transport import kafka_edge as edge
from amends.transport.driver_logs import keep_out
from amends.transport.kafka_options import Options

DROP_SECONDS = 2.0
STARTING = "_amends_starting"  # of a client


def make_producer(options: Options) -> Any:
    """A producer that is not started."""
    keep_out("aiokafka")
    made = AIOKafkaProducer(**options.producer())
    made._message_accumulator._pending_batches = _Batches()
    made._sender._fail_all = _Failing(made._sender._fail_all)
    return made


def make_consumer(options: Options, group: str, share: edge.Share) -> Any:
    """A consumer that is not started, and subscribed to nothing."""
    return AIOKafkaConsumer(partition_assignment_strategy=(share,), **options.consumer(group))


async def start(client: Any) -> None:
    """Have a client connect. Raises what a broker raises that is away. Where nobody waits for it any more, it goes on,
    until it is dropped."""
    starting = asyncio.ensure_future(_connect(client))
    setattr(client, STARTING, starting)
    await asyncio.shield(starting)


async def _connect(client: Any) -> None:
    """Start it. Where that ends with the loop, the connection over which it asked is known to nobody but the frame that
    waited for the answer."""
    try:
        await client.start()
    except asyncio.CancelledError as cancelled:
        for frame, _ in walk_tb(cancelled.__traceback__):
            if (connection := frame.f_locals.get("bootstrap_conn")) is not None:
                connection.close()
        raise


class _Batches(set[Any]):
    """Of a producer, which takes a batch out twice where it fails while it is to be sent again."""

    def remove(self, batch: Any) -> None:
        self.discard(batch)


class _Failing:
    """What a producer does where its sending failed: with numbered messages, and no transaction, its last act is to
    wake who waits for a transaction, which is nobody."""

    def __init__(self, fail: Callable[[Any], object]) -> None:
        self._fail = fail

    def __call__(self, task: Any) -> None:
        with suppress(AttributeError):
            self._fail(task)


async def drop_producer(producer: Any) -> None:
    """End a producer now. What it has not confirmed fails, and is not sent any more."""
    await _started(producer)
    gone = KafkaConnectionError("the connection was given up")
    kept = producer._message_accumulator
    batches = [*kept._pending_batches, *(batch for waiting in kept._batches.values() for batch in waiting)]
    kept.fail_all(gone)
    kept._batches.clear()  # its sender falls over one that has failed already
    _read(batches)
    for end in (producer.stop, producer._sender.close):
        await _bounded(end())
    await _shut(producer.client)
    _read(batches)  # whose requests failed meanwhile wait anew


def _read(batches: Iterable[Any]) -> None:
    """What became of them: whoever waited is told otherwise, and nobody else is to hear of it."""
    for batch in batches:
        for future in (batch.future, batch._drain_waiter, *(one for one, _ in batch._msg_futures)):
            if future.done() and not future.cancelled():
                future.exception()


async def drop_consumer(consumer: Any) -> None:
    """Leave the group, if the broker can be told, and end a consumer."""
    await _started(consumer)
    if not await _bounded(consumer.stop()):
        for closing in (consumer._coordinator, consumer._fetcher):
            task = getattr(closing, "_coordination_task", None)
            if task is not None:
                task.cancel()
                await asyncio.wait([task], timeout=DROP_SECONDS)
            if closing is not None:
                await _bounded(closing.close())
    await _shut(consumer._client)


async def _started(client: Any) -> None:
    """It is not being started any more."""
    starting = getattr(client, STARTING, None)
    if starting is not None:
        await _bounded(starting)


async def _shut(client: Any) -> None:
    """Close a client's connections, and those that are only on their way."""
    client._conns = _Shut(client._conns)
    await _bounded(client.close())


class _Shut(dict[Any, Any]):
    """The connections of a client that is closed, which closes none that comes later."""

    def __setitem__(self, key: Any, connection: Any) -> None:
        connection.close()
        super().__setitem__(key, connection)


async def _bounded(ending: Any) -> bool:
    """Let something end, for as long as that may take. Whether it did. In a task of its own: what is cancelled within
    the client is nobody else's business."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait([task], timeout=DROP_SECONDS)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=DROP_SECONDS)
        return False
    return not task.cancelled() and task.exception() is None
