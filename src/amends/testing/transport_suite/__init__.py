"""The suite that every transport must pass: what `amends.transport.base` promises, as behaviour.

For a transport of your own, say what the suite has to know of the broker, and let pytest collect the class:

    import pytest

    from amends.testing.transport_suite import Broker, TransportSuite


    class TestMyTransport(TransportSuite):
        @pytest.fixture
        def broker(self) -> Broker:
            return Broker("my://127.0.0.1:1234", connect=MyTransport)

`connect(url)` gives a transport that is not open yet; the URL has the options of `Broker.claim` and a `prefix` that no
other test has, so one broker serves all tests. The flags of `Broker` say what the broker cannot do; rules that it
cannot keep are skipped. A line that the suite cuts lies between the two: a TCP proxy, or what `Broker.line` gives.

Rules about a broker that is killed and started again are in `RestartSuite`: override the fixture `server` as well, with
a broker of the test's own.

Guarantees: a transport that keeps its promises passes, however slow its broker is; each rule is one test.
Must not: ask for anything that `base.py` does not promise.
"""

from __future__ import annotations

import pytest

from amends.testing.transport_suite.claims import ClaimRules
from amends.testing.transport_suite.content import ContentRules
from amends.testing.transport_suite.ends import EndRules
from amends.testing.transport_suite.line import Line
from amends.testing.transport_suite.outages import OutageRules
from amends.testing.transport_suite.places import PlaceRules
from amends.testing.transport_suite.publishing import PublishRules
from amends.testing.transport_suite.restarts import RestartRules
from amends.testing.transport_suite.rig import Broker, Garbage, Restartable
from amends.testing.transport_suite.sharing import SharingRules

__all__ = ["Broker", "Garbage", "Line", "RestartSuite", "Restartable", "TransportSuite"]


class TransportSuite(PublishRules, ContentRules, SharingRules, EndRules, ClaimRules, PlaceRules, OutageRules):
    """All rules that a shared broker will do for. Override the fixture `broker`."""

    @pytest.fixture
    def broker(self) -> Broker:
        """The broker under test."""
        raise NotImplementedError("override the fixture broker: see the module's text")


class RestartSuite(RestartRules):
    """The rules about a broker that is killed. Override both fixtures."""

    @pytest.fixture
    def server(self) -> Restartable:
        """A broker that the test may kill."""
        raise NotImplementedError("override the fixture server: see the module's text")

    @pytest.fixture
    def broker(self, server: Restartable) -> Broker:
        """The same, as the suite has to know it."""
        return Broker(server.url)
