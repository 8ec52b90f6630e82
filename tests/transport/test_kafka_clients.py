"""What the client for Kafka leaves behind when it is given up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import client as client_module  # type: ignore[import-untyped]
from aiokafka.client import ConnectionGroup  # type: ignore[import-untyped]
from aiokafka.cluster import ClusterMetadata  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from aiokafka.producer.message_accumulator import MessageAccumulator  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from amends.transport import kafka_clients as clients
from amends.transport import kafka_edge as edge
from amends.transport.kafka_options import read
from amends.transport.kafka_share import Claim


def test_a_batch_that_its_sender_puts_back_while_the_producer_is_dropped_is_no_news_to_anybody() -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        kept = MessageAccumulator(ClusterMetadata(), 16_384, 0, 30)
        under_way = kept._append_batch(kept.create_builder(), TopicPartition("orders", 0))
        kept._pop_batch(TopicPartition("orders", 0))
        kept._append_batch(kept.create_builder(), TopicPartition("orders", 1))
        left = list[int]()

        async def stop() -> None:
            """A request fails, its batch is put back, and then the sender itself falls over."""
            left.append(len(kept._batches))
            kept.reenqueue(under_way)
            kept.fail_all(KafkaError("unexpected"))

        async def close() -> None: ...

        nothing = SimpleNamespace(close=close, _conns={})
        producer = SimpleNamespace(starting=None, _message_accumulator=kept, stop=stop, _sender=nothing, client=nothing)
        await clients.drop_producer(producer)

        assert left == [0]  # what has failed is not there to be sent

    asyncio.run(main())
    gc.collect()

    assert complaints == []


async def _late(client: Any, drop: Awaitable[None]) -> Any:
    """A connection that its client opens while that is dropped, and that is there only afterwards."""
    async with client._get_conn_lock:
        coming = asyncio.create_task(client._get_conn(client.get_random_node(), group=ConnectionGroup.COORDINATION))
        await drop
    return await coming


def test_a_connection_that_is_on_its_way_when_its_producer_is_dropped_is_closed_as_it_comes(kafka_url: str) -> None:
    async def main() -> bool:
        producer = clients.make_producer(read(kafka_url))
        await clients.start(producer)
        connection = await _late(producer.client, clients.drop_producer(producer))
        return bool(connection.connected())

    assert not asyncio.run(main())


def test_a_connection_that_is_on_its_way_when_its_consumer_is_dropped_is_closed_as_it_comes(kafka_url: str) -> None:
    async def main() -> bool:
        consumer = clients.make_consumer(read(kafka_url), "late", edge.Share(Claim))
        await clients.start(consumer)
        connection = await _late(consumer._client, clients.drop_consumer(consumer))
        return bool(connection.connected())

    assert not asyncio.run(main())


async def _interrupted(monkeypatch: pytest.MonkeyPatch, starting: Coroutine[Any, Any, None]) -> Any:
    """The first connection of a client whose start is interrupted as soon as it is there."""
    there: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connect = client_module.create_conn

    async def tell(*address: Any, **options: Any) -> Any:
        connection = await connect(*address, **options)
        if not there.done():  # a client may come to its next before the interruption does
            there.set_result(connection)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(client_module, "create_conn", tell)
        task = asyncio.create_task(starting)
        connection = await there
        task.cancel()
        await asyncio.wait([task])
    return connection


def test_a_producer_whose_start_is_interrupted_leaves_no_connection_open(
    kafka_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> bool:
        producer = clients.make_producer(read(kafka_url))
        connection = await _interrupted(monkeypatch, clients.start(producer))
        await clients.drop_producer(producer)
        return bool(connection.connected())

    assert not asyncio.run(main())


def test_a_start_that_is_still_under_way_when_its_loop_ends_leaves_no_connection_open(
    kafka_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = client_module.create_conn

    async def main() -> Any:
        there: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def ask(request: Any) -> None:
            there.set_result(made[0])
            await asyncio.Event().wait()  # there is no answer

        async def silent(*address: Any, **options: Any) -> Any:
            made.append(await connect(*address, **options))
            made[0].send = ask
            return made[0]

        made = list[Any]()
        monkeypatch.setattr(client_module, "create_conn", silent)
        client = client_module.AIOKafkaClient(bootstrap_servers=list(read(kafka_url).bootstrap))
        starting = asyncio.create_task(clients.start(SimpleNamespace(start=client.bootstrap)))
        connection = await there
        assert not starting.done()
        return connection

    assert not asyncio.run(main()).connected()


def test_a_consumer_whose_start_is_interrupted_leaves_no_connection_open(
    kafka_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> bool:
        consumer = clients.make_consumer(read(kafka_url), "interrupted", edge.Share(Claim))
        connection = await _interrupted(monkeypatch, clients.start(consumer))
        await clients.drop_consumer(consumer)
        return bool(connection.connected())

    assert not asyncio.run(main())
