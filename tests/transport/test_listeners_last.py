"""A listener, and the connection that it listens over, go on whatever befalls them: something that nobody foresaw is
raised in the middle of each of their duties, and what is published afterwards still comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from amends.message import Message
from amends.testing.transport_suite.line import ProxyLine
from amends.transport.base import Delivery, Destination, Kind, Send
from amends.transport.kafka_link import Link as KafkaLink
from amends.transport.kafka_listen import KafkaListener
from amends.transport.kafka_member import Member
from amends.transport.nats_link import Link as NatsLink
from amends.transport.nats_listener import NatsListener
from amends.transport.open import transport_for
from amends.transport.rabbitmq_link import Link as RabbitmqLink
from amends.transport.rabbitmq_listen import RabbitmqListener
from amends.transport.redis_claims import Claims
from amends.transport.redis_link import Link as RedisLink
from amends.transport.redis_listener import RedisListener

WAIT_SECONDS = 90.0  # what was handed to a connection that is gone comes again after the claim of a broker, 30 s
QUEUE = Destination("last.commands", Kind.QUEUE)
PLACES: list[tuple[str, type[Any], str]] = [
    ("kafka", Member, "join"),
    ("kafka", Member, "read"),
    ("kafka", Member, "commit"),
    ("kafka", KafkaListener, "_check"),
    ("kafka", KafkaLink, "_missing_of"),
    ("rabbitmq", RabbitmqListener, "_until_over"),
    ("rabbitmq", RabbitmqListener, "_begin"),
    ("rabbitmq", RabbitmqLink, "_connect"),
    ("nats", NatsListener, "_watch"),
    ("nats", NatsListener, "_attach"),
    ("nats", NatsLink, "_until_gone"),
    ("redis", RedisListener, "_turn"),
    ("redis", RedisListener, "_make"),
    ("redis", Claims, "ack"),
    ("redis", RedisLink, "_greet"),
]
"""Of which broker, and where."""


class Trouble:
    """What nobody foresaw, once."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.armed = False
        self.raised = asyncio.Event()

    def put_into(self, method: Any) -> Any:
        """The method, with the trouble in front of it."""

        def troubled(*args: Any, **options: Any) -> Any:
            if self.armed:
                self.armed = False
                self.raised.set()
                raise self._error
            return method(*args, **options)

        return troubled


class Desk:
    """What comes, and is acked."""

    def __init__(self) -> None:
        self.came: set[str] = set()
        self._news = asyncio.Event()

    def receive(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            asyncio.ensure_future(delivery.ack())  # noqa: RUF006 - it waits for nothing
            if delivery.message is not None:
                self.came.add(delivery.message.id)
        self._news.set()

    async def has(self, id_: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while id_ not in self.came:
                self._news.clear()
                await self._news.wait()


async def _published(transport: Any, id_: str) -> None:
    """Publish as the sender does, until it is confirmed."""
    send = Send(QUEUE, Message(id_, "test.told", "test", b"{}", key=id_))
    async with asyncio.timeout(WAIT_SECONDS):
        while (await transport.publish([send]))[0] is not None:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("error", [RuntimeError("the handler is closed"), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize(("broker", "where", "method"), PLACES, ids=lambda it: getattr(it, "__name__", it))
def test_what_nobody_foresaw_ends_nothing(
    broker: str,
    where: type[Any],
    method: str,
    error: BaseException,
    broker_prefix: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url: str = request.getfixturevalue(f"{broker}_url")
    trouble, desk = Trouble(error), Desk()

    async def story() -> None:
        line = ProxyLine(url)
        await line.open()
        sign = "&" if "?" in line.url else "?"
        transport = transport_for(f"{line.url}{sign}prefix={broker_prefix}")
        monkeypatch.setattr(where, method, trouble.put_into(getattr(where, method)))
        await transport.open()
        listening = await transport.listen(QUEUE, "last", desk.receive, in_flight=10)
        await _published(transport, "before")
        await desk.has("before")

        trouble.armed = True
        if isinstance(listening, KafkaListener):  # whose connections are not the line's
            listening._break("it is time")
        else:
            await line.cut()
        await _published(transport, "meanwhile")
        async with asyncio.timeout(WAIT_SECONDS):
            await trouble.raised.wait()

        await _published(transport, "after")
        await desk.has("after")
        await listening.stop()
        await transport.close()
        await line.close()

    asyncio.run(story())
