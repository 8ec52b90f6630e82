"""What the client for Kafka leaves behind when a producer is given up."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

from aiokafka.cluster import ClusterMetadata  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from aiokafka.producer.message_accumulator import MessageAccumulator  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from amends.transport import kafka_edge as edge


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

        nothing = SimpleNamespace(close=close)
        producer = SimpleNamespace(_message_accumulator=kept, stop=stop, _sender=nothing, client=nothing)
        await edge.drop_producer(producer)

        assert left == [0]  # what has failed is not there to be sent

    asyncio.run(main())
    gc.collect()

    assert complaints == []
