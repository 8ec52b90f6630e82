"""The transport over Kafka keeps every promise of `amends.transport.base`.

Kafka tells its clients where to connect to, so a line that can be cut has an entrance of its own: those who come by it
are sent to a proxy, and those with a password are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from lost_brokers import LostBrokers

from amends.testing.transport_suite import Broker, RestartSuite, TransportSuite
from amends.testing.transport_suite.line import ProxyLine
from amends.testing.transport_suite.rig import QUIET_SECONDS, Rig, rule
from amends.transport.base import Destination
from servers import need
from services.kafka import Kafka
from services.process import free_port

CLAIM = {"session_seconds": "3"}


class _Entrance(ProxyLine):
    """A proxy at the place that Kafka sends its clients to."""

    def __init__(self, server: Kafka, port: int) -> None:
        super().__init__(server.url)
        self._port = port


@pytest.fixture(scope="module")
def guarded() -> Iterator[Broker]:
    """A Kafka that asks for a password at one entrance, and sends those of the other to a proxy."""
    need(Kafka.find)
    port = free_port()
    with Kafka(sasl=True, advertised_port=port) as server:

        async def garbage(prefix: str, to: Destination) -> None:
            producer = AIOKafkaProducer(
                bootstrap_servers=f"127.0.0.1:{server.sasl_port}",
                security_protocol="SASL_PLAINTEXT",
                sasl_plain_username="amends",
                sasl_plain_password=server.password,
            )
            await producer.start()
            await producer.send_and_wait(f"{prefix}.{to.name}", b"\xff", headers=[("ce_id", b"\xff")])
            await producer.stop()

        yield Broker(
            server.sasl_url,
            counts=False,
            claim=CLAIM,
            claim_seconds=3.0,
            garbage=garbage,
            wrong_login=server.sasl_url.replace(server.password, "wrong-secret"),
            line=lambda: _Entrance(server, port),
        )


class TestKafka(TransportSuite):
    @pytest.fixture
    def broker(self, guarded: Broker) -> Broker:
        return guarded

    @rule
    async def test_what_is_not_acked_comes_again_after_the_connection_broke(self, rig: Rig) -> None:
        """Not so on Kafka: a member that connects again in time has never left, and keeps what it has."""
        line = await rig.line()
        reader = await rig.transport(url=line.url)
        inbox = await rig.listen(reader)
        await rig.send(await rig.transport(), "left")
        delivery = await inbox.next()

        await line.cut()
        await asyncio.sleep(QUIET_SECONDS)

        await delivery.ack()
        await reader.close()
        again = await rig.listen(await rig.transport())
        await rig.send(await rig.transport(), "last")
        assert await again.acked_until("last") == ["last"]


@pytest.fixture(scope="module")
def kafka_of_its_own() -> Iterator[Kafka]:
    """One that may be killed, for the tests here in turn."""
    need(Kafka.find)
    with Kafka() as server:
        yield server


class TestKafkaRestarts(RestartSuite, LostBrokers):
    @pytest.fixture
    def server(self, kafka_of_its_own: Kafka) -> Kafka:
        kafka_of_its_own.start()
        return kafka_of_its_own

    @pytest.fixture
    def broker(self, server: Kafka) -> Broker:
        return Broker(server.url, claim=CLAIM)
