"""What tests of the RabbitMQ transport have in common: the broker as the suite has to know it, and foreign messages.

Guarantees: nothing that is made here stays open.
Must not: use the transport under test.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import aiormq

from amends.testing.transport_suite import Broker
from amends.transport.base import Destination

SETTLED_SECONDS = 2.0  # RabbitMQ 3.10 writes down which quorum queues it has half a second after they were made


def broker_at(url: str) -> Broker:
    """A RabbitMQ, as the suite has to know it."""

    async def garbage(prefix: str, queue: Destination) -> None:
        async with aiormq.connect(url) as connection:
            channel = await connection.channel()
            await channel.basic_publish(b"\x00 not ours", routing_key=f"{prefix}.{queue.name}")

    parts = urlsplit(url)
    wrong = urlunsplit(parts._replace(netloc=f"amends:wrong-secret@{parts.netloc.rpartition('@')[2]}"))
    return Broker(url, garbage=garbage, wrong_login=wrong, settled_seconds=SETTLED_SECONDS)
