"""The transport over RabbitMQ keeps every promise of `amends.transport.base`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from lost_brokers import LostBrokers, said
from rabbitmq_scene import broker_at

from amends.testing.transport_suite import Broker, RestartSuite, TransportSuite
from amends.testing.transport_suite.outages import until_published
from amends.testing.transport_suite.rig import WAIT_SECONDS, Rig, eventually
from amends.transport import rabbitmq_places
from amends.transport.base import Send
from servers import need
from services.rabbitmq import Rabbitmq


class TestRabbitmq(TransportSuite):
    @pytest.fixture
    def broker(self, rabbitmq_url: str) -> Broker:
        return broker_at(rabbitmq_url)


@pytest.fixture(scope="module")
def rabbitmq_of_its_own() -> Iterator[Rabbitmq]:
    """One that may be killed, for the tests here in turn."""
    need(Rabbitmq.find)
    with Rabbitmq() as server:
        yield server


class TestRabbitmqRestarted(RestartSuite, LostBrokers):
    @pytest.fixture
    def server(self, rabbitmq_of_its_own: Rabbitmq) -> Rabbitmq:
        rabbitmq_of_its_own.start()
        return rabbitmq_of_its_own

    @pytest.fixture
    def broker(self, server: Rabbitmq) -> Broker:
        return broker_at(server.url)

    def test_one_that_lost_everything_gets_its_queues_and_bindings_again(
        self, broker: Broker, server: Rabbitmq
    ) -> None:
        async def play() -> None:
            async with Rig(broker) as rig:
                transport = await rig.transport(publish_seconds="2")
                other = rig.queue._replace(name="payment.commands")
                await transport.prepare([other])
                inbox, topic = await rig.listen(transport), await rig.listen(transport, rig.topic)

                await asyncio.to_thread(server.kill)
                server.wipe()
                await asyncio.to_thread(server.start)
                await until_published(rig, transport, "after")

                assert "after" in await inbox.acked_until("after")
                strict = await rig.transport(create="no")
                async with asyncio.timeout(WAIT_SECONDS):
                    while await strict.publish([Send(other, rig.message())]) != [None]:
                        await asyncio.sleep(0.1)
                    while not topic.new:  # what is told before its group is there again is told to nobody
                        await strict.publish([Send(rig.topic, rig.message("told"))])
                        await asyncio.sleep(0.1)

        asyncio.run(play())

    def test_a_queue_that_came_back_and_answers_to_nobody_is_named_in_the_log(
        self, broker: Broker, server: Rabbitmq, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """RabbitMQ 3.10 does that to a queue that was made just before the kill. Where one day it does not, the queue
        works."""
        monkeypatch.setattr(rabbitmq_places, "STEP_SECONDS", 2.0)

        async def play() -> None:
            async with Rig(broker) as rig:
                transport = await rig.transport(publish_seconds="1")
                await transport.prepare([rig.queue])

                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)

                inbox = await rig.listen(transport)
                await transport.publish([Send(rig.queue, rig.message("after"))])
                await eventually(lambda: bool(inbox.all) or _named(caplog, f"{rig.prefix}.{rig.queue.name}"))

        asyncio.run(play())


def _named(caplog: pytest.LogCaptureFixture, queue: str) -> bool:
    return any(f"the queue {queue} answers to nobody" in text for text in said(caplog))
