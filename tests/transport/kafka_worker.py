"""A process that listens to a queue on Kafka, to be stopped, continued and killed: it acks each message after a moment,
and says so.

Guarantees: it ends when its input does.
Must not: be a test.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from amends.transport.base import Delivery, Destination
from amends.transport.kafka import KafkaTransport


async def _work(delivery: Delivery) -> None:
    assert delivery.message is not None
    await asyncio.sleep(0.002)
    sys.stdout.write(f"{delivery.message.id}\n")
    sys.stdout.flush()
    await delivery.ack()


async def main() -> None:
    """Work until the input ends."""
    transport = KafkaTransport(os.environ["AMENDS_BROKER"])
    await transport.open()
    tasks: set[asyncio.Task[None]] = set()

    def receive(deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            task = asyncio.ensure_future(_work(delivery))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    await transport.listen(Destination("inventory.commands"), "", receive, in_flight=20)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await transport.close()


if __name__ == "__main__":
    asyncio.run(main())
