"""The transport without a broker keeps every promise of `amends.transport.base`."""

from __future__ import annotations

import pytest

from amends.testing.transport_suite import Broker, TransportSuite


class TestLocal(TransportSuite):
    @pytest.fixture
    def broker(self) -> Broker:
        return Broker("local://", survives=False, creates=False)
