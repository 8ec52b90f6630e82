"""What one side says and the other does not understand, on every broker: giants, foreign bytes, other contracts.

Nothing of it may move money, stop the others, or be lost without a word.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import aiokafka  # type: ignore[import-untyped]
import aiormq
import asyncpg
import nats
import pytest
from redis.asyncio import Redis
from services_scene import PATIENCE_SECONDS, Scene, Shop, on_brokers, on_transports, orders, play

from amends import Compensated, Completed, Orchestrator, Parked, Participant, Retry, Saga, Service
from amends.decide.events import Phase
from amends.decide.wire import Command, command_message
from amends.transport.base import Destination, Send
from amends.transport.names import commands_of, replies_of
from amends.transport.open import transport_for

FOREIGN = b"\xff\x00 no message of ours"

BIG = b'{"cents":1,"mood":"' + b"x" * 50_000_000 + b'"}'
"""Fits the contract in all but its size."""


def strange(data: bytes, saga: bytes = b"x" * 16) -> Command:
    """A command of an orchestrator that nobody knows."""
    now, home = time.time(), replies_of("nobody").name
    return Command(
        "inventory.reserve", "strange", saga, "strange", "reserve", Phase.ACTION, data, "1.x", home, now
    )  # fmt: skip


async def send(shop: Shop, options: str, *sends: Send) -> list[Exception | None]:
    """Over a transport of one's own."""
    sender = transport_for(shop.place(options).broker)
    await sender.open()
    try:
        return await sender.publish(sends)
    finally:
        await sender.close()


@on_brokers
def test_a_50_mb_command_is_refused_by_the_broker_or_put_aside_by_the_service(shop: Shop) -> None:
    """By a sender who was told to send anything. RabbitMQ and Redis take it, NATS and Kafka do not."""
    told: list[Exception | None] = []
    options = "message_bytes=60000000" + ("&max_request_size=60000000" if shop.kind == "kafka" else "")

    async def meanwhile(scene: Scene) -> None:
        big = Send(commands_of("inventory"), command_message(strange(BIG), "big", "/strange"))
        told.extend(await send(shop, options, big))
        if told == [None]:
            await scene.until(lambda: scene.counts["refused"] + scene.counts["parked"] > 0, "it was put aside")

    found = play(shop, orders(6), meanwhile=meanwhile)

    assert found.troubles == []
    assert found.statuses == {"completed": 3, "compensated": 3}
    assert (told == [None]) == (shop.kind in ("rabbitmq", "redis"))
    assert not any(call["saga"] == "strange" for call in found.evidence.calls)


async def foreign(shop: Shop, to: Destination) -> None:
    """Put bytes that are none of ours into a queue, by the broker's own client."""
    name = f"{shop.prefix}.{to.name}"
    if shop.kind == "kafka":
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=shop.url.removeprefix("kafka://"))
        await producer.start()
        await producer.send_and_wait(name, FOREIGN, headers=[("ce_id", b"\xff")])
        await producer.stop()
    elif shop.kind == "rabbitmq":
        async with aiormq.connect(shop.url) as connection:
            channel = await connection.channel()
            await channel.basic_publish(FOREIGN, routing_key=name)
    elif shop.kind == "nats":
        client = await nats.connect(shop.url)
        await client.jetstream().publish(name, FOREIGN)
        await client.close()
    else:
        redis: Any = Redis.from_url(shop.url)
        await redis.xadd(name, {b"\xff": FOREIGN})
        await redis.aclose()


@on_brokers
def test_bytes_that_are_no_message_are_put_aside_on_both_sides(shop: Shop) -> None:
    async def meanwhile(scene: Scene) -> None:
        worker = scene.orchestrator.session.worker
        assert worker is not None
        await scene.until(lambda: bool(worker._remote._listening), "replies are listened for")
        home = replies_of(worker._remote._name)
        for _ in range(3):
            await foreign(shop, commands_of("inventory"))
            await foreign(shop, home)
        await scene.until(lambda: scene.counts["refused"] >= 3, "the service has put them aside")
        await scene.until(lambda: scene.counts["replies refused"] >= 3, "the orchestrator has refused them")

    found = play(shop, orders(6), meanwhile=meanwhile)

    assert found.troubles == []
    assert found.statuses == {"completed": 3, "compensated": 3}


@dataclass(frozen=True)
class Order:
    """What sagas of two versions begin with."""

    number: int


@dataclass(frozen=True)
class Old:
    """A command as the service knows it."""

    number: int
    needed: str


@dataclass(frozen=True)
class New:
    """The same as the orchestrator knows it."""

    number: int


@dataclass(frozen=True)
class OldReply:
    """What the service gives."""

    number: int


@dataclass(frozen=True)
class NewReply:
    """What the orchestrator would have."""

    number: int
    price: int


def versions(
    sent: tuple[Any, Any], replied: tuple[Any, Any], names: tuple[str, str]
) -> tuple[Any, Service, Any, Saga[Any, Any]]:
    """The service as it knows itself, its command, and a saga that knows another version of it."""
    old, new = Service("inventory"), Service("inventory")
    known = old.command(names[0], sent[0], reply=replied[0])
    asked = new.command(names[1], sent[1], reply=replied[1])

    def ask(order: Order) -> Any:
        return New(order.number) if sent[1] is New else Old(order.number, "x")

    ask.__annotations__["return"] = sent[1]
    request: Any = asked.request(name="ask", retry=Retry(attempts=2, first_delay=0.1), timeout=20.0)(ask)
    return known, old, request, Saga("versions", request, input=Order, output=request)


async def between_versions(shop: Shop, made: Any) -> tuple[Any, list[str]]:
    """Run one saga; its outcome, and what the service did."""
    known, service, _, saga = made
    did: list[str] = []
    place = shop.place()
    app = Participant(service, database=place.databases["inventory"], broker=place.broker, migrate=True)

    async def handle(command: Any, tx: asyncpg.Connection) -> Any:
        did.append("done")
        return OldReply(command.number)

    async def undo(command: Any, reply: Any, tx: asyncpg.Connection) -> None:
        did.append("undone")

    handle.__annotations__ |= {"command": known.sent.type, "return": known.replied.type}
    undo.__annotations__ |= {"command": known.sent.type, "reply": known.replied.type}
    app.handles(known)(handle)
    app.compensates(known)(undo)
    orchestrator = Orchestrator(
        place.databases["orders"], sagas=[saga], broker=place.broker, namespace=shop.prefix, migrate=True
    )
    async with app, orchestrator:
        await asyncio.wait_for(app.session.listening(), PATIENCE_SECONDS)
        handle_ = await orchestrator.start(saga, Order(7))
        return await handle_.outcome(timeout=PATIENCE_SECONDS), did


@on_transports
def test_a_command_that_the_service_does_not_know_parks_with_words(shop: Shop) -> None:
    made = versions((Old, Old), (OldReply, OldReply), ("reserve", "reserve-much-better"))

    outcome, did = asyncio.run(between_versions(shop, made))

    assert isinstance(outcome, Parked)
    said = " ".join([outcome.reason, *(entry.reason for entry in outcome.unsettled)])
    assert "inventory knows no command inventory.reserve-much-better" in said
    assert "it knows inventory.reserve" in said
    assert did == []


@on_transports
def test_a_command_of_a_newer_contract_parks_with_words(shop: Shop) -> None:
    made = versions((Old, New), (OldReply, OldReply), ("reserve", "reserve"))

    outcome, did = asyncio.run(between_versions(shop, made))

    assert isinstance(outcome, Parked)
    said = " ".join([outcome.reason, *(entry.reason for entry in outcome.unsettled)])
    assert "does not fit" in said
    assert "needed" in said
    assert did == []


@on_transports
def test_a_reply_of_an_older_contract_is_an_effect_of_which_nothing_is_known_and_is_undone(shop: Shop) -> None:
    made = versions((Old, Old), (OldReply, NewReply), ("reserve", "reserve"))

    outcome, did = asyncio.run(between_versions(shop, made))

    assert isinstance(outcome, Compensated)
    assert "price" in outcome.reason
    assert did == ["done", "undone"]


@pytest.mark.parametrize("shop", ["local"], indirect=True)
def test_versions_that_are_the_same_need_no_person(shop: Shop) -> None:
    made = versions((Old, Old), (OldReply, OldReply), ("reserve", "reserve"))

    outcome, did = asyncio.run(between_versions(shop, made))

    assert outcome == Completed(OldReply(7))
    assert did == ["done"]
