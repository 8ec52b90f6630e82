"""What is RabbitMQ's own: TLS, virtual hosts, who made a queue, and what is put off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import aiormq
import pytest
from aiormq.channel import Channel
from pamqp.commands import Basic
from rabbitmq_scene import broker_at

from amends.errors import TransportAway, TransportRefused
from amends.testing.transport_suite.rig import Rig, text_of
from amends.transport import rabbitmq_listen
from amends.transport.base import Send
from amends.transport.names import dead_of
from amends.transport.open import transport_for
from amends.transport.url import parse
from servers import need
from services.rabbitmq import Rabbitmq


def play(url: str, rule: Callable[[Rig], Awaitable[None]]) -> None:
    """Play a rule with a broker."""

    async def run() -> None:
        async with Rig(broker_at(url)) as rig:
            await rule(rig)

    asyncio.run(run())


async def by_hand(url: str, act: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something at the broker as somebody else."""
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        assert isinstance(channel, Channel)
        return await act(channel)


@pytest.fixture(scope="module")
def tls_server() -> Iterator[Rabbitmq]:
    """A RabbitMQ that listens with TLS."""
    need(Rabbitmq.find)
    with Rabbitmq(tls=True) as server:
        yield server


def test_with_tls_messages_come_as_without(tls_server: Rabbitmq) -> None:
    async def rule(rig: Rig) -> None:
        transport = await rig.transport(url=f"{tls_server.tls_url}?cafile={tls_server.certificates.authority}")
        inbox = await rig.listen(transport)

        await rig.send(transport, "told")

        assert text_of((await inbox.acked(1))[0]) == "told"

    play(tls_server.tls_url, rule)


def test_a_certificate_of_an_unknown_authority_is_refused(tls_server: Rabbitmq) -> None:
    async def rule(rig: Rig) -> None:
        with pytest.raises(TransportRefused, match="certificate") as refused:
            await rig.transport(url=tls_server.tls_url)

        assert tls_server.password not in str(refused.value)

    play(tls_server.tls_url, rule)


def test_a_virtual_host_that_is_not_there_is_refused_by_name(rabbitmq_url: str) -> None:
    async def open_() -> None:
        transport = transport_for(f"{rabbitmq_url}/nowhere")
        with pytest.raises(TransportRefused, match="nowhere") as refused:
            await transport.open()
        assert str(parse(rabbitmq_url, {"amqp": 5672}).password) not in str(refused.value)

    asyncio.run(open_())


def test_the_default_virtual_host_may_be_written_in_all_ways(rabbitmq_url: str) -> None:
    async def open_(path: str) -> None:
        transport = transport_for(f"{rabbitmq_url}{path}")
        await transport.open()
        assert transport.away == ""
        await transport.close()

    for path in ("", "/", "/%2F"):
        asyncio.run(open_(path))


def test_the_first_host_that_answers_is_taken(rabbitmq_url: str) -> None:
    async def open_() -> None:
        transport = transport_for(rabbitmq_url.replace("@", "@127.0.0.1:1,"))
        await transport.open()
        assert transport.away == ""
        await transport.close()

    asyncio.run(open_())


def test_messages_of_other_clients_are_read_with_either_prefix_and_their_own_types(rabbitmq_url: str) -> None:
    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        instant = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        told: dict[str, Any] = {
            "specversion": "1.0",
            "id": "1",
            "type": "t",
            "source": "s",
            "time": instant,
            "round": 7,
            "final": True,
        }
        properties = Basic.Properties(headers={f"cloudEvents:{name}": value for name, value in told.items()})

        await by_hand(
            rabbitmq_url,
            lambda channel: channel.basic_publish(
                b"theirs", routing_key=f"{rig.prefix}.{rig.queue.name}", properties=properties
            ),
        )

        message = (await inbox.acked(1))[0].message
        assert message is not None
        assert (message.data, message.time) == (b"theirs", instant.timestamp())
        assert message.attributes == {"round": "7", "final": "true"}

    play(rabbitmq_url, rule)


def test_what_is_sent_is_persistent_and_says_what_it_is(rabbitmq_url: str) -> None:
    async def rule(rig: Rig) -> None:
        message = rig.message("told", attributes={"amendskey": "Zoë"})
        await rig.sent(await rig.transport(), [message])

        got = await by_hand(rabbitmq_url, lambda channel: channel.basic_get(f"{rig.prefix}.{rig.queue.name}"))

        properties = got.header.properties
        assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
        assert properties.message_id == message.id
        assert properties.headers["cloudEvents_type"] == message.type
        assert properties.headers["cloudEvents_amendskey"] == "Zoë"

    play(rabbitmq_url, rule)


def test_a_queue_that_an_operator_made_is_taken_as_it_is(rabbitmq_url: str) -> None:
    async def rule(rig: Rig) -> None:
        name = f"{rig.prefix}.{rig.queue.name}"
        await by_hand(rabbitmq_url, lambda channel: channel.queue_declare(name, durable=True))
        transport = await rig.transport()
        await transport.prepare([rig.queue])
        inbox = await rig.listen(transport)

        await rig.send(transport, "told")

        assert text_of((await inbox.acked(1))[0]) == "told"

    play(rabbitmq_url, rule)


def test_a_queue_that_is_deleted_under_its_listener_is_made_again(rabbitmq_url: str) -> None:
    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        await rig.send(transport, "before")
        await inbox.acked(1)

        await by_hand(rabbitmq_url, lambda channel: channel.queue_delete(f"{rig.prefix}.{rig.queue.name}"))

        await rig.send(transport, "after")
        assert "after" in await inbox.acked_until("after")

    play(rabbitmq_url, rule)


def test_a_listener_that_the_broker_has_forgotten_listens_again(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is deleted and made again at once is taken for the same one by the broker's own bookkeeping."""
    monkeypatch.setattr(rabbitmq_listen, "IDLE_SECONDS", 0.5)

    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        await rig.send(transport, "before")
        await inbox.acked(1)
        name = f"{rig.prefix}.{rig.queue.name}"

        async def replace(channel: Channel) -> None:
            await channel.queue_delete(name)
            await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})

        await by_hand(rabbitmq_url, replace)

        await rig.send(transport, "after")
        assert "after" in await inbox.acked_until("after")

    play(rabbitmq_url, rule)


def test_an_exchange_that_is_deleted_is_made_again(rabbitmq_url: str) -> None:
    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        await rig.send(transport, "before", to=rig.topic)
        await by_hand(rabbitmq_url, lambda channel: channel.exchange_delete(f"{rig.prefix}.{rig.topic.name}"))

        first = await transport.publish([Send(rig.topic, rig.message("lost"))])

        assert first == [None] or isinstance(first[0], TransportAway)
        await rig.send(transport, "after", to=rig.topic)

    play(rabbitmq_url, rule)


def test_what_the_broker_forbids_is_refused_by_itself(rabbitmq_url: str) -> None:
    """Publishing to an internal exchange closes the channel, with all that is on its way there."""

    async def rule(rig: Rig) -> None:
        name = f"{rig.prefix}.{rig.topic.name}"
        await by_hand(
            rabbitmq_url,
            lambda channel: channel.exchange_declare(name, exchange_type="fanout", durable=True, internal=True),
        )
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        messages = [rig.message(f"text {number}") for number in range(20)]
        sends = [Send(rig.queue, message) for message in messages]

        told = await transport.publish([*sends[:10], Send(rig.topic, rig.message("forbidden")), *sends[10:]])

        assert isinstance(told[10], TransportRefused)
        assert [*told[:10], *told[11:]] == [None] * 20
        texts = {message.data.decode() for message in messages}
        assert set(await inbox.all_of(sorted(texts))) == texts

    play(rabbitmq_url, rule)


def test_the_same_message_may_go_to_two_queues_in_one_batch(rabbitmq_url: str) -> None:
    """What comes back from the broker is told apart by the id that AMQP has for messages."""

    async def rule(rig: Rig) -> None:
        await (await rig.transport()).prepare([rig.queue])
        transport = await rig.transport(create="no")
        missing, message = rig.queue._replace(name="nobody.commands"), rig.message("told")

        told = await transport.publish([Send(to, message) for to in (missing, rig.queue, missing, rig.queue)])

        assert [type(error) for error in told] == [TransportRefused, type(None)] * 2

    play(rabbitmq_url, rule)


def test_what_is_put_off_for_long_goes_round_until_it_is_due(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_listen, "HELD_SECONDS", 0.3)
    monkeypatch.setattr(rabbitmq_listen, "LEVELS", (2, 1))

    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        sent = rig.message("later", attributes={"amendskey": "Zoë"})
        await rig.sent(transport, [sent])
        first = await inbox.next()
        asked = asyncio.get_running_loop().time()

        await first.retry(3.5)

        again = await inbox.next()
        took = asyncio.get_running_loop().time() - asked
        assert again.message == sent
        assert (first.times, again.times) == (1, 2)
        assert took > 3.3
        await again.retry(1.2)
        third = (await inbox.acked(1))[0]
        assert (third.message, third.times) == (sent, 3)

    play(rabbitmq_url, rule)


def test_where_nothing_may_be_made_what_is_put_off_stays_in_the_process(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_listen, "HELD_SECONDS", 0.1)

    async def rule(rig: Rig) -> None:
        await (await rig.transport()).prepare([rig.queue])
        transport = await rig.transport(create="no")
        inbox = await rig.listen(transport)
        await rig.send(transport, "later")
        delivery = await inbox.next()
        asked = asyncio.get_running_loop().time()

        await delivery.retry(1.0)

        assert text_of((await inbox.acked(1))[0]) == "later"
        assert asyncio.get_running_loop().time() - asked > 0.9

    play(rabbitmq_url, rule)


def test_a_queue_for_later_that_vanished_is_made_as_one_again(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made as any other queue, it would keep what is put off for ever."""
    monkeypatch.setattr(rabbitmq_listen, "HELD_SECONDS", 0.1)
    monkeypatch.setattr(rabbitmq_listen, "LEVELS", (1,))

    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        await rig.send(transport, "later")
        await (await inbox.next()).retry(1.0)
        again = await inbox.next()
        name = f"{rig.prefix}.{rig.queue.name}.later.1s"
        await by_hand(rabbitmq_url, lambda channel: channel.queue_delete(name))

        for _ in range(2):
            await again.retry(1.0)
            again = await inbox.next()

        assert text_of(again) == "later"
        await again.ack()

    play(rabbitmq_url, rule)


def test_what_is_put_off_is_buried_as_it_first_came(rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_listen, "HELD_SECONDS", 0.1)
    monkeypatch.setattr(rabbitmq_listen, "LEVELS", (1,))

    async def rule(rig: Rig) -> None:
        transport = await rig.transport()
        inbox = await rig.listen(transport)
        await rig.send(transport, "poison")
        await (await inbox.next()).retry(1.0)
        await (await inbox.next()).bury("enough")

        name = f"{rig.prefix}.{dead_of(rig.queue).name}"
        await (await rig.transport()).prepare([dead_of(rig.queue)])
        got = await by_hand(rabbitmq_url, lambda channel: channel.basic_get(name))

        headers = got.header.properties.headers
        assert headers["cloudEvents_amendsdeadreason"] == "enough"
        assert [header for header in headers if not header.startswith("cloudEvents_")] in ([], ["x-delivery-count"])

    play(rabbitmq_url, rule)
