"""The transport over RabbitMQ keeps every promise of `amends.transport.base`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lost_brokers import LostBrokers
from rabbitmq_scene import broker_at

from amends.testing.transport_suite import Broker, RestartSuite, TransportSuite
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
