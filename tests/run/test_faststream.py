"""FastStream's apps and participants tell each other events, over the real brokers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from faststream import FastStream
from faststream.kafka import KafkaBroker
from faststream.nats import NatsBroker
from faststream.rabbit import RabbitBroker
from faststream.redis import RedisBroker

import amends.faststream
from amends import Participant, Service
from amends.errors import DefinitionError
from amends.faststream import Bridge, Envelope
from amends.message import Message
from amends.transport.base import Delivery, Send
from amends.transport.names import dead_of, events_of
from amends.transport.open import transport_for

PATIENCE_SECONDS = 60.0
BROKERS = ("nats", "rabbitmq", "redis", "kafka")


@dataclass(frozen=True)
class OrderPlaced:
    order: str
    cents: int = 100


@dataclass(frozen=True)
class MailSent:
    order: str


orders = Service("orders")
order_placed = orders.event("order-placed", OrderPlaced, key=lambda event: "all")
order_closed = orders.event("order-closed", str, key=lambda event: "all")
mailer = Service("mailer")
mail_sent = mailer.event("mail-sent", MailSent, key=lambda event: "all")


def faststream_broker(url: str) -> Any:
    """FastStream's broker for a URL of ours."""
    plain = url.partition("?")[0]
    match urlsplit(url).scheme:
        case "nats":
            return NatsBroker(plain)
        case "amqp":
            return RabbitBroker(plain)
        case "redis":
            return RedisBroker(plain)
    return KafkaBroker(plain.removeprefix("kafka://"), acks="all", enable_idempotence=True)


@pytest.fixture(params=BROKERS)
def url(request: pytest.FixtureRequest, broker_prefix: str) -> str:
    """A broker's URL, with a prefix that only this test has."""
    given: str = request.getfixturevalue(f"{request.param}_url")
    return f"{given}{'&' if '?' in given else '?'}prefix={broker_prefix}"


@dataclass
class Shop:
    """A participant with a database, which hears of mails and tells of orders."""

    app: Participant
    path: Path
    heard: list[str] = field(default_factory=list)

    def tell(self, *events: tuple[Any, Any]) -> None:
        """Events in one transaction."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            for event, value in events:
                self.app.publish(event, value, within=connection)
            connection.commit()

    @property
    def mails(self) -> list[str]:
        """What its handler has written."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            return [row[0] for row in connection.execute("SELECT sent FROM mail ORDER BY rowid")]


@asynccontextmanager
async def shop_at(url: str, path: Path) -> AsyncIterator[Shop]:
    """A shop at work, listening."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mail (sent text NOT NULL)")
        connection.commit()
    app = Participant(orders, database=f"sqlite:///{path}", broker=url)

    @app.on(mail_sent)
    def note(event: MailSent, tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO mail VALUES (?)", (event.order,))

    async with app:
        await asyncio.wait_for(app.session.listening(), PATIENCE_SECONDS)
        yield Shop(app, path)


@asynccontextmanager
async def started(bridge: Bridge, broker: Any) -> AsyncIterator[None]:
    """FastStream's app, at work."""
    app = FastStream(broker, on_startup=[bridge.prepare])
    await app.start()
    try:
        yield
    finally:
        await app.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def test_an_event_that_faststream_tells_twice_is_handled_once_by_a_participant(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        broker = faststream_broker(url)
        bridge = Bridge(mailer, broker, url)
        async with shop_at(url, tmp_path / "shop.db") as shop, started(bridge, broker):
            first = await bridge.publish(mail_sent, MailSent("a"), id="mail-a")
            await bridge.publish(mail_sent, MailSent("a"), id="mail-a")
            await bridge.publish(mail_sent, MailSent("last"))
            await until(lambda: "last" in shop.mails)

            assert first == "mail-a"
            assert shop.mails == ["a", "last"]

    asyncio.run(main())


def test_an_event_that_a_participant_tells_comes_to_faststream_as_its_value(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        broker = faststream_broker(url)
        bridge = Bridge(mailer, broker, url)
        got: list[tuple[Any, Message]] = []

        @bridge.on(order_placed)
        async def mail(event: OrderPlaced, message: Envelope) -> None:
            got.append((event, message))

        async with shop_at(url, tmp_path / "shop.db") as shop, started(bridge, broker):
            shop.tell((order_placed, OrderPlaced("ä 1")), (order_closed, "ä 1"), (order_placed, OrderPlaced("2", 5)))
            await until(lambda: len(got) >= 2)

        values = [value for value, _ in got]
        if url.startswith("amqp"):  # over RabbitMQ, FastStream begins with the next one before it is done
            values.sort(key=lambda value: value.order, reverse=True)
        assert values == [OrderPlaced("ä 1"), OrderPlaced("2", 5)]
        assert [message.type for _, message in got] == ["orders.order-placed"] * 2
        assert {message.source for _, message in got} == {"/amends/orders"}
        assert all(message.id and message.time > 0 and message.key == "all" for _, message in got)

    asyncio.run(main())


def test_what_is_told_in_a_handler_comes_of_what_it_hears_and_a_circle_ends(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        broker = faststream_broker(url)
        bridge = Bridge(mailer, broker, url)
        got: list[str] = []

        @bridge.on(order_placed)
        async def mail(event: OrderPlaced) -> None:
            got.append(event.order)
            await bridge.publish(mail_sent, MailSent(event.order), id=f"mail-{event.order}")

        transport = transport_for(url)
        heard, dead = list[Delivery](), list[Delivery]()
        event = {"amendskind": "event", "amendscorrelation": "order-42", "amendshops": "50"}
        last = Message(
            "m-1", "orders.order-placed", "/amends/orders", b'{"order":"a"}', 1.0, key="all", attributes=event
        )
        beyond = last._replace(id="m-2", attributes=event | {"amendshops": "51"})
        async with started(bridge, broker):
            await transport.open()
            await transport.listen(dead_of(events_of("orders")), "", dead.extend, in_flight=10)
            await transport.listen(events_of("mailer"), "test", heard.extend, in_flight=10)
            assert await transport.publish([Send(events_of("orders"), one) for one in (last, beyond)]) == [None] * 2
            await until(lambda: bool(heard and dead))
            await bridge.publish(mail_sent, MailSent("b"), id="mail-b")
            await until(lambda: len(heard) == 2)
            for delivery in (*heard, *dead):
                await delivery.ack()
            await transport.close()

        assert got == ["a"]
        assert dead[0].message is not None
        assert "51 events led to it" in dead[0].message.attributes["amendsdeadreason"]
        names = ("amendscorrelation", "amendscausation", "amendshops")
        told = [[message.attributes.get(name, "") for name in names] for message in _messages(heard)]
        assert told == [["order-42", "m-1", "51"], ["mail-b", "", ""]]

    asyncio.run(main())


def test_what_does_not_fit_is_put_aside_and_what_is_no_event_is_passed_over(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        broker = faststream_broker(url)
        bridge = Bridge(mailer, broker, url)
        got: list[Any] = []

        @bridge.on(order_placed)
        async def mail(event: OrderPlaced) -> None:
            got.append(event)

        transport = transport_for(url)
        topic, dead = events_of("orders"), list[Delivery]()
        event = {"amendskind": "event"}
        wrong = Message("w", "orders.order-placed", "/amends/orders", b'{"order":1}', 1.0, key="all", attributes=event)
        command = wrong._replace(id="c", data=b'{"order":"c"}', attributes={"amendskind": "action"})
        other = wrong._replace(id="o", type="orders.order-closed")
        right = wrong._replace(id="r", data=b'{"order":"r"}')
        async with started(bridge, broker):
            await transport.open()
            await transport.listen(dead_of(topic), "", dead.extend, in_flight=10)
            told = await transport.publish([Send(topic, one) for one in (wrong, command, other, right)])
            await until(lambda: bool(got and dead))
            async with asyncio.timeout(PATIENCE_SECONDS):  # nothing of it comes again
                while await transport.lag(topic, "mailer") != 0:
                    await asyncio.sleep(0.1)
            for delivery in dead:
                await delivery.ack()
            await transport.close()

        assert told == [None] * 4
        assert got == [OrderPlaced("r")]
        assert [(message.id, message.attributes["amendsdeadgroup"]) for message in _messages(dead)] == [("w", "mailer")]
        assert "order" in _messages(dead)[0].attributes["amendsdeadreason"]

    asyncio.run(main())


def _messages(deliveries: list[Delivery]) -> list[Message]:
    return [delivery.message for delivery in deliveries if delivery.message is not None]


def test_an_event_whose_function_fails_comes_again(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amends.faststream, "CLAIM_SECONDS", 1.0)

    async def main() -> None:
        broker = faststream_broker(url)
        bridge = Bridge(mailer, broker, url)
        tries: list[str] = []

        @bridge.on(order_placed)
        async def mail(event: OrderPlaced) -> None:
            tries.append(event.order)
            if len(tries) < 3:
                raise ConnectionError("no mail server")

        async with shop_at(url, tmp_path / "shop.db") as shop, started(bridge, broker):
            shop.tell((order_placed, OrderPlaced("1")))
            await until(lambda: len(tries) >= 3)

        assert tries == ["1", "1", "1"]

    asyncio.run(main())


def test_a_bridge_says_what_is_wrong_with_it_when_it_is_built() -> None:
    broker = NatsBroker()

    with pytest.raises(DefinitionError, match="nats, rabbit, kafka, redis"):
        Bridge(mailer, object(), "nats://localhost")
    with pytest.raises(DefinitionError, match="nats://… is expected for NatsBroker"):
        Bridge(mailer, broker, "redis://localhost")
    with pytest.raises(DefinitionError, match="verify"):
        Bridge(mailer, broker, "nats://localhost?verify=no")
    with pytest.raises(DefinitionError, match="a Service is expected"):
        Bridge("mailer", broker, "nats://localhost")  # type: ignore[arg-type]


def test_a_bridge_tells_only_the_events_of_its_own_service_and_hears_of_each_once() -> None:
    bridge = Bridge(mailer, NatsBroker(), "nats://localhost")

    @bridge.on(order_placed)
    async def mail(event: OrderPlaced) -> None: ...

    with pytest.raises(DefinitionError, match="orders"):
        asyncio.run(bridge.publish(order_placed, OrderPlaced("1")))
    with pytest.raises(DefinitionError, match="two functions"):
        bridge.on(order_placed)
