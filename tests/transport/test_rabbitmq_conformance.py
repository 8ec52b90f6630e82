"""The transport over RabbitMQ keeps every promise of `amends.transport.base`."""

from __future__ import annotations

import pytest
from rabbitmq_scene import broker_at

from amends.testing.transport_suite import Broker, RestartSuite, TransportSuite
from services.rabbitmq import Rabbitmq


class TestRabbitmq(TransportSuite):
    @pytest.fixture
    def broker(self, rabbitmq_url: str) -> Broker:
        return broker_at(rabbitmq_url)


class TestRabbitmqRestarted(RestartSuite):
    @pytest.fixture
    def server(self, rabbitmq_server: Rabbitmq) -> Rabbitmq:
        return rabbitmq_server

    @pytest.fixture
    def broker(self, server: Rabbitmq) -> Broker:
        return broker_at(server.url)
